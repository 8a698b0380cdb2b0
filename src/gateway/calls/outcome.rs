//! Handling of call events: redirected, connected, replaced, transferred, ended.

use std::time::Instant;

use super::calls::Calls;
use super::surroundings::Surroundings;
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::events::{
    CallRecord, EventBody, LegDisconnected, QualityReport, TransferKind, TransferOutcome, TransferRequested,
};
use crate::gateway::interface::command::Originate;
use crate::gateway::legs::Path;
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::sip_call::{CallEnded, CallEvent};
use crate::gateway::sip_messages::refusal;
use crate::gateway::transfers::{Predecessor, Referral, raw_user, referral_call};
use crate::media::command::{Quality, Slot};
use crate::sip::flow::Flow;
use crate::sip::transactions::ServerId;
use crate::wire::replaces::ReferTo;
use crate::wire::{Request, Uri};

impl Calls {
    /// Handles an event of a call that only concerns calls and their media.
    pub fn handle_event(&mut self, env: &mut Surroundings<'_>, id: LegId, event: CallEvent) {
        let now = env.now;
        match event {
            CallEvent::SessionChanged => self.legs.follow_session(env.ctx, id),
            CallEvent::SessionPaused(stream) => {
                if let Some(leg) = self.legs.get(id) {
                    let signalling = leg.call().flow().map(|f| f.addr.ip());
                    let _open = leg.media().update(env.ctx, stream, signalling);
                }
            }
            CallEvent::Unproven(on) => {
                if let Some(leg) = self.legs.get(id) {
                    leg.media().set_unproven(env.ctx, on);
                }
            }
            CallEvent::HeldByUs(on) => {
                if let Some(leg) = self.legs.get(id) {
                    leg.media().set_held(env.ctx, on);
                }
            }
            CallEvent::Progressed(code, reason) => {
                self.referrals.progressed(env.ctx, &mut self.legs, now, id, (code, &reason));
            }
            CallEvent::Redirected(next) => self.redirected(env, id, next),
            CallEvent::AnswerDue => {
                if let Err(e) = self.answer(env, id) {
                    let leg = self.legs.name_of(id);
                    log::info!(leg, error:% = e; "the call cannot be answered after its PRACK");
                }
            }
            CallEvent::Connected => {
                if let Some(leg) = self.legs.get(id) {
                    leg.listen(env.ctx);
                }
                self.take_over(env, id);
                self.referral_answered(env, id);
            }
            CallEvent::Digit(digit) => self.digit_received(env, id, Path::Info, digit),
            CallEvent::Transferred(replaced) => {
                if let Some(other) = replaced {
                    self.hang_up(env.ctx, now, other, "transfer_completed", None);
                }
            }
            CallEvent::EarlyMedia | CallEvent::RoomWanted(_) | CallEvent::Ended(_) => {}
        }
    }

    /// A 3xx redirects our call: to a user's phones, to a trunk if accounts may be used, or elsewhere.
    fn redirected(&mut self, env: &mut Surroundings<'_>, id: LegId, next: Uri) {
        let now = env.now;
        let phones = env.accounts.registrar().bindings_of(env.ctx, &next);
        let barred = phones.is_none()
            && !self.referrals.may_use_accounts(id)
            && env.accounts.is_served_by_trunk(env.ctx, &next);
        self.legs.with_call(env.ctx, id, |call, ctx| match phones {
            Some(phones) => call.call_phones(ctx, now, &phones),
            None if barred => call.decline(ctx, now),
            None => call.follow_redirection(ctx, next),
        });
    }

    /// The leg takes over room and flags of the leg it replaces, which then ends.
    fn take_over(&mut self, env: &mut Surroundings<'_>, id: LegId) {
        let Some(last) = self.replacements.take(id) else { return };
        // A leg that is ending has left its room already; use the state recorded before.
        let there = self.legs.get(last.leg).is_some_and(|l| !l.is_ending());
        let now_there = if there { Predecessor::seen(last.leg, &self.legs, env.rooms) } else { None };
        let before = now_there.unwrap_or(last);
        if let Some(leg) = self.legs.get_mut(id) {
            leg.media_mut().set_muted(env.ctx, before.muted);
            leg.media_mut().set_deaf(env.ctx, before.deaf);
            leg.set_accepts_dtmf(before.accept_dtmf);
        }
        self.referrals.hand_over(before.leg, id);
        // Leave before joining: the room may be full.
        self.hang_up(env.ctx, env.now, before.leg, "replaced", None);
        rejoin(env, id, before.room);
    }

    /// The call of a transfer was answered: it replaces the referrer.
    fn referral_answered(&mut self, env: &mut Surroundings<'_>, id: LegId) {
        let now = env.now;
        let answered = self.referrals.answered(env.ctx, &mut self.legs, now, id);
        let Some((referral, told)) = answered else { return };
        let referrer = referral.referrer();
        // The referrer's current room; if it has ended, the room it was in.
        let there = self.legs.get(referrer).is_some_and(|l| !l.is_ending());
        let room = if there { env.rooms.of_leg(referrer).map(str::to_owned) } else { referral.into_room() };
        rejoin(env, id, room);
        if self.legs.with_call(env.ctx, referrer, |call, _| call.set_transferred()).is_some() {
            let (status_code, reason) = (Some(200), Some("OK".into()));
            let outcome = TransferOutcome { status_code, reason, error: None };
            env.ctx.events.publish(now, referrer, EventBody::LegTransferCompleted(outcome));
        }
        if !told {
            self.referrer_told(env.ctx, now, Some(referrer));
        }
    }

    /// The final NOTIFY about a successful transfer was delivered, or cannot be: the referrer's call ends.
    pub(super) fn referrer_told(&mut self, ctx: &mut Context, now: Now, referrer: Option<LegId>) {
        let Some(id) = referrer else { return };
        self.legs.with_call(ctx, id, |call, ctx| {
            if call.is_transferred() {
                call.bye_now(ctx, now, "transfer_completed");
            }
        });
    }

    /// Handles REFER: declined, or carried out if `sip.refer_auto_dial` is on. For far ends that may not use
    /// accounts, targets served by a trunk are declined, and others are called directly.
    pub(super) fn referred(
        &mut self,
        env: &mut Surroundings<'_>,
        tx: ServerId,
        id: LegId,
        request: &Request,
    ) {
        let now = env.now;
        let earlier = self.legs.with_call(env.ctx, id, |call, _| call.note_refer()).unwrap_or(false);
        let mut targets = request.common.headers.all("Refer-To");
        let (Some(Ok(target)), None) = (targets.next().map(ReferTo::parse), targets.next()) else {
            let why = "Bad Request: one usable Refer-To is needed";
            return refusal::respond(env.ctx, now, tx, 400, why);
        };
        let Some(leg) = self.legs.get(id) else { return };
        let may_use_accounts = env.accounts.may_spend(leg.call());
        let declined = !env.ctx.config.sip.refer_auto_dial
            || (!may_use_accounts && env.accounts.is_served_by_trunk(env.ctx, &target.uri));
        let body = EventBody::LegTransferRequested(TransferRequested {
            kind: TransferKind::of(target.replaces.is_some()),
            target: target.uri.to_string().into(),
            declined,
            replaces_call_id: target.replaces.as_ref().map(|r| r.call_id.as_str().into()),
        });
        if declined {
            refusal::respond(env.ctx, now, tx, 603, "Decline");
            return env.ctx.events.publish(now, id, body);
        }
        if !leg.call().is_up() || self.referrals.is_referring(&self.legs, id) {
            return refusal::respond(env.ctx, now, tx, 491, "Request Pending");
        }
        let by = env.accounts.referred_by(env.ctx, leg.call().user(), request);
        let webhook = env.ctx.events.webhook_of(id);
        let from = leg.call().dialog().map(|d| raw_user(&d.local.uri)).unwrap_or_default();
        let ring_timeout = env.ctx.config.sip.ring_timeout_s;
        let wanted = referral_call(&target, from, leg.call().codecs(), by, ring_timeout, webhook);
        let wanted = Originate { accept_dtmf: leg.accepts_dtmf(), ..wanted };
        let room = env.rooms.of_leg(id).map(str::to_owned);
        if self.is_full(env.ctx) || env.ctx.ports.is_empty() {
            return refusal::refuse(env.ctx, now, tx, 503, "Service Unavailable");
        }
        let Some(mut draft) = env.ctx.sip.draft(tx, 202, "Accepted") else { return };
        refusal::add_contact(env.ctx, &mut draft, tx);
        env.ctx.sip.respond(now.mono, tx, 202, &draft);
        env.ctx.events.publish(now, id, body);
        let number = (request.common.cseq, earlier);
        let referral = Referral::new(now.mono, (id, room), may_use_accounts, number, ring_timeout);
        self.referrals.begin(env.ctx, &mut self.legs, now, &referral);
        let placed = self.place(env, wanted, Some(&referral));
        match placed {
            Ok((called, _)) => self.referrals.add(called, referral),
            Err(e) => {
                log::info!(leg = self.legs.name_of(id), error:% = e; "the target of a transfer cannot be called");
                let why = (503, "Service Unavailable");
                self.referrals.failed(env.ctx, &mut self.legs, now, referral, why);
            }
        }
    }

    /// A phone has re-registered over another flow: its calls move to it.
    pub fn flow_moved(&mut self, ctx: &mut Context, from: Flow, to: Flow) {
        let calls = self.legs.iter().filter(|(_, l)| {
            let call = l.call();
            call.flow() == Some(from) && call.dialog().is_some() && call.is_pinned()
        });
        let calls: Vec<LegId> = calls.map(|(id, _)| id).collect();
        for id in calls {
            self.legs.with_call(ctx, id, |call, ctx| call.flow_leads(ctx, to));
        }
    }

    /// The far end sent a digit; it is forwarded to other members of its room.
    pub(super) fn digit_received(&mut self, env: &mut Surroundings<'_>, id: LegId, path: Path, digit: char) {
        let now = env.now;
        let Some(leg) = self.legs.get_mut(id) else { return };
        if !leg.handle_digit(env.ctx, now, id, path, digit) || leg.call().is_held_by_us() {
            return;
        }
        let room = env.rooms.of_leg(id).and_then(|r| env.rooms.rate_and_members(r).ok());
        let Some((_, members)) = room else { return };
        let others = members.iter().copied().filter(|other| *other != id);
        let hears = |id: &LegId| self.legs.get(*id).is_some_and(|l| l.hears_digits());
        let listeners: Vec<LegId> = others.filter(hears).collect();
        for listener in listeners {
            self.legs.send_digits(env.ctx, now, listener, &digit.to_string());
        }
    }

    /// The signalling of a call has ended. Its leg is removed from all indexes; its terminal event follows
    /// once its media, in the returned slot of the engine, has been closed.
    pub fn ended(&mut self, env: &mut Surroundings<'_>, id: LegId, ended: CallEnded) -> Option<Slot> {
        let now = env.now;
        let leg = self.legs.get_mut(id)?;
        let slot = leg.media().slot();
        leg.media_mut().leg_ended(env.ctx);
        self.replacements.take(id);
        if let Some(successor) = self.replacements.successor_of(id) {
            // The successor takes over its state.
            self.referrals.hand_over(id, successor);
            let seen = Predecessor::seen(id, &self.legs, env.rooms);
            self.replacements.note_last(successor, seen);
        }
        let CallEnded { reason, refusal, dialog } = ended;
        self.referrals.over(env.ctx, &mut self.legs, now, id, (refusal, &reason));
        self.referrals.referrer_ended(id, env.rooms.of_leg(id), dialog);
        self.legs.end(now.mono, id);
        env.ctx.events.end_leg(id);
        slot
    }

    /// The media in this slot of the engine was closed; returns the leg if its end was waiting for that.
    pub fn media_closed(&mut self, ctx: &mut Context, slot: Slot, quality: Quality) -> Option<LegId> {
        ctx.counters.calls.note_quality(&quality);
        if self.legs.release_late(slot) {
            return None;
        }
        let id = self.legs.at(slot)?;
        self.legs.get_mut(id)?.media_mut().handle_closed(quality);
        self.ended_at(slot)
    }

    /// The ended leg in this slot, if its media is closed.
    #[must_use]
    pub fn ended_at(&self, slot: Slot) -> Option<LegId> {
        let id = self.legs.at(slot)?;
        self.legs.get(id).is_some_and(|l| l.is_ending() && l.media().is_closed()).then_some(id)
    }

    /// A deadline of a leg has passed; returns the leg if it has ended and its media was not closed in time.
    pub fn handle_due(&mut self, ctx: &mut Context, now: Now, id: LegId) -> Option<LegId> {
        if self.legs.get(id).is_some_and(|l| l.is_ending()) {
            return Some(id);
        }
        self.legs.with_call(ctx, id, |call, ctx| call.handle_timeout(ctx, now));
        None
    }

    /// Publishes `leg.disconnected` and removes the leg.
    pub fn finish(&mut self, ctx: &mut Context, now: Now, id: LegId) {
        let Some(leg) = self.legs.get(id) else { return };
        let Some((reason, at, answered)) = leg.call().end_of() else { return };
        let total = seconds(leg.created().mono, at);
        let answered = answered.map_or(0.0, |from| seconds(from, at));
        let (reason, kind) = (reason.to_owned(), leg.kind().as_str());
        let cdr =
            CallRecord { reason: reason.as_str().into(), duration_total: total, duration_answered: answered };
        let quality = leg.media().quality().map(|q| QualityReport::from(&q));
        ctx.counters.calls.note_end(kind, reason, total, answered);
        ctx.events.publish(now, id, EventBody::LegDisconnected(LegDisconnected { cdr, quality }));
        self.legs.remove(ctx, id);
        ctx.events.remove_leg(id);
    }
}

/// Lets a leg join the room another one was in, unless it was deleted meanwhile; executed after queued work.
fn rejoin(env: &mut Surroundings<'_>, id: LegId, room: Option<String>) {
    if let Some(room) = room.filter(|r| env.rooms.contains(r)) {
        env.ctx.call_events.push_back((id, CallEvent::RoomWanted(room)));
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    let hundredths = to.saturating_duration_since(from).as_millis() as f64 / 10.0;
    hundredths.round() / 100.0
}
