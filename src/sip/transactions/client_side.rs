//! Client side of the transaction layer: sends requests, receives responses.

use std::time::Instant;

use super::client_transaction::{ClientMachine, ClientTx};
use super::event::{ClientId, Event, Failure, Overload};
use super::layer::{Ref, Transactions};
use super::transmit::Transmit;
use crate::sip::Bytes;
use crate::sip::client_invite::ClientInvite;
use crate::sip::client_non_invite::Client;
use crate::sip::flow::{Flow, Transport};
use crate::sip::table::ClientKey;
use crate::wire::via::MAGIC_COOKIE;
use crate::wire::{Draft, Method, Response};

/// Larger requests are sent over TCP instead of UDP, bytes (RFC 3261 §18.1.1).
const MAX_UDP_REQUEST: usize = 1300;
/// Forks of one INVITE whose ACKs are stored.
const MAX_FORKS: usize = 8;

impl Transactions {
    /// Sends a request (without Via) in a new client transaction.
    ///
    /// # Errors
    /// [`Overload`].
    pub fn request(
        &mut self,
        now: Instant,
        method: &Method,
        draft: Draft,
        target: Flow,
    ) -> Result<ClientId, Overload> {
        let plain = self.with_via(&draft, target);
        let too_large = target.transport == Transport::Udp && plain.to_bytes().len() > MAX_UDP_REQUEST;
        if !too_large {
            return self.launch(now, method, draft, plain, target, false);
        }
        let target = Flow { transport: Transport::Tcp, conn: None, ..target };
        let sent = self.with_via(&draft, target);
        self.launch(now, method, draft, sent, target, true)
    }

    fn with_via(&mut self, draft: &Draft, target: Flow) -> Draft {
        let mut sent = draft.clone();
        let branch = format!("{MAGIC_COOKIE}{}", self.rng.token());
        let local = self.locals.for_target(target).unwrap_or(target.addr);
        let via = format!("SIP/2.0/{} {local};branch={branch};rport", target.transport.as_str());
        sent.push_front("Via", via);
        sent
    }

    fn launch(
        &mut self,
        now: Instant,
        method: &Method,
        draft: Draft,
        sent: Draft,
        target: Flow,
        may_fall_back: bool,
    ) -> Result<ClientId, Overload> {
        let reliable = target.transport.is_reliable();
        let bytes = Bytes::from(sent.to_bytes());
        let machine = if *method == Method::Invite {
            ClientMachine::Invite(ClientInvite::new(now, reliable, bytes, sent.derive(&Method::Ack)))
        } else {
            ClientMachine::Other(Client::new(now, reliable, bytes))
        };
        let key = ClientKey { branch: branch_of(&sent), method: method.clone() };
        let tx = ClientTx {
            machine,
            key: key.clone(),
            target,
            draft,
            sent,
            may_fall_back,
            cancel_wanted: false,
            resent: false,
            undelivered: false,
            acks: Vec::new(),
        };
        let id = self.clients.insert(tx).or_else(|tx| {
            self.forget_lingering();
            self.clients.insert(tx).map_err(|_| Overload)
        })?;
        self.client_keys.insert(key, id);
        self.settle(Ref::Client(id));
        Ok(id)
    }

    /// Frees a transaction for a new request: terminates the one that only absorbs retransmissions and would
    /// end first.
    fn forget_lingering(&mut self) {
        let lingers = |id| self.clients.get(id).is_some_and(|tx| tx.machine.lingers());
        let first = self.deadlines.iter().find(|r| matches!(r, Ref::Client(id) if lingers(*id)));
        if let Some(r) = first {
            self.deadlines.set(r, None);
            self.remove(r);
            self.counters.forgotten += 1;
        }
    }

    /// Cancels an INVITE: now if a provisional response was received, otherwise when one arrives (RFC 3261
    /// §9.1).
    pub fn cancel(&mut self, now: Instant, id: ClientId) {
        let Some(tx) = self.clients.get_mut(id) else { return };
        let ClientMachine::Invite(machine) = &mut tx.machine else { return };
        if !machine.can_cancel() {
            tx.cancel_wanted = true;
            return;
        }
        tx.cancel_wanted = false;
        machine.cancelled(now);
        let mut cancel = tx.sent.derive(&Method::Cancel);
        cancel.push("To", tx.sent.get("To").unwrap_or_default());
        let target = tx.target;
        // If the CANCEL cannot be sent, the INVITE ends by its own timers.
        let _sent = self.launch(now, &Method::Cancel, cancel.clone(), cancel, target, false);
        self.settle(Ref::Client(id));
    }

    /// Sends the ACK to a 2xx and stores it for retransmissions of that 2xx.
    pub fn ack(&mut self, id: ClientId, fork_tag: &str, draft: &Draft, target: Flow) {
        let sent = self.with_via(draft, target);
        let transmit = Transmit { target, bytes: Bytes::from(sent.to_bytes()) };
        if let Some(tx) = self.clients.get_mut(id)
            && tx.acks.len() < MAX_FORKS
        {
            tx.acks.push((fork_tag.to_owned(), transmit.clone()));
        }
        self.out.push_back(transmit);
    }

    /// The request of a transaction as last sent.
    #[must_use]
    pub fn sent(&self, id: ClientId) -> Option<&Draft> {
        self.clients.get(id).map(|tx| &tx.sent)
    }

    /// The flow of a transaction's request.
    #[must_use]
    pub fn target_of(&self, id: ClientId) -> Option<Flow> {
        self.clients.get(id).map(|tx| tx.target)
    }

    /// Handles a response.
    pub fn handle_response(&mut self, now: Instant, response: Box<Response>) {
        let c = &response.common;
        let key = ClientKey {
            branch: c.via.branch().unwrap_or_default().to_owned(),
            method: c.cseq_method.clone(),
        };
        let Some(id) = self.client_keys.get(&key).copied() else {
            self.counters.stray_responses += 1;
            return;
        };
        let Some(tx) = self.clients.get_mut(id) else { return };
        let news = match &mut tx.machine {
            ClientMachine::Invite(m) => {
                let to = c.headers.get("To").unwrap_or_default();
                m.handle_response(now, response.code, to)
            }
            ClientMachine::Other(m) => m.handle_response(now, response.code),
        };
        let fork = c.to.tag().unwrap_or_default();
        let copy = tx.acks.iter().find(|(tag, _)| (200..300).contains(&response.code) && tag == fork);
        let cancel = tx.cancel_wanted;
        if let Some((_, ack)) = copy {
            self.out.push_back(ack.clone());
        } else if news {
            self.events.push_back(Event::Response(id, response));
        }
        if cancel {
            self.cancel(now, id);
        }
        self.settle(Ref::Client(id));
    }

    /// A connection to `target` could not be opened, or an `open` one was lost.
    pub fn handle_unreachable(&mut self, now: Instant, target: Flow, open: bool) {
        let same = |t: &Flow| {
            let on_it = t.conn.is_some() && t.conn == target.conn;
            t.transport == target.transport && (on_it || t.addr == target.addr)
        };
        let hit: Vec<ClientId> =
            self.clients.iter().filter(|(_, tx)| same(&tx.target)).map(|(id, _)| id).collect();
        for id in hit {
            self.fail_or_fall_back(now, id, open);
        }
        self.note_unanswerable(same);
    }

    /// The operating system rejected a datagram to `target`: it counts as lost and is retransmitted. If no
    /// response arrives, the failure is reported as a transport error instead of a timeout.
    pub fn handle_unsent(&mut self, target: Flow) {
        let same = |t: &Flow| (t.transport, t.addr) == (target.transport, target.addr);
        let hit: Vec<ClientId> =
            self.clients.iter().filter(|(_, tx)| same(&tx.target)).map(|(id, _)| id).collect();
        for tx in hit {
            self.clients.get_mut(tx).into_iter().for_each(|tx| tx.undelivered = true);
        }
        self.note_unanswerable(same);
    }

    /// True if a request is not known to have reached the far end.
    #[must_use]
    pub fn is_undelivered(&self, id: ClientId) -> bool {
        self.clients.get(id).is_some_and(|tx| tx.undelivered)
    }

    fn fail_or_fall_back(&mut self, now: Instant, id: ClientId, open: bool) {
        let Some(tx) = self.clients.get_mut(id) else { return };
        if !tx.machine.waits() {
            tx.undelivered = true;
            return;
        }
        if tx.may_fall_back && !tx.cancel_wanted {
            self.relaunch_over_udp(now, id);
            return;
        }
        // The same request with the same branch over a new connection: the far end recognizes it as a
        // retransmission.
        if open && !tx.resent {
            tx.resent = true;
            let transmit = Transmit { target: tx.target, bytes: Bytes::from(tx.sent.to_bytes()) };
            self.out.push_back(transmit);
            return;
        }
        match &mut tx.machine {
            ClientMachine::Invite(m) => m.fail(),
            ClientMachine::Other(m) => m.fail(),
        }
        self.events.push_back(Event::Failed(id, Failure::Transport));
        self.settle(Ref::Client(id));
    }

    /// TCP, chosen only because of the size, does not work: sends the same request over UDP with a new
    /// branch.
    fn relaunch_over_udp(&mut self, now: Instant, id: ClientId) {
        let Some((draft, target)) = self.clients.get(id).map(|tx| (tx.draft.clone(), tx.target)) else {
            return;
        };
        let target = Flow { transport: Transport::Udp, conn: None, ..target };
        let sent = self.with_via(&draft, target);
        let bytes = Bytes::from(sent.to_bytes());
        let Some(tx) = self.clients.get_mut(id) else { return };
        self.client_keys.remove(&tx.key);
        tx.key.branch = branch_of(&sent);
        tx.machine = match tx.machine {
            ClientMachine::Invite(_) => {
                ClientMachine::Invite(ClientInvite::new(now, false, bytes, sent.derive(&Method::Ack)))
            }
            ClientMachine::Other(_) => ClientMachine::Other(Client::new(now, false, bytes)),
        };
        (tx.sent, tx.target, tx.may_fall_back) = (sent, target, false);
        self.client_keys.insert(tx.key.clone(), id);
        self.settle(Ref::Client(id));
    }
}

fn branch_of(sent: &Draft) -> String {
    let via = sent.get("Via").unwrap_or_default();
    let after = via.split_once(";branch=").map_or("", |(_, rest)| rest);
    after.split(';').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::rng::Rng;
    use crate::sip::locals::Locals;
    use crate::sip::virtual_time::epoch;
    use crate::wire::{Message, Uri, parse};

    fn far_end() -> Flow {
        Flow { transport: Transport::Udp, addr: "192.0.2.9:5060".parse().unwrap(), conn: None }
    }

    fn uri() -> Uri {
        Uri::parse("sip:192.0.2.9").unwrap()
    }

    fn options(tx: &mut Transactions, n: u32, now: Instant) -> Result<ClientId, Overload> {
        let mut draft = Draft::request(&Method::Options, &uri());
        for (name, value) in [("From", "<sip:a@b>;tag=1"), ("To", "<sip:192.0.2.9>")] {
            draft.push(name, value);
        }
        draft.push("Call-ID", format!("c{n}"));
        draft.push("CSeq", "1 OPTIONS");
        tx.request(now, &Method::Options, draft, far_end())
    }

    fn answer(tx: &mut Transactions, now: Instant) {
        let sent = String::from_utf8(tx.poll_transmit().unwrap().bytes.to_vec()).unwrap();
        let (_, fields) = sent.split_once("\r\n").unwrap();
        let reply = format!("SIP/2.0 200 OK\r\n{fields}");
        let Ok(Message::Response(r)) = parse(reply.as_bytes()) else { panic!("{reply}") };
        tx.handle_response(now, r);
    }

    #[test]
    fn when_all_are_in_use_one_that_is_done_makes_room_but_none_that_waits() {
        let now = epoch();
        let locals = Locals { v4: Some("192.0.2.1:5060".parse().unwrap()), ..Locals::default() };
        let mut tx = Transactions::new(locals, Rng::from_number(1), 3);
        let waiting = options(&mut tx, 0, now).unwrap();
        assert!(tx.poll_transmit().is_some());
        let mut done = Vec::new();
        for n in 1..3 {
            done.push(options(&mut tx, n, now + Duration::from_millis(n.into())).unwrap());
            answer(&mut tx, now + Duration::from_millis(n.into()));
        }
        while tx.poll_event().is_some() {}
        for (n, gone) in (3..5).zip(done) {
            options(&mut tx, n, now + Duration::from_millis(9)).unwrap();
            assert!(matches!(tx.poll_event(), Some(Event::Gone(id)) if id == gone));
        }
        assert_eq!(options(&mut tx, 5, now), Err(Overload));
        assert_eq!((tx.len(), tx.counters().forgotten), ((3, 0), 2));
        assert!(tx.clients.get(waiting).is_some());
    }
}
