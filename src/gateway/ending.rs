//! The end of a leg: told to the far end, to the media, and last of all to the world, exactly once.

use std::time::Instant;

use super::core::{Gateway, TERMINAL_EVENT_WAIT};
use super::events::{CallRecord, EventBody, LegDisconnected, QualityReport, TransferOutcome};
use super::expiry::inbound_limit;
use super::leg::{LegId, Phase};
use super::refusal;
use super::requests::Bye;
use crate::base::time::Now;
use crate::media::command::{AudioTarget, Command, Quality, Slot};
use crate::sip::transactions::ServerId;

impl Gateway {
    /// Ends a leg from our side: CANCEL, a final response (`code`, 480 unless given), or BYE.
    pub(super) fn hang_up(&mut self, now: Now, id: LegId, reason: &str, code: Option<u16>) {
        let Some(leg) = self.legs.get(id) else { return };
        match &leg.phase {
            // Cancelled when it ends.
            Phase::Inviting(_) => {}
            Phase::Ringing { tx, .. } => {
                let (tx, code) = (*tx, code.unwrap_or(480));
                refusal::respond(&mut self.ctx, now, tx, code, phrase(code));
            }
            Phase::Answered { tx, dialog } => {
                // BYE may not go out before the ACK is in (RFC 3261 §15).
                let farewell = Bye { dialog: dialog.as_ref().clone(), parting: self.parting_of(id) };
                self.ctx.requests.owe_bye(*tx, farewell);
            }
            Phase::Up { .. } => return self.bye_now(now, id, reason),
            Phase::Ending { .. } => return,
        }
        self.end(now, id, reason);
    }

    /// Nobody has answered in time.
    pub(super) fn rung_out(&mut self, now: Now, id: LegId) {
        let code = match self.legs.get(id).map(|l| &l.phase) {
            Some(Phase::Ringing { tx, .. }) => {
                self.ctx.sip.request_of(*tx).map(|r| inbound_limit(self.ctx.config.sip.ring_timeout_s, r).1)
            }
            Some(Phase::Inviting(_) | Phase::Answered { .. } | Phase::Up { .. } | Phase::Ending { .. })
            | None => None,
        };
        self.hang_up(now, id, "ring_timeout", code);
    }

    /// BYE, whatever the dialog waits for.
    pub(super) fn bye_now(&mut self, now: Now, id: LegId, reason: &str) {
        if let Some(mut dialog) = self.legs.get(id).and_then(|l| l.dialog().cloned()) {
            self.send_bye(&mut dialog, self.parting_of(id));
        }
        self.end(now, id, reason);
    }

    /// The BYE that an ended leg owed.
    pub(super) fn say_farewell(&mut self, tx: ServerId) {
        if let Some(Bye { mut dialog, parting }) = self.ctx.requests.take_owed_bye(tx) {
            self.send_bye(&mut dialog, parting);
        }
    }

    /// The leg is over as far as signalling goes. It leaves every list; its last event follows when its
    /// media has reported.
    pub(super) fn end(&mut self, now: Now, id: LegId, reason: &str) {
        self.abandon_all(now, id);
        let contact = self.contact_of(id);
        let Some(leg) = self.legs.get_mut(id) else { return };
        if leg.is_ending() {
            return;
        }
        let latest = now.mono + TERMINAL_EVENT_WAIT;
        let dialog = leg.dialog().cloned();
        leg.phase = Phase::Ending { reason: reason.to_owned(), at: now.mono, latest };
        let slot = leg.media.slot();
        leg.media.leg_ended(&mut self.ctx);
        self.legs.end(now.mono, id);
        let parting = self.parting_of(id);
        self.ctx.requests.leg_ended(id, &parting);
        self.abandon_change(now, id);
        self.change_over(now, id, Err("the call has ended".to_owned()));
        self.transfer_failed(now, id, TransferOutcome::failed("the call has ended"));
        self.leave_to_successor(id);
        self.referral_over(now, id, reason);
        self.leave_to_referred(id);
        self.outlive_call(id, contact, dialog);
        self.ctx.events.end_leg(id);
        self.rooms.leg_ended(&mut self.ctx, now, id);
        match slot {
            Some(slot) => {
                self.stop_media_of(now, AudioTarget::Leg(slot));
                self.ctx.media.push_back(Command::Close { slot });
                self.legs.reschedule(id);
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
        leg.media.handle_closed(quality);
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
        let ended = self.legs.get(id).is_some_and(|l| l.is_ending() && l.media.is_closed());
        if ended {
            self.finish(now, id);
        }
    }

    /// `leg.disconnected`, and the leg is no more.
    pub(super) fn finish(&mut self, now: Now, id: LegId) {
        let Some(leg) = self.legs.get(id) else { return };
        let Phase::Ending { reason, at, .. } = &leg.phase else { return };
        let total = seconds(leg.created.mono, *at);
        let answered = leg.answered.map_or(0.0, |from| seconds(from, *at));
        let (reason, kind) = (reason.clone(), leg.kind.as_str());
        let cdr =
            CallRecord { reason: reason.as_str().into(), duration_total: total, duration_answered: answered };
        let quality = leg.media.quality().map(|q| QualityReport::from(&q));
        *self.ctx.counters.legs_total.entry((kind, "disconnected")).or_default() += 1;
        self.ctx.counters.total.entry(kind).or_default().add(total);
        self.ctx.counters.answered.entry(kind).or_default().add(answered);
        *self.ctx.counters.reasons.entry((kind, reason)).or_default() += 1;
        self.ctx.events.publish(now, id, EventBody::LegDisconnected(LegDisconnected { cdr, quality }));
        let Some(leg) = self.legs.remove(id) else { return };
        if let Some(slot) = leg.media.slot() {
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

/// Reason phrases of the refusals we send.
fn phrase(code: u16) -> &'static str {
    match code {
        403 => "Forbidden",
        404 => "Not Found",
        480 => "Temporarily Unavailable",
        486 => "Busy Here",
        487 => "Request Terminated",
        500 => "Server Internal Error",
        603 => "Decline",
        _ => "Rejected",
    }
}
