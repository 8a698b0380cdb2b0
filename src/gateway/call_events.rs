//! What calls and media report, mapped to what it means for the other parts; and the end of a leg.

use std::time::Instant;

use super::command::Originate;
use super::core::Gateway;
use super::events::{
    CallRecord, EventBody, LegDisconnected, QualityReport, TransferKind, TransferOutcome, TransferRequested,
};
use super::leg_id::LegId;
use super::legs::Path;
use super::refusal;
use super::sip_call::{CallEnded, CallEvent};
use super::transfers::{Predecessor, Referral, raw_user, referral_call};
use crate::base::time::Now;
use crate::media::command::{AudioTarget, Command, Quality, Slot};
use crate::sip::target::Target;
use crate::sip::transactions::ServerId;
use crate::wire::replaces::ReferTo;
use crate::wire::{NameAddr, Request, Uri};

impl Gateway {
    /// Something has become of a call.
    pub(super) fn call_event(&mut self, now: Now, id: LegId, event: CallEvent) {
        match event {
            CallEvent::SessionChanged => self.legs.follow_session(&mut self.ctx, id),
            CallEvent::SessionPaused(stream) => {
                if let Some(leg) = self.legs.get(id) {
                    let signalling = leg.call().flow().map(|f| f.addr.ip());
                    let _open = leg.media().update(&mut self.ctx, stream, signalling);
                }
            }
            CallEvent::Unproven(on) => {
                if let Some(leg) = self.legs.get(id) {
                    leg.media().set_unproven(&mut self.ctx, on);
                }
            }
            CallEvent::HeldByUs(on) => {
                if let Some(leg) = self.legs.get(id) {
                    leg.media().set_held(&mut self.ctx, on);
                }
            }
            CallEvent::EarlyMedia => self.join_waiting(now, id),
            CallEvent::Progressed(code, reason) => {
                self.referrals.progressed(&mut self.ctx, &mut self.legs, now, id, (code, &reason));
            }
            CallEvent::Redirected(next) => self.redirected(now, id, next),
            CallEvent::AnswerDue => {
                if let Err(e) = self.answer_call(now, id) {
                    let leg = self.legs.name_of(id);
                    log::info!(leg, error:% = e; "the call cannot be answered after its PRACK");
                }
            }
            CallEvent::Connected => self.connected(now, id),
            CallEvent::Digit(digit) => self.digit_received(now, id, Path::Info, digit),
            CallEvent::Transferred(replaced) => {
                if let Some(other) = replaced {
                    self.hang_up(now, other, "transfer_completed", None);
                }
            }
            CallEvent::RoomWanted(room) => {
                if let Some(member) = self.member(id) {
                    self.rooms.join_or_create(&mut self.ctx, now, &member, &room);
                }
            }
            CallEvent::Ended(ended) => self.ended(now, id, *ended),
        }
    }

    /// A 3xx has sent a call of ours on: to phones of a user, to a trunk if it may cost that, or elsewhere.
    fn redirected(&mut self, now: Now, id: LegId, next: Uri) {
        let phones = self.registrar.bindings_of(&self.ctx, &next);
        let barred =
            phones.is_none() && !self.referrals.may_use_accounts(id) && self.is_served_by_trunk(&next);
        self.legs.with_call(&mut self.ctx, id, |call, ctx| match phones {
            Some(phones) => call.call_phones(ctx, now, &phones),
            None if barred => call.decline(ctx, now),
            None => call.follow_redirection(ctx, next),
        });
    }

    /// A call is connected: what waited for that begins.
    fn connected(&mut self, now: Now, id: LegId) {
        let Some(leg) = self.legs.get(id) else { return };
        leg.listen(&mut self.ctx);
        self.join_waiting(now, id);
        self.take_over(now, id);
        self.referral_answered(now, id);
    }

    /// The leg joins what the one before it was in, as that one was, and that one ends.
    fn take_over(&mut self, now: Now, id: LegId) {
        let Some(last) = self.replacements.take(id) else { return };
        // One that is ending has left its room; what it was in is known from before.
        let there = self.legs.get(last.leg).is_some_and(|l| !l.is_ending());
        let now_there = if there { Predecessor::seen(last.leg, &self.legs, &self.rooms) } else { None };
        let before = now_there.unwrap_or(last);
        if let Some(leg) = self.legs.get_mut(id) {
            leg.media_mut().set_muted(&mut self.ctx, before.muted);
            leg.media_mut().set_deaf(&mut self.ctx, before.deaf);
            leg.set_accepts_dtmf(before.accept_dtmf);
        }
        self.referrals.hand_over(before.leg, id);
        // First out, then in: the room may be full.
        self.hang_up(now, before.leg, "replaced", None);
        self.rejoin(id, before.room);
    }

    /// Has a leg join a room that another has been in, unless it was deleted since then; once what is queued is done.
    fn rejoin(&mut self, id: LegId, room: Option<String>) {
        if let Some(room) = room.filter(|r| self.rooms.contains(r)) {
            self.ctx.call_events.push_back((id, CallEvent::RoomWanted(room)));
        }
    }

    /// The call of a transfer was answered: it takes the referrer's place.
    fn referral_answered(&mut self, now: Now, id: LegId) {
        let answered = self.referrals.answered(&mut self.ctx, &mut self.legs, now, id);
        let Some((referral, told)) = answered else { return };
        let referrer = referral.referrer();
        // Where the referrer is now; where it was when it asked, if it has gone.
        let there = self.legs.get(referrer).is_some_and(|l| !l.is_ending());
        let room = if there { self.rooms.of_leg(referrer).map(str::to_owned) } else { referral.into_room() };
        self.rejoin(id, room);
        if self.legs.with_call(&mut self.ctx, referrer, |call, _| call.set_transferred()).is_some() {
            let (status_code, reason) = (Some(200), Some("OK".into()));
            let outcome = TransferOutcome { status_code, reason, error: None };
            self.ctx.events.publish(now, referrer, EventBody::LegTransferCompleted(outcome));
        }
        if !told {
            self.referrer_told(now, Some(referrer));
        }
    }

    /// The referrer knows that its transfer went well, or is not there to be told: its call is over.
    pub(super) fn referrer_told(&mut self, now: Now, referrer: Option<LegId>) {
        let Some(id) = referrer else { return };
        self.legs.with_call(&mut self.ctx, id, |call, ctx| {
            if call.is_transferred() {
                call.bye_now(ctx, now, "transfer_completed");
            }
        });
    }

    /// REFER in a call: declined, or carried out where `sip.refer_auto_dial` is on. Of those who may use no account what
    /// a trunk serves is declined, and others are called without one.
    pub(super) fn referred(&mut self, now: Now, tx: ServerId, id: LegId, request: &Request) {
        let earlier = self.legs.with_call(&mut self.ctx, id, |call, _| call.note_refer()).unwrap_or(false);
        let mut targets = request.common.headers.all("Refer-To");
        let (Some(Ok(target)), None) = (targets.next().map(ReferTo::parse), targets.next()) else {
            let why = "Bad Request: one usable Refer-To is needed";
            return refusal::respond(&mut self.ctx, now, tx, 400, why);
        };
        let may_use_accounts = self.may_use_accounts(id);
        let declined = !self.ctx.config.sip.refer_auto_dial
            || (!may_use_accounts && self.is_served_by_trunk(&target.uri));
        let body = EventBody::LegTransferRequested(TransferRequested {
            kind: TransferKind::of(target.replaces.is_some()),
            target: target.uri.to_string().into(),
            declined,
            replaces_call_id: target.replaces.as_ref().map(|r| r.call_id.as_str().into()),
        });
        if declined {
            refusal::respond(&mut self.ctx, now, tx, 603, "Decline");
            return self.ctx.events.publish(now, id, body);
        }
        let Some(leg) = self.legs.get(id) else { return };
        if !leg.call().is_up() || self.referrals.is_referring(&self.legs, id) {
            return refusal::respond(&mut self.ctx, now, tx, 491, "Request Pending");
        }
        let by = self.referred_by(leg.call().user(), request);
        let webhook = self.ctx.events.webhook_of(id);
        let from = leg.call().dialog().map(|d| raw_user(&d.local.uri)).unwrap_or_default();
        let ring_timeout = self.ctx.config.sip.ring_timeout_s;
        let wanted = referral_call(&target, from, leg.call().codecs(), by, ring_timeout, webhook);
        let wanted = Originate { accept_dtmf: leg.accepts_dtmf(), ..wanted };
        let room = self.rooms.of_leg(id).map(str::to_owned);
        if self.is_full() || self.ctx.ports.is_empty() {
            return refusal::refuse(&mut self.ctx, now, tx, 503, "Service Unavailable");
        }
        let Some(mut draft) = self.ctx.sip.draft(tx, 202, "Accepted") else { return };
        refusal::add_contact(&self.ctx, &mut draft, tx);
        self.ctx.sip.respond(now.mono, tx, 202, &draft);
        self.ctx.events.publish(now, id, body);
        let number = (request.common.cseq, earlier);
        let referral = Referral::new(now.mono, (id, room), may_use_accounts, number, ring_timeout);
        self.referrals.begin(&mut self.ctx, &mut self.legs, now, &referral);
        let placed = self.place(now, wanted, Some(&referral));
        match placed.and_then(|leg| self.legs.find(&leg.id)) {
            Ok(called) => self.referrals.add(called, referral),
            Err(e) => {
                log::info!(leg = self.legs.name_of(id), error:% = e; "the target of a transfer cannot be called");
                let why = (503, "Service Unavailable");
                self.referrals.failed(&mut self.ctx, &mut self.legs, now, referral, why);
            }
        }
    }

    /// Who is said to have asked for a transfer (RFC 3892 §3): the user of ours who did; else whom the REFER names,
    /// unless that is a user of ours.
    fn referred_by(&self, user: Option<&str>, request: &Request) -> Option<String> {
        if let Some(user) = user {
            return Some(format!("<{}>", self.registrar.aor_of(&self.ctx, user)));
        }
        let by = request.common.headers.get("Referred-By")?;
        let named = NameAddr::parse(by).ok()?;
        let pretends =
            self.registrar.has_user(&named.uri.user()) && self.registrar.is_our_domain(&self.ctx, &named.uri);
        (!pretends).then(|| by.to_owned())
    }

    /// True where a transfer that the far end of this leg asks for may cost what an account pays: of users of ours, and
    /// of trunks that the operator lets.
    fn may_use_accounts(&self, id: LegId) -> bool {
        let Some(call) = self.legs.get(id).map(|l| l.call()) else { return false };
        call.user().is_some() || self.trunks.allows_refer(call.terms().trunk)
    }

    /// True for what a trunk serves, unless it is a user of ours.
    fn is_served_by_trunk(&self, uri: &Uri) -> bool {
        self.registrar.bindings_of(&self.ctx, uri).is_none()
            && uri.sip().is_some_and(|u| self.trunks.serve_host(&u.host))
    }

    /// A phone of ours has registered along another way: its calls follow.
    pub(super) fn flow_moved(&mut self, from: Target, to: Target) {
        let calls = self.legs.iter().filter(|(_, l)| {
            let call = l.call();
            call.flow() == Some(from) && call.dialog().is_some() && call.is_pinned()
        });
        let calls: Vec<LegId> = calls.map(|(id, _)| id).collect();
        for id in calls {
            self.legs.with_call(&mut self.ctx, id, |call, ctx| call.flow_leads(ctx, to));
        }
    }

    /// A digit of a far end; others of its room hear of it.
    pub(super) fn digit_received(&mut self, now: Now, id: LegId, path: Path, digit: char) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        if !leg.handle_digit(&mut self.ctx, now, id, path, digit) || leg.call().is_held_by_us() {
            return;
        }
        let room = self.rooms.of_leg(id).and_then(|r| self.rooms.rate_and_members(r).ok());
        let Some((_, members)) = room else { return };
        let others = members.iter().copied().filter(|other| *other != id);
        let hears = |id: &LegId| self.legs.get(*id).is_some_and(|l| l.hears_digits());
        let listeners: Vec<LegId> = others.filter(hears).collect();
        for listener in listeners {
            self.legs.send_digits(&mut self.ctx, now, listener, &digit.to_string());
        }
    }

    /// Ends a leg from our side: CANCEL, a final response (`code`, 480 unless given), or BYE.
    pub(super) fn hang_up(&mut self, now: Now, id: LegId, reason: &str, code: Option<u16>) {
        self.legs.with_call(&mut self.ctx, id, |call, ctx| call.hang_up(ctx, now, reason, code));
    }

    /// A call is over as far as signalling goes. Its leg leaves every list; its last event follows when its media has
    /// reported.
    fn ended(&mut self, now: Now, id: LegId, ended: CallEnded) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let slot = leg.media().slot();
        leg.media_mut().leg_ended(&mut self.ctx);
        self.replacements.take(id);
        if let Some(successor) = self.replacements.successor_of(id) {
            // That one knows what this one was in.
            self.referrals.hand_over(id, successor);
            let seen = Predecessor::seen(id, &self.legs, &self.rooms);
            self.replacements.note_last(successor, seen);
        }
        let CallEnded { reason, refusal, dialog } = ended;
        self.referrals.over(&mut self.ctx, &mut self.legs, now, id, (refusal, &reason));
        self.referrals.referrer_ended(id, self.rooms.of_leg(id), dialog);
        self.legs.end(now.mono, id);
        self.ctx.events.end_leg(id);
        self.rooms.leg_ended(&mut self.ctx, now, id);
        match slot {
            Some(slot) => {
                self.stop_media_of(now, AudioTarget::Leg(slot));
                self.ctx.media.push_back(Command::Close { slot });
            }
            None => self.finish(now, id),
        }
    }

    /// The media of a leg is closed.
    pub(super) fn media_closed(&mut self, now: Now, slot: Slot, quality: Quality) {
        self.ctx.counters.note_quality(&quality);
        if self.legs.release_late(slot) {
            return;
        }
        let Some(id) = self.legs.at(slot) else { return };
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.media_mut().handle_closed(quality);
        if leg.is_ending() && !self.has_unfinished(AudioTarget::Leg(slot)) {
            self.finish(now, id);
        }
    }

    /// A playback or recording has ended: if it was the last thing an ended leg waited for, so is the leg.
    pub(super) fn end_if_done(&mut self, now: Now, target: AudioTarget) {
        if self.has_unfinished(target) {
            return;
        }
        let slot = match target {
            AudioTarget::Leg(slot) => slot,
            AudioTarget::Room(slot) => return self.rooms.release(slot),
            AudioTarget::LegInput(_) => return,
        };
        let Some(id) = self.legs.at(slot) else { return };
        let ended = self.legs.get(id).is_some_and(|l| l.is_ending() && l.media().is_closed());
        if ended {
            self.finish(now, id);
        }
    }

    /// `leg.disconnected`, and the leg is no more.
    pub(super) fn finish(&mut self, now: Now, id: LegId) {
        let Some(leg) = self.legs.get(id) else { return };
        let Some((reason, at, answered)) = leg.call().end_of() else { return };
        let total = seconds(leg.created().mono, at);
        let answered = answered.map_or(0.0, |from| seconds(from, at));
        let (reason, kind) = (reason.to_owned(), leg.kind().as_str());
        let cdr =
            CallRecord { reason: reason.as_str().into(), duration_total: total, duration_answered: answered };
        let quality = leg.media().quality().map(|q| QualityReport::from(&q));
        *self.ctx.counters.legs_total.entry((kind, "disconnected")).or_default() += 1;
        self.ctx.counters.total.entry(kind).or_default().add(total);
        self.ctx.counters.answered.entry(kind).or_default().add(answered);
        *self.ctx.counters.reasons.entry((kind, reason)).or_default() += 1;
        self.ctx.events.publish(now, id, EventBody::LegDisconnected(LegDisconnected { cdr, quality }));
        let Some(leg) = self.legs.remove(&mut self.ctx, id) else { return };
        if let Some(slot) = leg.media().slot() {
            let subject = self.ctx.events.leg(id);
            subject.iter().for_each(|leg| self.recordings.outlive(slot, leg));
        }
        self.ctx.events.remove_leg(id);
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    let hundredths = to.saturating_duration_since(from).as_millis() as f64 / 10.0;
    hundredths.round() / 100.0
}
