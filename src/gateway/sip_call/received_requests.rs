//! Requests of the far end: its INVITE until it is answered, in-dialog requests, and ACKs.

use super::call::SipCall;
use super::crossing::{self, Unfinished};
use super::dtmf_info;
use super::event::CallEvent;
use super::parts::CallContext;
use super::phase::{Answered, Phase, Ringing, Up};
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::events::{EventBody, LegState};
use crate::gateway::interface::error::GatewayError;
use crate::gateway::legs::leg_id::Kind;
use crate::gateway::sip_messages::bodies::{offer_of, refusal_of_body};
use crate::gateway::sip_messages::refusal;
use crate::sdp::{Description, SdpError};
use crate::sip::dialog::Dialog;
use crate::sip::flow::Flow;
use crate::sip::session_timer;
use crate::sip::transactions::{Failure, ServerId};
use crate::wire::{Draft, Method, Request, Uri};

/// What remains to be done for an in-dialog request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// Nothing.
    Done,
    /// Process a REFER.
    Refer,
    /// Process a SUBSCRIBE to a transfer.
    Subscribe,
}

impl SipCall {
    fn ringing(&self) -> Result<&Ringing, GatewayError> {
        if self.peer.outbound {
            return Err(GatewayError::Invalid("the leg is not an inbound SIP leg".to_owned()));
        }
        match &self.phase {
            Phase::Ringing(ringing) => Ok(ringing),
            Phase::Inviting(_) | Phase::Answered(_) | Phase::Up(_) | Phase::Ending(_) => {
                Err(GatewayError::Conflict("the leg is not ringing".to_owned()))
            }
        }
    }

    /// `POST /legs/{id}/ring`: sends 180 if that is not automatic.
    ///
    /// # Errors
    /// Not inbound (400), not ringing (409).
    pub fn ring(&mut self, ctx: &mut Context, now: Now) -> Result<(), GatewayError> {
        let ringing = self.ringing()?;
        if ringing.early {
            return Err(GatewayError::Conflict("the leg is not ringing".to_owned()));
        }
        let (tx, offered) = (ringing.tx, ringing.offer.is_some());
        if let Some(mut draft) = ctx.sip.draft(tx, 180, "Ringing") {
            refusal::add_contact(ctx, &mut draft, tx);
            self.send_provisional(ctx, now, tx, offered, (180, draft));
        }
        Ok(())
    }

    fn send_provisional(
        &mut self,
        ctx: &mut Context,
        now: Now,
        tx: ServerId,
        offered: bool,
        (code, draft): (u16, Draft),
    ) {
        self.provisionals.get_or_insert_default().send(ctx, now, tx, offered, code, draft);
    }

    /// `POST /legs/{id}/early-media`: sends 183 with our answer and opens media.
    ///
    /// # Errors
    /// Not inbound (400), not ringing (409), no offer or codec or port (500).
    pub fn early_media(&mut self, ctx: &mut Context, now: Now) -> Result<(), GatewayError> {
        let ringing = self.ringing()?;
        if ringing.early {
            return Err(GatewayError::Conflict("early media is on already".to_owned()));
        }
        let tx = ringing.tx;
        let Some(offer) = ringing.offer.clone() else {
            return Err(GatewayError::Failed("the caller offered no media to send early".to_owned()));
        };
        let body = self.session.answer(ctx, &self.peer, &offer);
        let body = body.map_err(|e| GatewayError::Failed(e.to_string()))?;
        let Some(mut draft) = ctx.sip.draft(tx, 183, "Session Progress") else {
            return Err(GatewayError::Conflict("the leg is not ringing".to_owned()));
        };
        refusal::add_contact(ctx, &mut draft, tx);
        draft.set_body("application/sdp", body.into_bytes());
        self.send_provisional(ctx, now, tx, true, (183, draft));
        if let Phase::Ringing(ringing) = &mut self.phase {
            ringing.early = true;
        }
        let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
        c.report(CallEvent::SessionChanged);
        c.publish(EventBody::LegEarlyMedia(LegState { leg_type: Kind::SipInbound }));
        Ok(())
    }

    /// `POST /legs/{id}/answer`. A call that turns out not to be answerable ends with a suitable response.
    /// `pin`: the caller is one of our phones, reached over its registered flow.
    ///
    /// # Errors
    /// Not inbound (400), answered already (409).
    pub fn answer(&mut self, ctx: &mut Context, now: Now, pin: Option<Uri>) -> Result<(), GatewayError> {
        let ringing = self.ringing().map_err(|e| {
            let conflict = matches!(e, GatewayError::Conflict(_));
            if conflict {
                GatewayError::Conflict("the leg is not ringing or in early media".to_owned())
            } else {
                e
            }
        })?;
        let (tx, offer, early) = (ringing.tx, ringing.offer.clone(), ringing.early);
        if self.provisionals.as_mut().is_some_and(|p| p.delays_answer()) {
            return Ok(());
        }
        let body = match (&offer, early) {
            // The answer of the 183, possibly changed by PRACK or UPDATE since.
            (Some(_), true) => Ok(self.session.last_description()),
            (Some(offer), false) => self.session.answer(ctx, &self.peer, offer),
            (None, _) => self.session.offer_in_answer(ctx, &self.peer),
        };
        match body {
            Ok(body) => self.send_answer(ctx, now, tx, body, offer.is_none(), pin),
            Err(SdpError::Malformed | SdpError::NoPort | SdpError::NotAnAnswer) => {
                refusal::refuse(ctx, now, tx, 503, "Service Unavailable");
                self.end(ctx, now, "service_unavailable");
            }
            Err(e) => {
                refusal::refuse_sdp(ctx, now, tx, &e);
                self.end(ctx, now, "not_acceptable");
            }
        }
        Ok(())
    }

    fn send_answer(
        &mut self,
        ctx: &mut Context,
        now: Now,
        tx: ServerId,
        body: String,
        offerless: bool,
        pin: Option<Uri>,
    ) {
        let Some(mut draft) = ctx.sip.draft(tx, 200, "OK") else { return };
        refusal::add_contact(ctx, &mut draft, tx);
        draft.set_body("application/sdp", body.into_bytes());
        let (Some(request), Some(tag)) = (ctx.sip.request_of(tx), ctx.sip.tag_of(tx)) else { return };
        let Ok(mut dialog) = Dialog::uas(request, tag) else { return };
        dialog.pinned = pin;
        let cseq = request.common.cseq;
        self.timer.grant(now.mono, &request.common.headers, &mut draft);
        ctx.sip.respond(now.mono, tx, 200, &draft);
        self.phase = Phase::Answered(Box::new(Answered { tx, dialog, early: self.is_early(), at: now.mono }));
        self.provisionals.iter_mut().for_each(|p| p.stop());
        self.offer_in_ack = offerless.then_some(cseq);
        if !offerless {
            let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
            c.report(CallEvent::SessionChanged);
            c.report(CallEvent::Unproven(true));
        }
    }

    /// The caller has cancelled.
    pub fn handle_cancel(&mut self, ctx: &mut Context, now: Now) {
        self.end(ctx, now, "caller_cancel");
    }

    /// Handles an in-dialog request from `source`.
    pub fn handle_request(
        &mut self,
        ctx: &mut Context,
        now: Now,
        tx: ServerId,
        request: &Request,
        source: Flow,
    ) -> Handled {
        if let Phase::Inviting(inviting) = &self.phase
            && let Some((code, reason)) = inviting.refusal_of(request)
        {
            refusal::respond(ctx, now, tx, code, reason);
            return Handled::Done;
        }
        if let Some(dialog) = self.dialog_mut()
            && dialog.handle_request(request).is_err()
        {
            refusal::respond(ctx, now, tx, 500, "Server Internal Error: CSeq out of order");
            return Handled::Done;
        }
        if self.peer.has_reconnected(source) {
            self.flow_leads(ctx, source);
        }
        match &request.method {
            Method::Bye => self.bye_received(ctx, now, tx),
            Method::Invite => self.reinvited(ctx, now, tx, request, source),
            Method::Info => {
                if let Some(digit) = dtmf_info::digit_of(ctx, now, tx, request) {
                    self.peer.report(ctx, CallEvent::Digit(digit));
                }
            }
            Method::Prack => self.pracked(ctx, now, tx, request),
            Method::Update => self.updated(ctx, now, tx, request, source),
            Method::Refer => return Handled::Refer,
            Method::Subscribe => return Handled::Subscribe,
            Method::Notify => {
                let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
                if let Some(completed) = self.refer.handle_notify(&mut c, tx, request) {
                    // The transfer succeeded: our leg is no longer needed.
                    self.bye_now(ctx, now, "transfer_completed");
                    self.peer.report(ctx, CallEvent::Transferred(completed.0));
                }
            }
            Method::Options => refusal::answer_options(ctx, now, tx),
            Method::Ack | Method::Cancel => {}
            Method::Register | Method::Message | Method::Publish => {
                refusal::not_allowed(ctx, now, tx, 405, "Method Not Allowed")
            }
            Method::Other(_) => refusal::not_allowed(ctx, now, tx, 501, "Not Implemented"),
        }
        Handled::Done
    }

    fn bye_received(&mut self, ctx: &mut Context, now: Now, tx: ServerId) {
        refusal::respond(ctx, now, tx, 200, "OK");
        let reason = match &self.phase {
            Phase::Answered(answered) => {
                // The caller hangs up without having sent the ACK: stop retransmitting the 200.
                ctx.sip.confirm(answered.tx);
                "remote_bye"
            }
            Phase::Up(_) if self.transferred => "transfer_completed",
            Phase::Up(_) => "remote_bye",
            // BYE in an early dialog ends the call (RFC 3261 §15.1.2).
            Phase::Ringing(ringing) => {
                refusal::respond(ctx, now, ringing.tx, 487, "Request Terminated");
                "remote_bye"
            }
            Phase::Inviting(_) | Phase::Ending(_) => return,
        };
        self.end(ctx, now, reason);
    }

    /// Handles a re-INVITE: hold, address change, refresh (RFC 3261 §14.2).
    fn reinvited(&mut self, ctx: &mut Context, now: Now, tx: ServerId, request: &Request, source: Flow) {
        let Some(offer) = self.acceptable_offer(ctx, now, tx, request) else { return };
        if self.refused_as_crossing(ctx, now, tx, request, offer.is_some()) {
            return;
        }
        let (wanted, holds_opus) = (self.hold.wanted_direction(), self.holds_opus());
        let body = match &offer {
            Some(offer) => self.session.answer_again(ctx, &self.peer, offer, wanted),
            None => self.session.offer_again(ctx, wanted, holds_opus),
        };
        let body = match body {
            Ok(body) => body,
            Err(e) => return refusal::refuse_sdp(ctx, now, tx, &e),
        };
        let Some(mut draft) = ctx.sip.draft(tx, 200, "OK") else { return };
        refusal::add_contact(ctx, &mut draft, tx);
        self.timer.grant(now.mono, &request.common.headers, &mut draft);
        draft.set_body("application/sdp", body.into_bytes());
        ctx.sip.respond(now.mono, tx, 200, &draft);
        self.unacknowledged = Some(tx);
        self.offer_in_ack = offer.is_none().then_some(request.common.cseq);
        self.follow(request, source);
        if offer.is_some() {
            self.session_changed(ctx, now);
        }
    }

    /// The offer in a request that may change the session, `None` inside if it has none; `None` outside if
    /// the request was refused because of its session interval or body.
    fn acceptable_offer(
        &self,
        ctx: &mut Context,
        now: Now,
        tx: ServerId,
        request: &Request,
    ) -> Option<Option<Description>> {
        if let Err(least) = session_timer::answer(&request.common.headers) {
            refusal::refuse_short_session(ctx, now, tx, least);
            return None;
        }
        if let Some((code, reason)) = refusal_of_body(request) {
            refusal::refuse_body(ctx, now, tx, code, reason);
            return None;
        }
        let offer = offer_of(request, &self.session.able(ctx, &self.peer));
        offer.inspect_err(|e| refusal::refuse_sdp(ctx, now, tx, e)).ok()
    }

    /// Refuses a request that conflicts with another session change; true if it was refused.
    fn refused_as_crossing(
        &mut self,
        ctx: &mut Context,
        now: Now,
        tx: ServerId,
        request: &Request,
        offers: bool,
    ) -> bool {
        let invites = request.method == Method::Invite;
        let unfinished = self.unfinished(request);
        let wait = match (invites, offers) {
            (true, _) => unfinished.delays_invite(),
            (false, true) => unfinished.delays_offer(),
            (false, false) => return false,
        };
        if let Some(wait) = wait {
            crossing::refuse(ctx, now, tx, wait);
            return true;
        }
        if let Some(reinvite) = &mut self.reinvite {
            reinvite.postpone(&mut CallContext::new(ctx, now, &mut self.peer, &mut self.session));
        }
        false
    }

    fn unfinished(&self, request: &Request) -> Unfinished {
        let (tag, asks) =
            (request.common.from.tag(), self.reinvite.as_ref().is_some_and(|r| r.is_inviting()));
        let early = matches!(&self.phase, Phase::Inviting(i) if !i.has_answer(tag));
        let described = self.provisionals.as_ref().is_some_and(|p| p.has_described());
        Unfinished {
            our_invite: asks || self.is_inviting(),
            our_offer: asks || early || self.offer_in_ack.is_some(),
            their_invite: self.is_ringing() || self.unacknowledged.is_some(),
            their_offer: self.is_ringing() && !described,
        }
    }

    /// Handles UPDATE (RFC 3311): refresh or session change.
    fn updated(&mut self, ctx: &mut Context, now: Now, tx: ServerId, request: &Request, source: Flow) {
        let Some(offer) = self.acceptable_offer(ctx, now, tx, request) else { return };
        if self.refused_as_crossing(ctx, now, tx, request, offer.is_some()) {
            return;
        }
        let body = match self.answer_change(ctx, offer.as_ref()) {
            Ok(body) => body,
            Err(e) => return refusal::refuse_sdp(ctx, now, tx, &e),
        };
        if let (Phase::Inviting(inviting), Some(stream), true) =
            (&mut self.phase, self.session.stream(), body.is_some())
        {
            inviting.note_early_change(request, stream);
        }
        let Some(mut draft) = ctx.sip.draft(tx, 200, "OK") else { return };
        refusal::add_contact(ctx, &mut draft, tx);
        // Before the answer there is no session timer, and the remote target cannot change.
        let answered = self.dialog().is_some();
        if answered {
            self.timer.grant(now.mono, &request.common.headers, &mut draft);
        }
        if let Some(body) = body {
            draft.set_body("application/sdp", body.into_bytes());
        }
        ctx.sip.respond(now.mono, tx, 200, &draft);
        if answered {
            self.follow(request, source);
        }
        if offer.is_some() {
            self.session_changed(ctx, now);
        }
    }

    fn answer_change(
        &mut self,
        ctx: &mut Context,
        offer: Option<&Description>,
    ) -> Result<Option<String>, SdpError> {
        let wanted = self.hold.wanted_direction();
        offer.map(|o| self.session.answer_again(ctx, &self.peer, o, wanted)).transpose()
    }

    /// Handles PRACK.
    fn pracked(&mut self, ctx: &mut Context, now: Now, tx: ServerId, request: &Request) {
        // The 2xx and its ACK may have overtaken it (RFC 3262 §3).
        let open = !matches!(self.phase, Phase::Inviting(_) | Phase::Ending(_));
        if !self.provisionals.as_ref().is_some_and(|p| open && p.is_acknowledged_by(request)) {
            return refusal::respond(ctx, now, tx, 481, "No Such Provisional Response");
        }
        let Some(offer) = self.acceptable_offer(ctx, now, tx, request) else { return };
        // Even if its offer is refused, the response is acknowledged.
        if self.refused_as_crossing(ctx, now, tx, request, offer.is_some()) {
            return self.go_on_after_prack(ctx, now);
        }
        let body = match self.answer_change(ctx, offer.as_ref()) {
            Ok(body) => body,
            Err(e) => {
                refusal::refuse_sdp(ctx, now, tx, &e);
                return self.go_on_after_prack(ctx, now);
            }
        };
        let Some(mut draft) = ctx.sip.draft(tx, 200, "OK") else { return };
        if let Some(body) = body {
            draft.set_body("application/sdp", body.into_bytes());
        }
        ctx.sip.respond(now.mono, tx, 200, &draft);
        if offer.is_some() {
            self.session_changed(ctx, now);
        }
        self.go_on_after_prack(ctx, now);
    }

    fn go_on_after_prack(&mut self, ctx: &mut Context, now: Now) {
        let Some(provisionals) = &mut self.provisionals else { return };
        let (answer, next) = provisionals.acknowledged();
        let Phase::Ringing(ringing) = &self.phase else { return };
        if answer {
            self.peer.report(ctx, CallEvent::AnswerDue);
        } else if let Some(next) = next {
            let (tx, offered) = (ringing.tx, ringing.offer.is_some());
            self.send_provisional(ctx, now, tx, offered, next);
        }
    }

    /// Updates the media, drops queued digits if the far end now holds us, and publishes the start or end of
    /// a hold.
    pub(super) fn session_changed(&mut self, ctx: &mut Context, now: Now) {
        self.peer.report(ctx, CallEvent::SessionChanged);
        if !self.session.sends() {
            self.info.clear(ctx);
        }
        if self.is_up() {
            self.note_hold(ctx, now);
        }
    }

    /// Handles an ACK to our 2xx.
    pub fn handle_ack(&mut self, ctx: &mut Context, now: Now, request: &Request) {
        let cseq = request.common.cseq;
        if self.offer_in_ack == Some(cseq) {
            self.offer_in_ack = None;
            let holds_opus = self.holds_opus();
            if let Err(e) = self.session.accept_in_ack(&self.peer, &request.common, holds_opus) {
                log::info!(leg = self.peer.name(ctx), error:% = e; "no usable answer in the ACK");
                self.confirm_invite(ctx, cseq);
                return self.bye_now(ctx, now, "not_acceptable");
            }
            self.session_changed(ctx, now);
        }
        let known = self.confirm_invite(ctx, cseq);
        if let Phase::Answered(answered) = &self.phase
            && known
        {
            let (dialog, at) = (answered.dialog.clone(), answered.at);
            self.phase = Phase::Up(Box::new(Up::new(dialog, at, self.max_duration)));
            self.peer.report(ctx, CallEvent::Unproven(false));
            self.connected(ctx, now);
        }
    }

    /// Stops retransmission of the 2xx acknowledged by an ACK with this number; true if there is one.
    fn confirm_invite(&mut self, ctx: &mut Context, cseq: u32) -> bool {
        let mut known = false;
        let initial = if let Phase::Answered(answered) = &self.phase { Some(answered.tx) } else { None };
        for tx in [initial, self.unacknowledged].into_iter().flatten() {
            if ctx.sip.cseq_of(tx) == Some(cseq) {
                ctx.sip.confirm(tx);
                known = true;
                self.unacknowledged.take_if(|own| *own == tx);
            }
        }
        known
    }

    /// No ACK within 32 s. The call ends on a timeout, but not because a response in it could not be
    /// delivered.
    pub fn handle_ack_missing(&mut self, ctx: &mut Context, now: Now, tx: ServerId, why: Failure) {
        if self.unacknowledged == Some(tx) && why == Failure::Transport {
            (self.unacknowledged, self.offer_in_ack) = (None, None);
        } else {
            self.bye_now(ctx, now, "ack_timeout");
        }
    }
}
