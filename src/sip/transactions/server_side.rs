//! Server side of the transaction layer: receives requests, sends responses.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use super::event::{Event, ServerId};
use super::layer::{Ref, Transactions};
use super::server_transaction::{Places, ServerMachine, ServerTx};
use super::transmit::Transmit;
use crate::base::pool::Standing;
use crate::base::source::Source;
use crate::sip::Bytes;
use crate::sip::flow::{Flow, Transport};
use crate::sip::server_invite::ServerInvite;
use crate::sip::server_non_invite::Server;
use crate::sip::table::{MergeKey, ServerKey};
use crate::wire::{Draft, ErrorResponse, Method, Request};

/// How a request is processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// With a transaction, charged to its source.
    Kept(Standing),
    /// Statelessly, since it changes nothing: answered at once; a retransmission is answered again with the
    /// same To tag (RFC 3261 §8.2.7).
    Stateless,
}

/// Limit of timer retransmissions of final errors to sources that have never acknowledged anything: the
/// address may be spoofed, and retransmissions would hit the victim. Retransmitted requests are still
/// answered.
const UNPROVEN_REPEATS: u8 = 2;
/// INVITE headers needed for its responses, dialog and session. Only these are kept while it rings, which may
/// take minutes.
const OF_INVITE: &[&str] =
    &["From", "To", "Record-Route", "Supported", "Require", "Allow", "Expires", "Session-Expires", "Min-SE"];
/// Length of To tags of stateless responses, bytes.
const TAG_BYTES: usize = 8;
/// Overhead of a transaction besides its message, bytes.
const OVERHEAD: usize = 512;

impl Transactions {
    /// The request of a server transaction before its final response; for an INVITE without body and without
    /// headers that are no longer needed.
    #[must_use]
    pub fn request_of(&self, id: ServerId) -> Option<&Request> {
        self.servers.get(id)?.request.as_deref()
    }

    /// The CSeq number of a server transaction.
    #[must_use]
    pub fn cseq_of(&self, id: ServerId) -> Option<u32> {
        self.servers.get(id).map(|tx| tx.cseq)
    }

    /// The flow of a server transaction's responses.
    #[must_use]
    pub fn peer_of(&self, id: ServerId) -> Option<Flow> {
        self.servers.get(id).map(|tx| tx.reply_to)
    }

    /// Our To tag.
    #[must_use]
    pub fn tag_of(&self, id: ServerId) -> Option<&str> {
        self.servers.get(id).map(|tx| tx.tag.as_str())
    }

    /// True if a request belongs to a live transaction.
    #[must_use]
    pub fn knows(&self, request: &Request) -> bool {
        let key = if request.method == Method::Cancel {
            ServerKey::of_cancelled(request)
        } else {
            ServerKey::of(request)
        };
        self.server_keys.contains_key(&key)
    }

    /// True until the INVITE of this transaction has a final response.
    #[must_use]
    pub fn is_pending(&self, id: ServerId) -> bool {
        let machine = self.servers.get(id).map(|tx| &tx.machine);
        matches!(machine, Some(ServerMachine::Invite(m)) if m.is_pending())
    }

    /// A response to the request of `id` with all mandatory headers, to be completed by the caller.
    #[must_use]
    pub fn draft(&self, id: ServerId, code: u16, reason: &str) -> Option<Draft> {
        let tx = self.servers.get(id)?;
        let tag = (code > 100).then_some(tx.tag.as_str());
        Some(Draft::response(tx.request.as_deref()?, code, reason, tag))
    }

    /// Sends a response. A second final response is dropped.
    pub fn respond(&mut self, now: Instant, id: ServerId, code: u16, draft: &Draft) {
        let Some(tx) = self.servers.get_mut(id) else { return };
        let bytes = Bytes::from(draft.to_bytes());
        if code >= 200 {
            let Some(request) = tx.request.take() else { return };
            // An error outside a dialog leaves no state behind.
            let changed_nothing = code >= 300 && request.common.to.tag().is_none();
            let is_invite = matches!(tx.machine, ServerMachine::Invite(_));
            if tx.held.is_none() || (changed_nothing && !is_invite) {
                self.out.push_back(Transmit { target: tx.reply_to, bytes });
                return self.remove(Ref::Server(id));
            }
            if let Some(Places { transaction, bytes: held }) = tx.held.take() {
                let held = self.bytes.resize(held, OVERHEAD + tx.keys() + bytes.len());
                tx.held = Some(Places { transaction, bytes: held });
            }
        }
        match &mut tx.machine {
            ServerMachine::Invite(m) if code < 200 => m.provisional(now, bytes),
            ServerMachine::Invite(m) if code < 300 => m.accept(now, bytes),
            ServerMachine::Invite(m) => {
                let account = tx.held.as_ref().map(|places| &places.transaction);
                let unproven =
                    account.is_some_and(|a| a.is_a_strangers() && !self.proven.contains(a.source()));
                m.reject(now, bytes, unproven.then_some(UNPROVEN_REPEATS));
            }
            ServerMachine::Other(m) if code >= 200 => m.respond(now, bytes),
            ServerMachine::Other(_) => {}
        }
        self.settle(Ref::Server(id));
    }

    /// The far end of a transaction has sent something on `source`: a new connection replaces the one its
    /// request arrived on (RFC 3261 §18.2.2).
    pub fn answer_along(&mut self, id: ServerId, source: Flow) {
        let Some(tx) = self.servers.get_mut(id) else { return };
        let same = tx.reply_to.transport == source.transport && tx.reply_to.addr.ip() == source.addr.ip();
        if same && source.transport.is_reliable() && source.conn.is_some() {
            tx.reply_to.conn = source.conn;
        }
    }

    /// Marks transactions whose responses cannot be delivered.
    pub(super) fn note_unanswerable(&mut self, same: impl Fn(&Flow) -> bool) {
        let hit: Vec<ServerId> =
            self.servers.iter().filter(|(_, tx)| same(&tx.reply_to)).map(|(id, _)| id).collect();
        for id in hit {
            self.servers.get_mut(id).into_iter().for_each(|tx| tx.failing = Some(0));
        }
    }

    /// The ACK to the 2xx of `id` was received.
    pub fn confirm(&mut self, id: ServerId) {
        if let Some(ServerTx { machine: ServerMachine::Invite(m), reply_to, .. }) = self.servers.get_mut(id) {
            m.confirm();
            self.proven.note(Source::of(reply_to.addr.ip()));
        }
        self.settle(Ref::Server(id));
    }

    /// Answers a request statelessly.
    pub fn reply_stateless(&mut self, draft: &Draft, request: &Request, source: Flow) {
        let target = reply_target(request, source);
        self.out.push_back(Transmit { target, bytes: Bytes::from(draft.to_bytes()) });
    }

    /// Sends the error response to a malformed request, statelessly.
    pub fn refuse(&mut self, mut answer: ErrorResponse, source: Flow) {
        self.counters.refused += 1;
        if let Some(to) = answer.draft.get("To").filter(|to| !to.to_ascii_lowercase().contains("tag")) {
            let parts = ["Via", "From", "Call-ID", "CSeq"].map(|n| answer.draft.get(n).unwrap_or_default());
            let tagged = format!("{to};tag={}", self.tags.hex_of(&parts, TAG_BYTES));
            answer.draft.set_first("To", tagged);
        }
        let addr = match source.transport {
            Transport::Udp => answer.via.reply_to(source.addr),
            Transport::Tcp | Transport::Tls => source.addr,
        };
        let target = Flow { addr, ..source };
        self.out.push_back(Transmit { target, bytes: Bytes::from(answer.draft.to_bytes()) });
    }

    /// To tag of stateless responses to a request: the same for its retransmissions.
    #[must_use]
    pub fn stateless_tag(&self, request: &Request) -> String {
        let c = &request.common;
        let (cseq, branch) = (c.cseq.to_string(), c.via.branch().unwrap_or_default());
        let method = c.cseq_method.to_string();
        self.tags.hex_of(&[branch, c.from.tag().unwrap_or_default(), &c.call_id, &cseq, &method], TAG_BYTES)
    }

    /// Handles a request whose top Via has been stamped with `source`. Retransmissions, ACK and CANCEL do not
    /// take a place of the pool.
    pub fn handle_request(
        &mut self,
        now: Instant,
        request: Box<Request>,
        source: Flow,
        admission: Admission,
    ) {
        if request.method == Method::Ack {
            self.handle_ack(now, request);
        } else if request.method == Method::Cancel {
            self.handle_cancel(&request, source);
        } else {
            self.handle_new(now, request.into(), source, admission);
        }
    }

    fn handle_ack(&mut self, now: Instant, request: Box<Request>) {
        let found = self.server_keys.get(&ServerKey::of(&request)).copied();
        if let Some(id) = found
            && let Some(ServerTx { machine: ServerMachine::Invite(m), reply_to, tag, .. }) =
                self.servers.get_mut(id)
            && m.has_failed()
        {
            if request.common.to.tag() == Some(tag.as_str()) {
                self.proven.note(Source::of(reply_to.addr.ip()));
            }
            m.handle_ack(now);
            return self.settle(Ref::Server(id));
        }
        // The ACK to a 2xx is handled by the dialog.
        self.events.push_back(Event::Ack(request));
    }

    fn handle_cancel(&mut self, request: &Request, source: Flow) {
        let found = self.server_keys.get(&ServerKey::of_cancelled(request)).copied();
        let tag = found.and_then(|id| self.tag_of(id)).map(str::to_owned);
        let (code, reason) =
            if found.is_some() { (200, "OK") } else { (481, "Call/Transaction Does Not Exist") };
        let tag = tag.unwrap_or_else(|| self.stateless_tag(request));
        let draft = Draft::response(request, code, reason, Some(&tag));
        self.reply_stateless(&draft, request, source);
        if let Some(id) = found.filter(|id| self.is_pending(*id)) {
            self.events.push_back(Event::Cancelled(id));
        }
    }

    fn handle_new(&mut self, now: Instant, request: Rc<Request>, source: Flow, admission: Admission) {
        let key = ServerKey::of(&request);
        if let Some(id) = self.server_keys.get(&key).copied() {
            self.answer_along(id, source);
            match self.servers.get_mut(id).map(|tx| &mut tx.machine) {
                Some(ServerMachine::Invite(m)) => m.handle_request(),
                Some(ServerMachine::Other(m)) => m.handle_request(),
                None => {}
            }
            return self.settle(Ref::Server(id));
        }
        let merge = MergeKey::of(&request);
        if merge.as_ref().is_some_and(|m| self.merges.contains_key(m)) {
            self.counters.merged += 1;
            let tag = self.stateless_tag(&request);
            let draft = Draft::response(&request, 482, "Loop Detected", Some(&tag));
            return self.reply_stateless(&draft, &request, source);
        }
        let reliable = source.transport.is_reliable();
        let machine = if request.method == Method::Invite {
            let mut trying = Draft::response(&request, 100, "Trying", None);
            if let Some(sent) = request.common.headers.get("Timestamp").filter(|t| !t.is_empty()) {
                trying.push("Timestamp", sent);
            }
            ServerMachine::Invite(ServerInvite::new(now, reliable, trying))
        } else {
            ServerMachine::Other(Server::new(reliable))
        };
        let standing = match admission {
            Admission::Kept(standing) => Some(standing),
            // An INVITE is never stateless, since its final response comes later.
            Admission::Stateless if request.method == Method::Invite => Some(Standing::Stranger),
            Admission::Stateless => None,
        };
        let from = Source::of(source.addr.ip());
        if standing == Some(Standing::Established) {
            self.proven.note(from);
        }
        let kept = if request.method == Method::Invite {
            Rc::new(request.reduced(OF_INVITE))
        } else {
            Rc::clone(&request)
        };
        let mut tx = ServerTx {
            machine,
            key: standing.map(|_| Rc::new(key)),
            merge: standing.and(merge).map(Rc::new),
            request: Some(Rc::clone(&kept)),
            cseq: request.common.cseq,
            tag: match standing {
                Some(_) if request.method == Method::Invite => self.rng.token(),
                Some(_) | None => self.stateless_tag(&request),
            },
            reply_to: reply_target(&request, source),
            held: None,
            failing: None,
        };
        if let Some(standing) = standing {
            match self.places(from, standing, OVERHEAD + tx.keys() + kept.size()) {
                Some(places) => tx.held = Some(places),
                None => return self.overloaded(&request, source),
            }
        }
        let (key, merge) = (tx.key.clone(), tx.merge.clone());
        let id = match self.servers.insert(tx) {
            Ok(id) => id,
            // The table has capacity for the whole pool plus one.
            Err(mut tx) => {
                self.release(tx.held.take());
                return self.overloaded(&request, source);
            }
        };
        if let Some(key) = key {
            self.server_keys.insert(key, id);
        } else if let Some(unanswered) = self.stateless.replace(id) {
            self.remove(Ref::Server(unanswered));
        }
        if let Some(m) = merge {
            self.merges.insert(m, id);
        }
        self.settle(Ref::Server(id));
        self.events.push_back(Event::Request(id, request, source));
    }

    fn places(&mut self, from: Source, standing: Standing, size: usize) -> Option<Places> {
        let transaction = self.pool.take(from, standing, 1)?;
        match self.bytes.take(from, standing, size) {
            Some(bytes) => Some(Places { transaction, bytes }),
            None => {
                self.pool.release(transaction);
                None
            }
        }
    }

    /// No capacity for a request of this source: stateless 503.
    fn overloaded(&mut self, request: &Request, source: Flow) {
        self.counters.overload += 1;
        let tag = self.stateless_tag(request);
        let mut draft = Draft::response(request, 503, "Service Unavailable", Some(&tag));
        draft.push("Retry-After", "5");
        self.reply_stateless(&draft, request, source);
    }
}

/// Where responses are sent: over UDP according to the Via, on a stream back on its connection.
fn reply_target(request: &Request, source: Flow) -> Flow {
    match source.transport {
        Transport::Udp => Flow { addr: request.common.via.reply_to(source.addr), ..source },
        // If the connection is gone, a new one goes to the sent-by port (§18.2.2).
        Transport::Tcp | Transport::Tls => {
            let port = request.common.via.port.unwrap_or(source.transport.default_port());
            Flow { addr: SocketAddr::new(source.addr.ip(), port), ..source }
        }
    }
}
