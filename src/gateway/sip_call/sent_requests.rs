//! Requests to the far end of a call, their responses, and the end of the call.

use std::time::Duration;

use super::call::SipCall;
use super::event::{CallEnded, CallEvent};
use super::inviting::Outcome;
use super::outlived::Outlived;
use super::parts::CallContext;
use super::phase::{Ending, Phase, Up};
use super::reinvite::{Asking, Reinvite, ReinvitePurpose, UNREACHABLE, Verdict};
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::events::TransferOutcome;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::replies::Handle;
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::registrar::PhoneRoute;
use crate::gateway::requests::{self, Bye, OutboundRequest, RequestContext, can_reach};
use crate::gateway::sip_messages::expiry::inbound_limit;
use crate::gateway::sip_messages::refusal;
use crate::sdp::Local;
use crate::sip::flow::Flow;
use crate::sip::transactions::{ClientId, Failure};
use crate::wire::replaces::ReferTo;
use crate::wire::{Draft, Method, Response, Uri};

impl SipCall {
    /// Sends the INVITE to `to`.
    pub fn call(&self, ctx: &mut Context, to: &Uri) {
        self.peer.send_invite(ctx, to);
    }

    /// Sends the INVITE to the target of a redirection.
    pub fn follow_redirection(&self, ctx: &mut Context, next: Uri) {
        if let Phase::Inviting(inviting) = &self.phase {
            inviting.follow(ctx, &self.peer, next);
        }
    }

    /// Rings all phones of a user.
    pub fn call_phones(&mut self, ctx: &mut Context, now: Now, phones: &[PhoneRoute]) {
        let Phase::Inviting(inviting) = &mut self.phase else { return };
        let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
        let sent = inviting.call_phones(&mut c, phones);
        self.outgoing(ctx, now, sent.into());
    }

    /// The servers for the INVITE were located.
    pub fn call_servers(&mut self, ctx: &mut Context, now: Now, targets: Vec<Flow>) {
        let Phase::Inviting(inviting) = &mut self.phase else { return };
        let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
        let sent = inviting.call_servers(&mut c, targets);
        self.outgoing(ctx, now, sent.into());
    }

    /// The outbound call is not placed, as if it had been declined.
    pub fn decline(&mut self, ctx: &mut Context, now: Now) {
        if let Phase::Inviting(inviting) = &mut self.phase {
            inviting.set_refusal(603, "Decline");
            self.end(ctx, now, "declined");
        }
    }

    /// Applies the result of an outbound call, except its answer.
    pub(super) fn outgoing(&mut self, ctx: &mut Context, now: Now, outcome: Outcome) {
        match outcome {
            Outcome::Pending | Outcome::Accepted => {}
            Outcome::Redirected(next) => self.peer.report(ctx, CallEvent::Redirected(next)),
            Outcome::Failed(reason) => self.end(ctx, now, &reason),
        }
    }

    /// `POST` and `DELETE /legs/{id}/hold`. The reply is sent once the far end has responded.
    ///
    /// # Errors
    /// Not connected, already held or not held, or another change in progress (409).
    pub fn hold(&mut self, ctx: &mut Context, now: Now, on: bool) -> Result<Handle, GatewayError> {
        let conflict = |why: &str| Err(GatewayError::Conflict(why.to_owned()));
        self.phase.must_be_up()?;
        self.hold.may_become(on)?;
        match &self.reinvite {
            // A refresh not sent yet: this request covers it.
            Some(r) if r.purpose() == ReinvitePurpose::Refresh && !r.is_under_way() => {}
            Some(r) if r.purpose() == ReinvitePurpose::Refresh => {
                return conflict("the session is being refreshed: try again in a moment");
            }
            Some(_) => return conflict("a hold or resume of this leg is in progress"),
            None => {}
        }
        let handle = ctx.replies.expect();
        let wait = Duration::from_secs(ctx.config.sip.api_wait_s.into());
        let purpose = if on { ReinvitePurpose::Hold } else { ReinvitePurpose::Resume };
        self.begin_reinvite(ctx, now, Reinvite::new(purpose, now.mono, Some((handle, now.mono + wait))));
        Ok(handle)
    }

    pub(super) fn begin_reinvite(&mut self, ctx: &mut Context, now: Now, reinvite: Reinvite) {
        self.reinvite = Some(Box::new(reinvite));
        self.ask_reinvite(ctx, now);
    }

    fn ask_reinvite(&mut self, ctx: &mut Context, now: Now) {
        let (holds_opus, busy) = (self.holds_opus(), self.unacknowledged.is_some());
        let (Some(reinvite), Some(dialog)) = (&mut self.reinvite, self.phase.dialog_mut()) else { return };
        let (timer, wanted) = (&self.timer, self.hold.wanted_direction());
        let asking = Asking { dialog, timer, wanted, busy, holds_opus };
        let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
        if let Err(why) = reinvite.ask(&mut c, asking) {
            self.end_reinvite(ctx, now, Err(why));
        }
    }

    /// Applies the result of our re-INVITE, except its acceptance.
    pub(super) fn apply(&mut self, ctx: &mut Context, now: Now, verdict: Verdict) {
        match verdict {
            Verdict::Pending | Verdict::Agreed(_) => {}
            Verdict::Again => self.ask_reinvite(ctx, now),
            Verdict::Failed(why) => self.end_reinvite(ctx, now, Err(why)),
            Verdict::Dead => {
                if let Some(reinvite) = &self.reinvite {
                    let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
                    reinvite.abandon(&mut c);
                }
                let why = "the far end does not answer: the call is over";
                self.end_reinvite(ctx, now, Err(why.to_owned()));
                self.bye_now(ctx, now, "timeout");
            }
        }
    }

    pub(super) fn end_reinvite(&mut self, ctx: &mut Context, now: Now, outcome: Result<(), String>) {
        if let Some(reinvite) = self.reinvite.take() {
            let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
            reinvite.end(&mut c, outcome);
        }
    }

    /// `POST /legs/{id}/transfer`: sends a REFER to `target`, replacing the call of a leg if given.
    ///
    /// # Errors
    /// Not connected, or a transfer in progress (409).
    pub fn transfer(
        &mut self,
        ctx: &mut Context,
        now: Now,
        target: ReferTo,
        replaced: Option<(LegId, String)>,
    ) -> Result<(), GatewayError> {
        self.may_transfer()?;
        let Some(dialog) = self.phase.dialog_mut() else { return Ok(()) };
        let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
        self.refer.begin(&mut c, dialog, target, replaced);
        Ok(())
    }

    /// Checks that a transfer may be started.
    ///
    /// # Errors
    /// Not connected, or a transfer in progress (409).
    pub fn may_transfer(&self) -> Result<(), GatewayError> {
        self.phase.must_be_up()?;
        self.refer.may_begin()
    }

    /// Sends digits by INFO, one at a time.
    pub fn send_digits(&mut self, ctx: &mut Context, now: Now, digits: &str) {
        self.info.push(ctx, digits);
        self.send_info(ctx, now);
    }

    pub(super) fn send_info(&mut self, ctx: &mut Context, now: Now) {
        if let Some(dialog) = self.phase.dialog_mut() {
            let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
            self.info.send_next(&mut c, dialog);
        }
    }

    /// Sends a request of the call to its target; `None`: not found.
    pub fn transmit(&mut self, ctx: &mut Context, now: Now, request: OutboundRequest, target: Option<Flow>) {
        let id = self.peer.id;
        match request {
            OutboundRequest::Change(_, method, draft, local) => {
                match self.send(ctx, now, (method, draft), target, Some(RequestContext::Change(id))) {
                    Ok(tx) => {
                        if let Some(reinvite) = &mut self.reinvite {
                            reinvite.sent(now.mono, tx, local);
                        }
                    }
                    Err(why) => self.end_reinvite(ctx, now, Err(why)),
                }
            }
            OutboundRequest::Refer(_, draft) => {
                match self.send(ctx, now, (Method::Refer, draft), target, Some(RequestContext::Refer(id))) {
                    Ok(tx) => self.refer.sent(tx),
                    Err(why) => self.refer_answered(ctx, now, None, Err(&why)),
                }
            }
            OutboundRequest::Info(_, draft) => {
                let sent = self.send(ctx, now, (Method::Info, draft), target, Some(RequestContext::Info(id)));
                if sent.is_err() {
                    self.info_answered(ctx, now, Err(Failure::Transport));
                }
            }
            OutboundRequest::Subscribe(_, draft) => {
                // The next NOTIFY shows the result.
                let _sent = self.send(ctx, now, (Method::Subscribe, draft), target, None);
            }
            OutboundRequest::Prack(_, draft) => {
                let to = draft.get("To").unwrap_or_default().to_owned();
                let sent =
                    self.send(ctx, now, (Method::Prack, draft), target, Some(RequestContext::Prack(id)));
                let Phase::Inviting(inviting) = &mut self.phase else { return };
                match sent {
                    Ok(tx) => inviting.acknowledged_mut().prack_sent(&to, tx),
                    Err(_) => inviting.acknowledged_mut().prack_undelivered(|_, of| of == to),
                }
            }
            // Not sent by a call.
            OutboundRequest::Invite(_)
            | OutboundRequest::Notify(..)
            | OutboundRequest::Bye(..)
            | OutboundRequest::Register(_)
            | OutboundRequest::LookUp(_)
            | OutboundRequest::Ack(..) => {}
        }
    }

    fn send(
        &mut self,
        ctx: &mut Context,
        now: Now,
        (method, mut draft): (Method, Draft),
        target: Option<Flow>,
        of: Option<RequestContext>,
    ) -> Result<ClientId, String> {
        let target = target.filter(|t| can_reach(ctx, *t)).ok_or_else(|| UNREACHABLE.to_owned())?;
        self.peer.authorize(ctx, &method, &mut draft, target);
        let tx = ctx.sip.request(now.mono, &method, draft, target).map_err(|e| e.to_string())?;
        of.into_iter().for_each(|of| ctx.requests.sent(tx, of));
        Ok(tx)
    }

    /// Handles a response to a request of the call.
    pub fn handle_response(
        &mut self,
        ctx: &mut Context,
        now: Now,
        context: RequestContext,
        tx: ClientId,
        response: &Response,
    ) {
        let final_ = response.code >= 200;
        // An accepted PRACK says nothing about the pending INVITE.
        if final_ && !matches!(response.code, 401 | 407) && !matches!(context, RequestContext::Prack(_)) {
            self.peer.passed(ctx, tx, response);
        }
        match context {
            RequestContext::Invite(_) => self.invite_answered(ctx, now, tx, response),
            RequestContext::Change(_) => self.reinvite_answered(ctx, now, tx, response),
            RequestContext::Refer(_) if final_ => {
                ctx.requests.forget(tx);
                self.refer_answered(ctx, now, Some(tx), Ok(response));
            }
            RequestContext::Info(_) if final_ => {
                ctx.requests.forget(tx);
                self.info_answered(ctx, now, Ok((tx, response)));
            }
            RequestContext::Refer(_)
            | RequestContext::Info(_)
            | RequestContext::Prack(_)
            | RequestContext::Notify(..)
            | RequestContext::Register(_)
            | RequestContext::AbandonedInvite
            | RequestContext::AbandonedChange => {}
        }
    }

    /// A request of the call has failed without final response.
    pub fn handle_failure(
        &mut self,
        ctx: &mut Context,
        now: Now,
        context: RequestContext,
        tx: ClientId,
        failure: Failure,
    ) {
        let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
        match context {
            RequestContext::Invite(_) => {
                if let Phase::Inviting(inviting) = &mut self.phase
                    && inviting.has(tx)
                {
                    let outcome = inviting.handle_failure(&mut c, (tx, failure));
                    self.outgoing(ctx, now, outcome);
                }
            }
            RequestContext::Change(_) => {
                if let Some(reinvite) = &self.reinvite {
                    let verdict = reinvite.handle_failure(tx, failure);
                    self.apply(ctx, now, verdict);
                }
            }
            RequestContext::Refer(_) => {
                let why = match failure {
                    Failure::Timeout => "the far end did not answer the REFER",
                    Failure::Transport => UNREACHABLE,
                };
                self.refer_answered(ctx, now, Some(tx), Err(why));
            }
            RequestContext::Prack(_) if failure == Failure::Transport => {
                if let Phase::Inviting(inviting) = &mut self.phase {
                    inviting.acknowledged_mut().prack_undelivered(|prack, _| prack == Some(tx));
                }
            }
            RequestContext::Info(_) => self.info_answered(ctx, now, Err(failure)),
            RequestContext::Prack(_)
            | RequestContext::Notify(..)
            | RequestContext::Register(_)
            | RequestContext::AbandonedInvite
            | RequestContext::AbandonedChange => {}
        }
    }

    fn invite_answered(&mut self, ctx: &mut Context, now: Now, tx: ClientId, response: &Response) {
        let accepted = (200..300).contains(&response.code);
        if let Phase::Inviting(inviting) = &mut self.phase
            && inviting.has(tx)
        {
            let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
            match inviting.handle_response(&mut c, &mut self.timer, (tx, response)) {
                Outcome::Accepted => self.accepted(ctx, now, tx, response),
                outcome @ (Outcome::Pending | Outcome::Redirected(_) | Outcome::Failed(_)) => {
                    self.outgoing(ctx, now, outcome)
                }
            }
        } else if accepted && self.dialog().is_none_or(|d| d.remote.tag() != response.common.to.tag()) {
            // A fork that was not the first to answer. For a retransmission of the answer in force, the ACK
            // is being sent or waits for target resolution.
            requests::end_fork(ctx, tx, response, self.peer.parting());
        }
    }

    fn accepted(&mut self, ctx: &mut Context, now: Now, tx: ClientId, response: &Response) {
        let Phase::Inviting(inviting) = &mut self.phase else { return };
        let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
        let Some((mut dialog, agreed)) = inviting.accepted(&mut c, (tx, response)) else {
            return self.end(ctx, now, "invite_failed");
        };
        requests::send_ack(ctx, tx, &dialog, response.common.cseq, &self.peer.parting());
        if let Err(reason) = agreed {
            requests::send_bye(ctx, &mut dialog, self.peer.parting());
            return self.end(ctx, now, reason);
        }
        self.phase = Phase::Up(Box::new(Up::new(dialog, now.mono, self.max_duration)));
        self.timer.note_granted(now.mono, &response.common.headers);
        self.peer.report(ctx, CallEvent::SessionChanged);
        self.connected(ctx, now);
    }

    fn reinvite_answered(&mut self, ctx: &mut Context, now: Now, tx: ClientId, response: &Response) {
        let Some(reinvite) = &mut self.reinvite else { return };
        let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
        match reinvite.handle_response(&mut c, &mut self.timer, tx, response) {
            Verdict::Agreed(local) => self.reinvite_accepted(ctx, now, tx, response, local),
            verdict @ (Verdict::Pending | Verdict::Again | Verdict::Failed(_) | Verdict::Dead) => {
                self.apply(ctx, now, verdict)
            }
        }
    }

    fn reinvite_accepted(
        &mut self,
        ctx: &mut Context,
        now: Now,
        tx: ClientId,
        response: &Response,
        local: Local,
    ) {
        let (Some(reinvite), Some(dialog)) = (&self.reinvite, self.phase.dialog_mut()) else { return };
        let (purpose, asked) = (reinvite.purpose(), reinvite.asked_at());
        dialog.refresh_target(&response.common.contacts);
        if response.common.cseq_method == Method::Update {
            self.timer.note_granted(asked, &response.common.headers);
            return self.end_reinvite(ctx, now, Ok(()));
        }
        requests::send_ack(ctx, tx, dialog, response.common.cseq, &self.peer.parting());
        if let Err(e) = self.session.accept_again(&self.peer, &response.common, local) {
            log::info!(leg = self.peer.name(ctx), error:% = e; "no usable answer to our offer");
            return self.bye_now(ctx, now, "not_acceptable");
        }
        self.timer.note_granted(asked, &response.common.headers);
        if let ReinvitePurpose::Hold | ReinvitePurpose::Resume = purpose {
            let on = purpose == ReinvitePurpose::Hold;
            self.hold.set_ours(now.mono, on);
            self.peer.report(ctx, CallEvent::HeldByUs(on));
        }
        self.end_reinvite(ctx, now, Ok(()));
        self.session_changed(ctx, now);
    }

    fn refer_answered(
        &mut self,
        ctx: &mut Context,
        now: Now,
        tx: Option<ClientId>,
        outcome: Result<&Response, &str>,
    ) {
        let Some(dialog) = self.phase.dialog_mut() else { return };
        let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
        self.refer.handle_answer(&mut c, dialog, tx, outcome);
    }

    fn info_answered(
        &mut self,
        ctx: &mut Context,
        now: Now,
        outcome: Result<(ClientId, &Response), Failure>,
    ) {
        let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
        if !self.info.handle_answer(&mut c, self.phase.dialog_mut(), outcome) {
            self.bye_now(ctx, now, "timeout");
        }
    }

    /// The ringing time limit has expired.
    pub(super) fn ring_out(&mut self, ctx: &mut Context, now: Now) {
        let invite = self.unanswered().and_then(|tx| ctx.sip.request_of(tx));
        let code = invite.map(|r| inbound_limit(ctx.config.sip.ring_timeout_s, r).1);
        self.hang_up(ctx, now, "ring_timeout", code);
    }

    /// Ends the call from our side: CANCEL, a final response (`code`, default 480), or BYE.
    pub fn hang_up(&mut self, ctx: &mut Context, now: Now, reason: &str, code: Option<u16>) {
        match &self.phase {
            // Cancelled by `end`.
            Phase::Inviting(_) => {}
            Phase::Ringing(ringing) => {
                let code = code.unwrap_or(480);
                refusal::respond(ctx, now, ringing.tx, code, refusal::phrase(code));
            }
            Phase::Answered(answered) => {
                // BYE must not be sent before the ACK is received (RFC 3261 §15).
                let bye = Bye { dialog: answered.dialog.clone(), parting: self.peer.parting() };
                ctx.requests.owe_bye(answered.tx, bye);
            }
            Phase::Up(_) => return self.bye_now(ctx, now, reason),
            Phase::Ending(_) => return,
        }
        self.end(ctx, now, reason);
    }

    /// Sends BYE at once, in any state of the dialog.
    pub fn bye_now(&mut self, ctx: &mut Context, now: Now, reason: &str) {
        if let Some(mut dialog) = self.dialog().cloned() {
            requests::send_bye(ctx, &mut dialog, self.peer.parting());
        }
        self.end(ctx, now, reason);
    }

    /// Ends the signalling of the call.
    pub(super) fn end(&mut self, ctx: &mut Context, now: Now, reason: &str) {
        if self.is_ending() {
            return;
        }
        let (flow, lax) = (self.peer.flow, self.peer.terms.lax);
        let outlived = self.dialog().cloned().map(|dialog| {
            let contact = self.peer.contact(ctx, dialog.is_secure());
            Outlived::new(dialog, flow, lax, contact)
        });
        let answered = self.phase.answered();
        let refusal = match &mut self.phase {
            Phase::Inviting(inviting) => {
                inviting.abandon(&mut CallContext::new(ctx, now, &mut self.peer, &mut self.session));
                inviting.take_refusal()
            }
            Phase::Ringing(_) | Phase::Answered(_) | Phase::Up(_) | Phase::Ending(_) => None,
        };
        self.phase = Phase::Ending(Box::new(Ending::new(reason, now.mono, answered)));
        let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
        c.session.release_port(c.ctx);
        c.ctx.requests.leg_ended(c.peer.id, &c.peer.parting());
        if let Some(reinvite) = self.reinvite.take() {
            reinvite.abandon(&mut c);
            reinvite.end(&mut c, Err("the call has ended".to_owned()));
        }
        self.refer.fail(&mut c, TransferOutcome::failed("the call has ended"));
        let ended = CallEnded { reason: reason.to_owned(), refusal, dialog: outlived };
        c.report(CallEvent::Ended(Box::new(ended)));
    }
}
