//! Requests inside a call: BYE, re-INVITE, INFO, and the ACKs that complete what we answered.

use super::bodies::{answer_of, offer_of, refusal_of_body};
use super::core::Gateway;
use super::events::{EventBody, LegState};
use super::leg::{Leg, LegId, Phase};
use super::offers::able_in_call;
use super::refusal;
use crate::base::rng::Rng;
use crate::base::time::Now;
use crate::sdp::{self, Description, Keyed, Local, SdpError};
use crate::sip::session_timer;
use crate::sip::target::Target;
use crate::sip::transactions::{Failure, ServerId};
use crate::wire::crypto::OurKeys;
use crate::wire::{Method, Request};

impl Gateway {
    /// A request with a To tag.
    pub(super) fn in_dialog(&mut self, now: Now, tx: ServerId, request: &Request, source: Target) {
        let Some(id) = self.legs.of_request(request) else {
            if request.method == Method::Bye
                && let Some(invite) = self.ctx.requests.owes_bye_to(request)
            {
                // Both hang up at once: no BYE of ours is needed any more.
                self.ctx.sip.confirm(invite);
                self.ctx.requests.take_owed_bye(invite);
                return refusal::respond(&mut self.ctx, now, tx, 200, "OK");
            }
            return refusal::respond(&mut self.ctx, now, tx, 481, "Call/Transaction Does Not Exist");
        };
        let Some(leg) = self.legs.get_mut(id) else { return };
        if let Phase::Inviting(inviting) = &leg.phase
            && let Some((code, reason)) = inviting.refusal_of(request)
        {
            return refusal::respond(&mut self.ctx, now, tx, code, reason);
        }
        if let Some(dialog) = leg.dialog_mut()
            && dialog.handle_request(request).is_err()
        {
            return refusal::respond(&mut self.ctx, now, tx, 500, "Server Internal Error: CSeq out of order");
        }
        self.heard_along(id, source);
        match &request.method {
            Method::Bye => self.bye_received(now, tx, id),
            Method::Invite => self.reinvited(now, tx, id, request, source),
            Method::Info => self.info(now, tx, id, request),
            Method::Prack => self.pracked(now, tx, id, request),
            Method::Update => self.updated(now, tx, id, request, source),
            Method::Refer => self.referred(now, tx, id, request),
            Method::Notify => self.notified(now, tx, id, request),
            Method::Options => refusal::answer_options(&mut self.ctx, now, tx),
            Method::Ack | Method::Cancel => {}
            Method::Subscribe => self.subscribed(now, tx, id, request),
            Method::Register | Method::Message | Method::Publish => {
                refusal::not_allowed(&mut self.ctx, now, tx, 405, "Method Not Allowed")
            }
            Method::Other(_) => refusal::not_allowed(&mut self.ctx, now, tx, 501, "Not Implemented"),
        }
    }

    fn bye_received(&mut self, now: Now, tx: ServerId, id: LegId) {
        refusal::respond(&mut self.ctx, now, tx, 200, "OK");
        match self.legs.get(id).map(|l| &l.phase) {
            Some(Phase::Answered { tx, .. }) => {
                // The caller hangs up without having acknowledged: no need to repeat the 200.
                let tx = *tx;
                self.ctx.sip.confirm(tx);
                self.end(now, id, "remote_bye");
            }
            Some(Phase::Up { .. }) => {
                let told = self.legs.get(id).is_some_and(|l| l.transferred);
                self.end(now, id, if told { "transfer_completed" } else { "remote_bye" });
            }
            // BYE in an early dialog: the caller ends the call (RFC 3261 §15.1.2).
            Some(Phase::Ringing { tx, .. }) => {
                let tx = *tx;
                refusal::respond(&mut self.ctx, now, tx, 487, "Request Terminated");
                self.end(now, id, "remote_bye");
            }
            Some(Phase::Inviting(_) | Phase::Ending { .. }) | None => {}
        }
    }

    /// The far end changes the session: its hold, another address, a refresh (RFC 3261 §14.2).
    fn reinvited(&mut self, now: Now, tx: ServerId, id: LegId, request: &Request, source: Target) {
        let Some(offer) = self.acceptable_offer(now, tx, id, request) else { return };
        if self.refused_as_crossing(now, tx, id, request, offer.is_some()) {
            return;
        }
        let body = match &offer {
            Some(offer) => self.answer_change(id, offer),
            None => self.offer_again(id),
        };
        let body = match body {
            Ok(body) => body,
            Err(e) => return refusal::refuse_sdp(&mut self.ctx, now, tx, &e),
        };
        let Some(mut draft) = self.ctx.sip.draft(tx, 200, "OK") else { return };
        refusal::add_contact(&self.ctx, &mut draft, tx);
        self.grant_session(now, id, &request.common.headers, &mut draft);
        draft.set_body("application/sdp", body.into_bytes());
        self.ctx.sip.respond(now.mono, tx, 200, &draft);
        if let Some(leg) = self.legs.get_mut(id) {
            leg.reinvite = Some(tx);
            leg.offer_in_ack = offer.is_none().then_some(request.common.cseq);
            leg.follow(request, source);
        }
        if offer.is_some() {
            self.stream_changed(now, id);
        }
    }

    /// The offer in a request that may change the session, `None` inside when it has none; `None` outside when
    /// the request has been refused for its session interval or its body.
    pub(super) fn acceptable_offer(
        &mut self,
        now: Now,
        tx: ServerId,
        id: LegId,
        request: &Request,
    ) -> Option<Option<Description>> {
        if let Err(least) = session_timer::answer(&request.common.headers) {
            refusal::refuse_short_session(&mut self.ctx, now, tx, least);
            return None;
        }
        if let Some((code, reason)) = refusal_of_body(request) {
            refusal::refuse_body(&mut self.ctx, now, tx, code, reason);
            return None;
        }
        offer_of(request, &able_in_call(&self.ctx, &self.trunks, self.legs.get(id)))
            .inspect_err(|e| refusal::refuse_sdp(&mut self.ctx, now, tx, e))
            .ok()
    }

    pub(super) fn answer_change(&mut self, id: LegId, offer: &Description) -> Result<String, SdpError> {
        let codecs = self.opus_places().codecs_of(id);
        let leg = self.legs.get_mut(id).ok_or(SdpError::Malformed)?;
        let wanted = leg.wanted_direction();
        let local = leg.local.as_mut().ok_or(SdpError::Malformed)?;
        let fallback = leg.flow.map_or(local.address, |f| f.addr.ip());
        let mut next = local.clone();
        leg.stream.iter().for_each(|s| next.remember(s));
        next.follow(offer);
        renew_keys(&mut next, leg.stream.and_then(|s| s.srtp), &mut self.ctx.rng);
        let (text, stream) =
            leg.described.next(&mut next, |l| sdp::answer(offer, l, &codecs, wanted, fallback))?;
        leg.described.agree();
        *local = next;
        leg.stream = Some(stream);
        Ok(text)
    }

    fn offer_again(&mut self, id: LegId) -> Result<String, SdpError> {
        let leg = self.legs.get_mut(id).ok_or(SdpError::Malformed)?;
        let codecs = leg.codecs_to_offer_again();
        let wanted = leg.wanted_direction();
        let local = leg.local.as_mut().ok_or(SdpError::Malformed)?;
        let keyed = leg.stream.and_then(|s| s.srtp);
        renew_keys(local, keyed, &mut self.ctx.rng);
        // What is encrypted stays so.
        let offers = local.offers_keys || keyed.is_some();
        leg.stream.iter().for_each(|s| local.remember(s));
        let offer = |l: &mut Local| {
            let as_before = std::mem::replace(&mut l.offers_keys, offers);
            let text = sdp::offer(l, &codecs, wanted);
            l.offers_keys = as_before;
            text
        };
        leg.described.next(local, |l| Ok((offer(l), ()))).map(|(text, ())| text)
    }

    /// Tells the engine, and the world if a hold began or ended.
    pub(super) fn stream_changed(&mut self, now: Now, id: LegId) {
        self.open_media(id);
        self.drop_stale_digits(id);
        if self.legs.get(id).is_some_and(|l| l.connected) {
            self.note_hold(now, id);
        }
    }

    /// `leg.hold` or `leg.unhold` when the hold of either end differs from what was published.
    pub(super) fn note_hold(&mut self, now: Now, id: LegId) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let Some(stream) = leg.stream else { return };
        let held = leg.on_hold || !stream.direction.sends();
        if leg.held != held {
            leg.held = held;
            leg.hold_until = held.then(|| leg.hold_limit(now.mono));
            let leg_type = leg.kind;
            self.legs.reschedule(id);
            let state = LegState { leg_type };
            let body = if held { EventBody::LegHold(state) } else { EventBody::LegUnhold(state) };
            self.ctx.events.publish(now, id, body);
        }
    }

    /// An ACK to a 2xx of ours.
    pub(super) fn ack_received(&mut self, now: Now, request: &Request) {
        let Some(id) = self.legs.of_request(request) else { return self.late_ack(request) };
        let Some(leg) = self.legs.get_mut(id) else { return };
        let cseq = request.common.cseq;
        if leg.offer_in_ack == Some(cseq) {
            leg.offer_in_ack = None;
            if let Err(e) = self.answer_in_ack(id, request) {
                log::info!(leg = self.legs.name_of(id), error:% = e; "no usable answer in the ACK");
                self.confirm_invite(id, cseq);
                return self.bye_now(now, id, "not_acceptable");
            }
            self.stream_changed(now, id);
        }
        let known = self.confirm_invite(id, cseq);
        let Some(leg) = self.legs.get_mut(id) else { return };
        if let Phase::Answered { dialog, .. } = &leg.phase
            && known
        {
            leg.phase = Phase::Up { dialog: dialog.clone() };
            leg.media.set_unproven(&mut self.ctx, false);
            self.connected(now, id);
            self.note_hold(now, id);
        }
    }

    /// Stops repeating the 2xx that an ACK of this number acknowledges; true if there is one.
    fn confirm_invite(&mut self, id: LegId, cseq: u32) -> bool {
        let mut known = false;
        let Some(leg) = self.legs.get_mut(id) else { return false };
        let initial = match &leg.phase {
            Phase::Answered { tx, .. } => Some(*tx),
            Phase::Inviting(_) | Phase::Ringing { .. } | Phase::Up { .. } | Phase::Ending { .. } => None,
        };
        for tx in [initial, leg.reinvite].into_iter().flatten() {
            if self.ctx.sip.cseq_of(tx) == Some(cseq) {
                self.ctx.sip.confirm(tx);
                known = true;
                if leg.reinvite == Some(tx) {
                    leg.reinvite = None;
                }
            }
        }
        known
    }

    fn answer_in_ack(&mut self, id: LegId, request: &Request) -> Result<(), SdpError> {
        let answer = answer_of(&request.common)?.ok_or(SdpError::Malformed)?;
        let leg = self.legs.get_mut(id).ok_or(SdpError::Malformed)?;
        let local = leg.local.as_ref().ok_or(SdpError::Malformed)?;
        let fallback = leg.flow.map_or(local.address, |f| f.addr.ip());
        let codecs = leg.codecs_to_offer_again();
        leg.stream = Some(sdp::accept(&answer, local, &codecs, true, fallback)?);
        leg.described.agree();
        Ok(())
    }

    /// The ACK of a leg that has ended: now it may get its BYE.
    fn late_ack(&mut self, request: &Request) {
        let c = &request.common;
        let Some(tx) = self.ctx.requests.owes_bye_to(request) else { return };
        if self.ctx.sip.cseq_of(tx) == Some(c.cseq) {
            self.ctx.sip.confirm(tx);
            self.say_farewell(tx);
        }
    }

    /// No ACK came in 32 s. A call ends for silence, not because an answer in it could not be delivered.
    pub(super) fn ack_missing(&mut self, now: Now, tx: ServerId, why: Failure) {
        self.say_farewell(tx);
        let waits =
            |l: &Leg| matches!(&l.phase, Phase::Answered { tx: t, .. } if *t == tx) || l.reinvite == Some(tx);
        let Some(id) = self.legs.iter().find(|(_, l)| waits(l)).map(|(id, _)| id) else { return };
        match self.legs.get_mut(id) {
            Some(leg) if leg.reinvite == Some(tx) && why == Failure::Transport => {
                leg.reinvite = None;
                leg.offer_in_ack = None;
            }
            Some(_) | None => self.bye_now(now, id, "ack_timeout"),
        }
    }
}

/// Keys of suites that are not in use are new at every description, lest one is used twice from the start.
fn renew_keys(local: &mut Local, in_use: Option<Keyed>, rng: &mut Rng) {
    if let Some(keys) = &mut local.keys {
        **keys = OurKeys::renewed(rng, in_use.map(|k| k.ours));
    }
}

impl Leg {
    /// The far end is where this request of its came from, and where its Contact says (RFC 3261 §12.2.2).
    pub(super) fn follow(&mut self, request: &Request, source: Target) {
        self.flow = Some(source);
        if let Some(dialog) = self.dialog_mut() {
            dialog.refresh_target(&request.common.contacts);
            dialog.move_pin(Gateway::uri_of(source));
        }
    }
}
