//! Our requests: where they go, and who hears of their responses.

use super::call_out::reason_of;
use super::core::Gateway;
use super::leg::{Leg, LegId, Phase};
use super::requests::{Bye, OutboundRequest, Parting, RequestContext};
use super::trunks::TrunkId;
use super::work::WorkId;
use crate::base::time::Now;
use crate::sip::dialog::Dialog;
use crate::sip::target::{ConnId, Target};
use crate::sip::transactions::{ClientId, Failure};
use crate::wire::{Draft, Method, Response, Uri};

impl Gateway {
    /// Sends a BYE; whom the leg called may challenge it.
    pub(super) fn send_bye(&mut self, dialog: &mut Dialog, parting: Parting) {
        let (mut draft, hop) = dialog.request(&Method::Bye);
        draft.push("User-Agent", self.ctx.config.sip.host.as_str());
        let (flow, lax) = (parting.flow, parting.lax);
        let bye = Box::new(Bye { dialog: dialog.clone(), parting });
        self.send_over(&hop, flow, lax, OutboundRequest::Bye(draft, bye));
    }

    /// Sends the ACK to a 2xx.
    pub(super) fn send_ack(&mut self, tx: ClientId, dialog: &Dialog, cseq: u32, flow: Option<Target>) {
        let (mut draft, hop) = dialog.ack(cseq);
        self.copy_authorization(tx, &mut draft);
        let tag = dialog.remote.tag().unwrap_or_default().to_owned();
        let trunk = match self.ctx.requests.context_of(tx) {
            Some(RequestContext::Invite(leg) | RequestContext::Change(leg)) => {
                self.legs.get(leg).and_then(|l| l.trunk)
            }
            Some(_) | None => None,
        };
        self.send(&hop, flow, trunk, OutboundRequest::Ack(tx, tag, draft));
    }

    /// Starts an outbound leg's INVITE towards `uri`.
    pub(super) fn start_invite(&mut self, id: LegId, uri: &Uri) {
        let trunk = self.legs.get(id).and_then(|l| l.trunk);
        self.send(uri, None, trunk, OutboundRequest::Invite(id));
    }

    /// Sends a request of a leg or trunk to where `to` leads, along `flow` where that is the way its dialog came.
    pub(super) fn send(
        &mut self,
        to: &Uri,
        flow: Option<Target>,
        trunk: Option<TrunkId>,
        request: OutboundRequest,
    ) {
        let lax = self.trunks.is_lax(trunk);
        self.send_over(to, flow, lax, request);
    }

    fn send_over(&mut self, to: &Uri, flow: Option<Target>, lax: bool, request: OutboundRequest) {
        match flow
            .filter(|_| self.ctx.config.sip.source_socket && !matches!(request, OutboundRequest::Invite(_)))
        {
            Some(flow) => self.ctx.requests.resolve_along(request, flow),
            None => self.ctx.requests.resolve(&mut self.ctx.io, request, to, flow, lax),
        }
    }

    /// A name has been looked up.
    pub(super) fn located(&mut self, id: WorkId, targets: Vec<Target>) {
        self.ctx.requests.handle_located(&self.ctx.sip.locals(), id, targets);
    }

    /// Sends a request to the best of the addresses that were found.
    pub(super) fn transmit(&mut self, now: Now, request: OutboundRequest, targets: Vec<Target>) {
        match (targets.first().copied(), request) {
            (_, OutboundRequest::Invite(id)) => self.invite_best(now, id, targets),
            (_, OutboundRequest::Register(id)) => self.trunks.register_at(&mut self.ctx, now, id, targets),
            (_, OutboundRequest::LookUp(id)) => self.trunks.note_addresses(now, id, &targets),
            (Some(target), request) => self.send_to(now, target, request),
            (None, request) => self.undeliverable(now, request),
        }
    }

    fn send_to(&mut self, now: Now, target: Target, what: OutboundRequest) {
        let locals = self.ctx.sip.locals();
        let family = if target.addr.is_ipv4() { locals.v4 } else { locals.v6 };
        if family.is_none() || target.addr.port() == 0 {
            return self.undeliverable(now, what);
        }
        match what {
            // These take all addresses that were found: `transmit` has seen to them.
            OutboundRequest::Invite(_) | OutboundRequest::Register(_) | OutboundRequest::LookUp(_) => {}
            OutboundRequest::Ack(tx, tag, draft) => self.ctx.sip.ack(tx, &tag, &draft, target),
            OutboundRequest::Change(id, method, mut draft, local) => {
                self.authorize(id, &method, &mut draft, target);
                match self.ctx.sip.request(now.mono, &method, draft, target) {
                    Ok(tx) => {
                        self.ctx.requests.sent(tx, RequestContext::Change(id));
                        self.change_sent(now, id, tx, local);
                    }
                    Err(e) => self.change_over(now, id, Err(e.to_string())),
                }
            }
            OutboundRequest::Refer(id, mut draft) => {
                self.authorize(id, &Method::Refer, &mut draft, target);
                match self.ctx.sip.request(now.mono, &Method::Refer, draft, target) {
                    Ok(tx) => {
                        self.ctx.requests.sent(tx, RequestContext::Refer(id));
                        self.refer_sent(id, tx);
                    }
                    Err(e) => self.refer_answered(now, id, None, Err(&e.to_string())),
                }
            }
            OutboundRequest::Info(id, mut draft) => {
                self.authorize(id, &Method::Info, &mut draft, target);
                match self.ctx.sip.request(now.mono, &Method::Info, draft, target) {
                    Ok(tx) => {
                        self.ctx.requests.sent(tx, RequestContext::Info(id));
                    }
                    Err(_) => self.info_answered(now, id, Err(Failure::Transport)),
                }
            }
            OutboundRequest::Notify(id, notice, draft) => {
                match self.ctx.sip.request(now.mono, &Method::Notify, draft, target) {
                    Ok(tx) => {
                        self.ctx.requests.sent(tx, RequestContext::Notify(id, notice));
                    }
                    Err(_) => self.notified_or_not(now, id, notice, Err(Failure::Transport)),
                }
            }
            OutboundRequest::Subscribe(id, mut draft) => {
                self.authorize(id, &Method::Subscribe, &mut draft, target);
                // What comes of it the next NOTIFY tells.
                let _sent = self.ctx.sip.request(now.mono, &Method::Subscribe, draft, target);
            }
            OutboundRequest::Prack(id, mut draft) => {
                self.authorize(id, &Method::Prack, &mut draft, target);
                let to = draft.get("To").unwrap_or_default().to_owned();
                match self.ctx.sip.request(now.mono, &Method::Prack, draft, target) {
                    Ok(tx) => {
                        self.ctx.requests.sent(tx, RequestContext::Prack(id));
                        self.prack_sent(id, &to, tx);
                    }
                    Err(_) => self.prack_undelivered(id, |_, of| of == to),
                }
            }
            OutboundRequest::Bye(draft, bye) => self.send_bye_to(now, target, draft, bye),
        }
    }

    fn undeliverable(&mut self, now: Now, what: OutboundRequest) {
        match what {
            OutboundRequest::Change(id, ..) => {
                self.change_over(now, id, Err("the far end cannot be reached".to_owned()))
            }
            OutboundRequest::Refer(id, _) => {
                self.refer_answered(now, id, None, Err("the far end cannot be reached"))
            }
            OutboundRequest::Info(id, _) => self.info_answered(now, id, Err(Failure::Transport)),
            OutboundRequest::Notify(id, notice, _) => {
                self.notified_or_not(now, id, notice, Err(Failure::Transport))
            }
            OutboundRequest::Prack(id, draft) => {
                let to = draft.get("To").unwrap_or_default();
                self.prack_undelivered(id, |_, of| of == to);
            }
            // Nobody waits for the first three; the others hear from `transmit` that there is no address.
            OutboundRequest::Subscribe(..)
            | OutboundRequest::Bye(..)
            | OutboundRequest::Ack(..)
            | OutboundRequest::Invite(_)
            | OutboundRequest::Register(_)
            | OutboundRequest::LookUp(_) => {}
        }
    }

    /// A response to a request of ours that somebody waits for.
    pub(super) fn response(&mut self, now: Now, tx: ClientId, response: &Response) {
        self.bye_answered(tx, response);
        if let Some(
            RequestContext::Invite(id)
            | RequestContext::Change(id)
            | RequestContext::Refer(id)
            | RequestContext::Info(id),
        ) = self.ctx.requests.context_of(tx)
            && response.code >= 200
            && !matches!(response.code, 401 | 407)
        {
            self.passed(id, tx, response);
        }
        match self.ctx.requests.context_of(tx) {
            Some(RequestContext::Invite(id)) => self.invite_response(now, tx, id, response),
            Some(RequestContext::Change(id)) => self.change_response(now, tx, id, response),
            Some(RequestContext::AbandonedInvite) if (200..300).contains(&response.code) => {
                self.end_fork(tx, response)
            }
            Some(RequestContext::AbandonedChange) if (200..300).contains(&response.code) => {
                if response.common.cseq_method == Method::Invite
                    && let Ok(dialog) = Dialog::uac(response, &response.common.to.uri)
                {
                    let flow = self.ctx.sip.target_of(tx);
                    self.send_ack(tx, &dialog, response.common.cseq, flow);
                }
            }
            Some(RequestContext::AbandonedInvite | RequestContext::AbandonedChange)
                if response.code >= 300 =>
            {
                self.ctx.requests.forget(tx);
            }
            Some(RequestContext::Refer(id)) if response.code >= 200 => {
                self.ctx.requests.forget(tx);
                self.refer_answered(now, id, Some(tx), Ok(response));
            }
            Some(RequestContext::Info(id)) if response.code >= 200 => {
                self.ctx.requests.forget(tx);
                self.info_answered(now, id, Ok((tx, response)));
            }
            Some(RequestContext::Register(id)) => {
                if response.code >= 200 {
                    self.ctx.requests.forget(tx);
                }
                self.trunks.register_answered(&mut self.ctx, now, id, tx, Some(response));
            }
            Some(RequestContext::Notify(id, notice)) if response.code >= 200 => {
                self.ctx.requests.forget(tx);
                self.notified_or_not(now, id, notice, Ok(response.code));
            }
            Some(
                RequestContext::AbandonedInvite
                | RequestContext::AbandonedChange
                | RequestContext::Refer(_)
                | RequestContext::Info(_)
                | RequestContext::Prack(_)
                | RequestContext::Notify(..),
            )
            | None => {}
        }
    }

    /// No response will come to a request of ours.
    pub(super) fn request_failed(&mut self, now: Now, tx: ClientId, failure: Failure) {
        self.ctx.requests.take_bye(tx);
        match self.ctx.requests.forget(tx) {
            Some(RequestContext::Invite(id)) => {
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
            Some(RequestContext::Change(id)) => self.change_failed(now, tx, id, failure),
            Some(RequestContext::Refer(id)) => {
                let why = match failure {
                    Failure::Timeout => "the far end did not answer the REFER",
                    Failure::Transport => "the far end cannot be reached",
                };
                self.refer_answered(now, id, Some(tx), Err(why));
            }
            Some(RequestContext::Prack(id)) if failure == Failure::Transport => {
                self.prack_undelivered(id, |prack, _| prack == Some(tx));
            }
            Some(RequestContext::Info(id)) => self.info_answered(now, id, Err(failure)),
            Some(RequestContext::Register(id)) => {
                self.trunks.register_answered(&mut self.ctx, now, id, tx, None)
            }
            Some(RequestContext::Notify(id, notice)) => self.notified_or_not(now, id, notice, Err(failure)),
            Some(
                RequestContext::AbandonedInvite | RequestContext::AbandonedChange | RequestContext::Prack(_),
            )
            | None => {}
        }
    }

    /// A connection that is gone, and does not lead there again, must not stand for another server's, whose name its
    /// certificate has to carry.
    pub fn forget_connection(&mut self, gone: ConnId) {
        let all: Vec<LegId> = self.legs.live().map(|(_, id)| id).collect();
        for id in all {
            let flow = self.legs.get_mut(id).and_then(|l| l.flow.as_mut());
            flow.filter(|f| f.conn == Some(gone)).into_iter().for_each(|f| f.conn = None);
        }
    }

    /// Adds to a request of a leg what its challengers have asked for before.
    pub(super) fn authorize(&mut self, id: LegId, method: &Method, draft: &mut Draft, target: Target) {
        let Some(auth) = self.legs.get_mut(id).and_then(|l| l.auth.as_mut()) else { return };
        let cnonce = self.ctx.rng.token();
        auth.add_to(method, draft, target, &cnonce);
    }

    /// Takes the challenge of a 401 or 407 to `tx`; true when the request may be tried again.
    pub(super) fn challenged(&mut self, id: LegId, tx: ClientId, response: &Response) -> bool {
        let Some(to) = self.ctx.sip.target_of(tx).map(|t| t.addr.ip()) else { return false };
        let Some(auth) = self.legs.get_mut(id).and_then(|l| l.auth.as_mut()) else { return false };
        auth.takes(to, response)
    }

    /// A request of a leg has come through.
    pub(super) fn passed(&mut self, id: LegId, tx: ClientId, response: &Response) {
        let to = self.ctx.sip.target_of(tx).map(|t| t.addr.ip());
        if let Some(auth) = self.legs.get_mut(id).and_then(|l| l.auth.as_mut()) {
            auth.passed(to, response);
        }
    }

    /// What a BYE of this leg needs.
    pub(super) fn parting_of(&self, id: LegId) -> Parting {
        let leg = self.legs.get(id);
        let auth = leg.and_then(|l| l.auth.as_deref().cloned());
        Parting { flow: leg.and_then(|l| l.flow), auth, lax: self.trunks.is_lax(leg.and_then(|l| l.trunk)) }
    }

    /// The ACK to a 2xx carries what its INVITE carried (RFC 3261 §22.1).
    pub(super) fn copy_authorization(&self, tx: ClientId, ack: &mut Draft) {
        let Some(sent) = self.ctx.sip.sent(tx) else { return };
        for name in ["Authorization", "Proxy-Authorization"] {
            for value in sent.all(name) {
                ack.push(name, value);
            }
        }
    }

    /// Sends a BYE to an address.
    fn send_bye_to(&mut self, now: Now, target: Target, mut draft: Draft, mut bye: Box<Bye>) {
        // Nobody else gets an answer.
        let known = bye.parting.auth.as_mut().filter(|a| a.was_asked_by(target.addr.ip()));
        let challenged = known.is_some();
        if let Some(auth) = known {
            auth.add_to(&Method::Bye, &mut draft, target, &self.ctx.rng.token());
        }
        // Without room for the transaction the far end learns of it by its own timers.
        let sent = self.ctx.sip.request(now.mono, &Method::Bye, draft, target);
        if let (Ok(tx), true) = (sent, challenged) {
            self.ctx.requests.bye_sent(tx, bye);
        }
    }

    /// A response to a BYE that may be challenged.
    fn bye_answered(&mut self, tx: ClientId, response: &Response) {
        if response.code < 200 {
            return;
        }
        let Some(mut bye) = self.ctx.requests.take_bye(tx) else { return };
        let Some(auth) = bye.parting.auth.as_mut() else { return };
        if auth.takes_any(response) {
            self.send_bye(&mut bye.dialog, bye.parting);
        }
    }
}
