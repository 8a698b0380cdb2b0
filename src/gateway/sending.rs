//! Our requests on their way: from a URI to an address, and what each request is for.

use super::auth::{Bye, Parting};
use super::call_out::reason_of;
use super::core::Gateway;
use super::leg::{Leg, LegId, Phase};
use super::subscription::Notice;
use super::trunk::TrunkId;
use super::work::{Work, WorkId};
use crate::base::time::Now;
use crate::sdp::Local;
use crate::sip::dialog::Dialog;
use crate::sip::target::{ConnId, Target, Transport, next_hop};
use crate::sip::transactions::{ClientId, Failure};
use crate::wire::uri::Host;
use crate::wire::{Draft, Method, Response, Uri};

/// What a request of ours is for: who hears of its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The INVITE of an outbound leg.
    Invite(LegId),
    /// An INVITE whose leg is gone: a late 2xx is acknowledged and ended.
    Abandoned,
    /// A re-INVITE of a leg.
    Change(LegId),
    /// A re-INVITE whose leg is gone: a late 2xx is acknowledged.
    Over,
    /// A REFER of a leg.
    Refer(LegId),
    /// An INFO of a leg, with a digit.
    Info(LegId),
    /// A REGISTER of a trunk.
    Register(TrunkId),
    /// A PRACK in an early dialog of a leg.
    Prack(LegId),
    /// A NOTIFY of a subscription to a leg's transfer; with the last one the leg ends when its far end has it.
    Notify(LegId, Notice),
}

/// A request that waits for an address.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) flow: Option<Target>,
    pub(super) what: What,
}

/// A request of ours, with what its sending and its response need.
#[derive(Debug)]
pub(super) enum What {
    /// The INVITE of an outbound leg, written once the address is known.
    Invite(LegId),
    /// A re-INVITE or UPDATE that describes our end so.
    Change(LegId, Method, Draft, Local),
    /// A REFER.
    Refer(LegId, Draft),
    /// An INFO with a digit.
    Info(LegId, Draft),
    /// A NOTIFY of a leg.
    Notify(LegId, Notice, Draft),
    /// A SUBSCRIBE that lets a subscription of ours go on.
    Subscribe(LegId, Draft),
    /// A PRACK.
    Prack(LegId, Draft),
    /// A BYE, and what answers a challenge to it.
    Bye(Draft, Box<Bye>),
    /// The REGISTER of a trunk, written once the address is known.
    Register(TrunkId),
    /// No request: the addresses of a trunk's peer are wanted.
    LookUp(TrunkId),
    /// The ACK to a 2xx of this transaction and fork.
    Ack(ClientId, String, Draft),
}

impl Pending {
    /// True when it is an INVITE of this leg.
    pub(super) fn is_for(&self, leg: LegId) -> bool {
        matches!(self.what, What::Invite(id) | What::Change(id, ..) if id == leg)
    }
}

impl Gateway {
    /// Sends a BYE; whom the leg called may challenge it.
    pub(super) fn send_bye(&mut self, now: Now, dialog: &mut Dialog, parting: Parting) {
        let (mut draft, hop) = dialog.request(&Method::Bye);
        draft.push("User-Agent", self.ctx.config.sip.host.as_str());
        let flow = parting.flow;
        let bye = Box::new(Bye { dialog: dialog.clone(), parting });
        self.send(now, &hop, flow, What::Bye(draft, bye));
    }

    /// Sends the ACK to a 2xx.
    pub(super) fn send_ack(
        &mut self,
        now: Now,
        tx: ClientId,
        dialog: &Dialog,
        cseq: u32,
        flow: Option<Target>,
    ) {
        let (mut draft, hop) = dialog.ack(cseq);
        self.copy_authorization(tx, &mut draft);
        let tag = dialog.remote.tag().unwrap_or_default().to_owned();
        self.send(now, &hop, flow, What::Ack(tx, tag, draft));
    }

    /// Starts an outbound leg's INVITE towards `uri`.
    pub(super) fn start_invite(&mut self, now: Now, id: LegId, uri: &Uri) {
        self.send(now, uri, None, What::Invite(id));
    }

    /// Sends a request to where `to` leads, along `flow` where that is the way its dialog came.
    pub(super) fn send(&mut self, now: Now, to: &Uri, flow: Option<Target>, what: What) {
        if self.ctx.config.sip.source_socket
            && let (Some(flow), false) = (flow, matches!(what, What::Invite(_)))
        {
            return self.send_to(now, flow, what);
        }
        let Some(Ok(hop)) = to.sip().map(next_hop) else {
            // A Contact nobody can dial: the way the dialog came along is all there is.
            return match (flow, &what) {
                (Some(flow), asked) if !matches!(asked, What::Invite(_)) => self.send_to(now, flow, what),
                _ => self.undeliverable(now, what),
            };
        };
        // Names are the shell's to look up, and whose certificate to ask for at an address.
        let known = match &hop.host {
            Host::Ip(ip) => Some(reuse(flow, hop.at(*ip))),
            Host::Name(_) => None,
        };
        match known.filter(|t| t.transport != Transport::Tls || t.conn.is_some()) {
            Some(target) => self.send_to_best(now, vec![target], what),
            None => {
                let lax = self.trunk_is_lax(self.trunk_behind(&what));
                match self.ctx.io.start(|id| Work::Locate { id, hop, lax, whole: false }) {
                    Some(id) => {
                        self.pending.insert(id, Pending { flow, what });
                    }
                    None => self.undeliverable(now, what),
                }
            }
        }
    }

    /// The trunk that a request goes through.
    fn trunk_behind(&self, what: &What) -> Option<TrunkId> {
        match what {
            What::Register(id) | What::LookUp(id) => Some(*id),
            What::Invite(leg)
            | What::Change(leg, ..)
            | What::Refer(leg, _)
            | What::Info(leg, _)
            | What::Prack(leg, _)
            | What::Subscribe(leg, _)
            | What::Notify(leg, ..) => self.legs.get(*leg)?.trunk,
            What::Ack(tx, ..) => match self.outgoing.get(tx)? {
                Purpose::Invite(leg) | Purpose::Change(leg) => self.legs.get(*leg)?.trunk,
                Purpose::Abandoned
                | Purpose::Over
                | Purpose::Refer(_)
                | Purpose::Info(_)
                | Purpose::Register(_)
                | Purpose::Prack(_)
                | Purpose::Notify(..) => None,
            },
            What::Bye(_, bye) => bye.parting.trunk,
        }
    }

    /// A name has been looked up.
    pub(super) fn located(&mut self, now: Now, id: WorkId, mut targets: Vec<Target>) {
        let Some(Pending { flow, what }) = self.pending.remove(&id) else { return };
        let locals = self.ctx.sip.locals();
        targets.retain(|t| if t.addr.is_ipv4() { locals.v4.is_some() } else { locals.v6.is_some() });
        targets.iter_mut().for_each(|t| *t = reuse(flow, *t));
        // In a call the server that answered goes on, be it the second of its name; it does even if the name is
        // not known any more (RFC 3263 §4.3 chooses anew for each call, not within it).
        if let Some(flow) = flow {
            let same = |t: &Target| t.transport == flow.transport && t.addr == flow.addr;
            // It may have come from another port, along a connection that it has opened.
            let joined = |t: &Target| flow.conn.is_some() && t.conn == flow.conn;
            targets.sort_by_key(|t| (!same(t), !joined(t)));
            if targets.is_empty() {
                targets.push(flow);
            }
        }
        self.send_to_best(now, targets, what);
    }

    fn send_to_best(&mut self, now: Now, targets: Vec<Target>, what: What) {
        match (targets.first().copied(), what) {
            (_, What::Invite(id)) => self.invite_best(now, id, targets),
            (_, What::Register(id)) => self.register_at(now, id, targets),
            (_, What::LookUp(id)) => self.note_addresses(now, id, &targets),
            (Some(target), what) => self.send_to(now, target, what),
            (None, what) => self.undeliverable(now, what),
        }
    }

    fn send_to(&mut self, now: Now, target: Target, what: What) {
        let locals = self.ctx.sip.locals();
        let family = if target.addr.is_ipv4() { locals.v4 } else { locals.v6 };
        if family.is_none() || target.addr.port() == 0 {
            return self.undeliverable(now, what);
        }
        match what {
            What::Invite(id) => self.invite_best(now, id, vec![target]),
            What::Register(id) => self.register_at(now, id, vec![target]),
            What::LookUp(id) => self.note_addresses(now, id, &[target]),
            What::Ack(tx, tag, draft) => self.ctx.sip.ack(tx, &tag, &draft, target),
            What::Change(id, method, mut draft, local) => {
                self.authorize(id, &method, &mut draft, target);
                match self.ctx.sip.request(now.mono, &method, draft, target) {
                    Ok(tx) => {
                        self.outgoing.insert(tx, Purpose::Change(id));
                        self.change_sent(now, id, tx, local);
                    }
                    Err(e) => self.change_over(now, id, Err(e.to_string())),
                }
            }
            What::Refer(id, mut draft) => {
                self.authorize(id, &Method::Refer, &mut draft, target);
                match self.ctx.sip.request(now.mono, &Method::Refer, draft, target) {
                    Ok(tx) => {
                        self.outgoing.insert(tx, Purpose::Refer(id));
                        self.refer_sent(id, tx);
                    }
                    Err(e) => self.refer_answered(now, id, None, Err(&e.to_string())),
                }
            }
            What::Info(id, mut draft) => {
                self.authorize(id, &Method::Info, &mut draft, target);
                match self.ctx.sip.request(now.mono, &Method::Info, draft, target) {
                    Ok(tx) => {
                        self.outgoing.insert(tx, Purpose::Info(id));
                    }
                    Err(_) => self.info_answered(now, id, Err(Failure::Transport)),
                }
            }
            What::Notify(id, notice, draft) => {
                match self.ctx.sip.request(now.mono, &Method::Notify, draft, target) {
                    Ok(tx) => {
                        self.outgoing.insert(tx, Purpose::Notify(id, notice));
                    }
                    Err(_) => self.notified_or_not(now, id, notice, Err(Failure::Transport)),
                }
            }
            What::Subscribe(id, mut draft) => {
                self.authorize(id, &Method::Subscribe, &mut draft, target);
                // What comes of it the next NOTIFY tells.
                let _sent = self.ctx.sip.request(now.mono, &Method::Subscribe, draft, target);
            }
            What::Prack(id, mut draft) => {
                self.authorize(id, &Method::Prack, &mut draft, target);
                let to = draft.get("To").unwrap_or_default().to_owned();
                match self.ctx.sip.request(now.mono, &Method::Prack, draft, target) {
                    Ok(tx) => {
                        self.outgoing.insert(tx, Purpose::Prack(id));
                        self.prack_sent(id, &to, tx);
                    }
                    Err(_) => self.prack_undelivered(id, |_, of| of == to),
                }
            }
            What::Bye(draft, bye) => self.send_bye_to(now, target, draft, bye),
        }
    }

    fn undeliverable(&mut self, now: Now, what: What) {
        match what {
            What::Invite(id) => self.end(now, id, "invite_failed"),
            What::Change(id, ..) => {
                self.change_over(now, id, Err("the far end cannot be reached".to_owned()))
            }
            What::Refer(id, _) => self.refer_answered(now, id, None, Err("the far end cannot be reached")),
            What::Info(id, _) => self.info_answered(now, id, Err(Failure::Transport)),
            What::Notify(id, notice, _) => self.notified_or_not(now, id, notice, Err(Failure::Transport)),
            What::Prack(id, draft) => {
                let to = draft.get("To").unwrap_or_default();
                self.prack_undelivered(id, |_, of| of == to);
            }
            What::Register(id) => self.register_at(now, id, Vec::new()),
            What::LookUp(id) => self.note_addresses(now, id, &[]),
            What::Subscribe(..) | What::Bye(..) | What::Ack(..) => {}
        }
    }

    /// A response to a request of ours that somebody waits for.
    pub(super) fn response(&mut self, now: Now, tx: ClientId, response: &Response) {
        self.bye_answered(now, tx, response);
        if let Some(Purpose::Invite(id) | Purpose::Change(id) | Purpose::Refer(id) | Purpose::Info(id)) =
            self.outgoing.get(&tx)
            && response.code >= 200
            && !matches!(response.code, 401 | 407)
        {
            self.passed(*id, tx, response);
        }
        match self.outgoing.get(&tx).copied() {
            Some(Purpose::Invite(id)) => self.invite_response(now, tx, id, response),
            Some(Purpose::Change(id)) => self.change_response(now, tx, id, response),
            Some(Purpose::Abandoned) if (200..300).contains(&response.code) => {
                self.end_fork(now, tx, response)
            }
            Some(Purpose::Over) if (200..300).contains(&response.code) => {
                if response.common.cseq_method == Method::Invite
                    && let Ok(dialog) = Dialog::uac(response, &response.common.to.uri)
                {
                    let flow = self.ctx.sip.target_of(tx);
                    self.send_ack(now, tx, &dialog, response.common.cseq, flow);
                }
            }
            Some(Purpose::Abandoned | Purpose::Over) if response.code >= 300 => {
                self.outgoing.remove(&tx);
            }
            Some(Purpose::Refer(id)) if response.code >= 200 => {
                self.outgoing.remove(&tx);
                self.refer_answered(now, id, Some(tx), Ok(response));
            }
            Some(Purpose::Info(id)) if response.code >= 200 => {
                self.outgoing.remove(&tx);
                self.info_answered(now, id, Ok((tx, response)));
            }
            Some(Purpose::Register(id)) => {
                if response.code >= 200 {
                    self.outgoing.remove(&tx);
                }
                self.register_answered(now, id, tx, Some(response));
            }
            Some(Purpose::Notify(id, notice)) if response.code >= 200 => {
                self.outgoing.remove(&tx);
                self.notified_or_not(now, id, notice, Ok(response.code));
            }
            Some(
                Purpose::Abandoned
                | Purpose::Over
                | Purpose::Refer(_)
                | Purpose::Info(_)
                | Purpose::Prack(_)
                | Purpose::Notify(..),
            )
            | None => {}
        }
    }

    /// No response will come to a request of ours.
    pub(super) fn request_failed(&mut self, now: Now, tx: ClientId, failure: Failure) {
        self.byes.remove(&tx);
        match self.outgoing.remove(&tx) {
            Some(Purpose::Invite(id)) => {
                let calling = |l: &Leg| matches!(&l.phase, Phase::Inviting(i) if i.has(tx));
                let ended = self.legs.get(id).is_some_and(calling)
                    && !self.others_ring(now, id, tx, Err(failure))
                    && !self.try_next_server(now, id);
                if ended {
                    // One phone's word tells more than another's silence.
                    let said = self.legs.get(id).and_then(|l| l.refusal.as_ref()).map(|(code, _)| *code);
                    // Who is told of it as of a response is told so (RFC 3261 §8.1.3.1).
                    if let (Some(leg), Failure::Timeout) = (self.legs.get_mut(id), failure) {
                        leg.refusal.get_or_insert((408, "Request Timeout".to_owned()));
                    }
                    self.end(now, id, &said.map_or("invite_failed".to_owned(), reason_of));
                }
            }
            Some(Purpose::Change(id)) => self.change_failed(now, tx, id, failure),
            Some(Purpose::Refer(id)) => {
                let why = match failure {
                    Failure::Timeout => "the far end did not answer the REFER",
                    Failure::Transport => "the far end cannot be reached",
                };
                self.refer_answered(now, id, Some(tx), Err(why));
            }
            Some(Purpose::Prack(id)) if failure == Failure::Transport => {
                self.prack_undelivered(id, |prack, _| prack == Some(tx));
            }
            Some(Purpose::Info(id)) => self.info_answered(now, id, Err(failure)),
            Some(Purpose::Register(id)) => self.register_answered(now, id, tx, None),
            Some(Purpose::Notify(id, notice)) => self.notified_or_not(now, id, notice, Err(failure)),
            Some(Purpose::Abandoned | Purpose::Over | Purpose::Prack(_)) | None => {}
        }
    }

    /// A connection that is gone, and does not lead there again, must not stand for another server's, whose name its
    /// certificate has to carry.
    pub fn forget_connection(&mut self, gone: ConnId) {
        for id in self.names.values() {
            let flow = self.legs.get_mut(*id).and_then(|l| l.flow.as_mut());
            flow.filter(|f| f.conn == Some(gone)).into_iter().for_each(|f| f.conn = None);
        }
    }
}

/// The connection a dialog came along is used again for the same far end; else a new one.
fn reuse(flow: Option<Target>, target: Target) -> Target {
    let same = |f: &Target| {
        f.transport == target.transport && f.transport.is_reliable() && f.addr.ip() == target.addr.ip()
    };
    Target { conn: flow.filter(same).and_then(|f| f.conn).or(target.conn), ..target }
}
