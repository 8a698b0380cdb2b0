//! Digits that we send: as events or tones with the media, or by INFO (RFC 6086), as the trunk says. Nothing stale is ever
//! sent: a far end that holds the call gets none, neither now nor when it resumes.

use std::time::{Duration, Instant};

use super::core::Gateway;
use super::digits_taken::check_taken;
use super::error::GatewayError;
use super::leg::{Leg, LegId};
use super::requests::OutboundRequest;
use crate::base::time::Now;
use crate::config::DtmfMode;
use crate::media::command::Command;
use crate::rtp::telephone_event::code_of;
use crate::sip::transactions::{ClientId, Failure};
use crate::wire::{Method, Response};

/// Most digits of one request, and most that wait to go by INFO.
const MAX_DIGITS: usize = 64;
/// How long a key sent by INFO is said to be held, and the pause after it.
const HELD_MS: u64 = 160;
const PAUSE_MS: u64 = 40;

/// Digits that go to a far end by INFO, one request at a time.
#[derive(Debug, Default)]
pub struct InfoDigits {
    waiting: heapless::Deque<char, MAX_DIGITS>,
    /// The digit whose INFO has no final response.
    asked: Option<char>,
    /// The key before this one is over then.
    not_before: Option<Instant>,
}

impl InfoDigits {
    /// Digits to send after those that wait; how many found no room.
    fn push(&mut self, digits: &str) -> u64 {
        digits.chars().map(|d| u64::from(self.waiting.push_back(d).is_err())).sum()
    }

    /// The digit whose turn it is.
    fn next(&mut self, now: Instant) -> Option<char> {
        if self.asked.is_some() || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        let digit = self.waiting.pop_front()?;
        (self.asked, self.not_before) = (Some(digit), Some(now + Duration::from_millis(HELD_MS + PAUSE_MS)));
        Some(digit)
    }

    /// The far end takes none any more; how many waited.
    fn clear(&mut self) -> u64 {
        let dropped = self.waiting.len() as u64;
        self.waiting.clear();
        dropped
    }

    /// When the next digit is due, if one waits for nothing but its time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.asked.is_none() && !self.waiting.is_empty())
    }
}

impl Leg {
    /// The far end takes media, and with it digits: it has not put us on hold.
    fn takes_digits(&self) -> bool {
        self.stream.is_some_and(|s| s.direction.sends())
    }
}

impl Gateway {
    /// `POST /legs/{id}/dtmf`: queues digits to be sent one after the other.
    ///
    /// # Errors
    /// No such leg (404); a character that is no digit, or too many (400); no media (500); the far end holds the call, or
    /// takes no events where nothing else is allowed, or not these (409).
    pub fn send_digits(&mut self, now: Now, name: &str, digits: &str) -> Result<(), GatewayError> {
        let (id, leg) = self.legs.by_name(name)?;
        let digits = check_digits(digits)?;
        let Some(stream) = leg.stream.filter(|_| leg.media.slot().is_some()) else {
            return Err(GatewayError::Failed("the leg has no media to send digits on".to_owned()));
        };
        let conflict = |why: &str| Err(GatewayError::Conflict(why.to_owned()));
        if !leg.takes_digits() {
            return conflict("the far end holds the call and takes no digits: try again when it has resumed");
        }
        let mode = self.dtmf_mode(leg);
        if let (DtmfMode::Auto | DtmfMode::Rfc4733, Some(events)) = (mode, &stream.dtmf) {
            check_taken(events, &digits)?;
        }
        if mode == DtmfMode::Rfc4733 && stream.dtmf.is_none() {
            return conflict(
                "the far end takes no telephone-events, and dtmf = \"rfc4733\" allows nothing else",
            );
        }
        self.pass_digits(now, id, &digits);
        self.drain(now);
        Ok(())
    }

    /// How digits go to the far end of a leg.
    fn dtmf_mode(&self, leg: &Leg) -> DtmfMode {
        let mode = self.trunks.dtmf_of(&self.ctx, leg.trunk);
        // An INFO needs a dialog that is confirmed; before that there may be media already.
        if mode == DtmfMode::Info && leg.dialog().is_none() { DtmfMode::Auto } else { mode }
    }

    /// Sends digits the way that is set.
    fn pass_digits(&mut self, now: Now, id: LegId, digits: &str) {
        let Some(leg) = self.legs.get(id) else { return };
        let mode = self.dtmf_mode(leg);
        let Some(leg) = self.legs.get_mut(id) else { return };
        if mode == DtmfMode::Info {
            let dropped = leg.info_digits.push(digits);
            self.ctx.counters.info_digits_dropped += dropped;
            return self.info_due(now, id);
        }
        let no_events = leg.stream.is_some_and(|s| s.dtmf.is_none());
        if let Some(slot) = leg.media.slot().filter(|_| mode != DtmfMode::Rfc4733 || !no_events) {
            let in_band = mode == DtmfMode::Inband;
            self.ctx.media.push_back(Command::Digits { slot, in_band, digits: digits.to_owned() });
        }
    }

    /// Sends the next INFO if its time has come.
    pub(super) fn info_due(&mut self, now: Now, id: LegId) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        if leg.dialog().is_none() {
            return;
        }
        if let Some(digit) = leg.info_digits.next(now.mono) {
            self.send_info(id, digit);
        }
        self.legs.reschedule(id);
    }

    fn send_info(&mut self, id: LegId, digit: char) {
        let name = self.ctx.config.sip.host.clone();
        let Some(leg) = self.legs.get_mut(id) else { return };
        let (flow, trunk) = (leg.flow, leg.trunk);
        let Some(dialog) = leg.dialog_mut() else { return };
        let (mut draft, hop) = dialog.request(&Method::Info);
        draft.push("User-Agent", name);
        let body = format!("Signal={digit}\r\nDuration={HELD_MS}\r\n");
        draft.set_body("application/dtmf-relay", body.into_bytes());
        self.send(&hop, flow, trunk, OutboundRequest::Info(id, draft));
    }

    /// The final response to an INFO, or none and why. What was not taken is dropped: later it would be stale.
    pub(super) fn info_answered(
        &mut self,
        now: Now,
        id: LegId,
        outcome: Result<(ClientId, &Response), Failure>,
    ) {
        let Some(asked) = self.legs.get_mut(id).and_then(|l| l.info_digits.asked.take()) else { return };
        match outcome {
            Ok((_, r)) if (200..300).contains(&r.code) => {}
            Ok((tx, r)) if matches!(r.code, 401 | 407) && self.challenged(id, tx, r) => {
                if let Some(leg) = self.legs.get_mut(id) {
                    leg.info_digits.asked = Some(asked);
                }
                return self.send_info(id, asked);
            }
            // The dialog is no more (RFC 3261 §12.2.1.2).
            Ok((_, Response { code: 408 | 481, .. })) | Err(Failure::Timeout) => {
                self.ctx.counters.info_digits_dropped += 1;
                return self.bye_now(now, id, "timeout");
            }
            Ok((_, r)) => {
                log::debug!(leg = self.legs.name_of(id), code = r.code; "the far end refused a digit by INFO");
                self.ctx.counters.info_digits_dropped += 1;
            }
            Err(Failure::Transport) => self.ctx.counters.info_digits_dropped += 1,
        }
        self.info_due(now, id);
    }

    /// Digits that wait for a far end that has put us on hold are dropped; the engine does so with its own.
    pub(super) fn drop_stale_digits(&mut self, id: LegId) {
        if let Some(leg) = self.legs.get_mut(id).filter(|l| !l.takes_digits()) {
            self.ctx.counters.info_digits_dropped += leg.info_digits.clear();
        }
    }

    /// Passes a digit on to the others of a room.
    pub(super) fn broadcast_digit(&mut self, now: Now, from: LegId, digit: char) {
        let sender = self.legs.get(from).filter(|l| !l.on_hold);
        let room =
            sender.and_then(|_| self.rooms.of_leg(from)).and_then(|r| self.rooms.rate_and_members(r).ok());
        let Some((_, members)) = room else { return };
        // A leg on hold would get them late, in a heap.
        let hears = |l: &Leg| l.accept_dtmf && !l.on_hold && l.takes_digits();
        let others = members.iter().copied().filter(|id| *id != from);
        let listeners: Vec<LegId> = others.filter(|id| self.legs.get(*id).is_some_and(hears)).collect();
        for id in listeners {
            self.pass_digits(now, id, &digit.to_string());
        }
    }
}

/// Digits in upper case; spaces and hyphens are skipped.
///
/// # Errors
/// Nothing left, anything else than `0`–`9 * # A`–`D`, more than 64.
fn check_digits(text: &str) -> Result<String, GatewayError> {
    let digits: String =
        text.chars().filter(|c| !matches!(c, ' ' | '-')).map(|c| c.to_ascii_uppercase()).collect();
    if let Some(bad) = digits.chars().find(|c| code_of(*c).is_none()) {
        let shown = bad.escape_default();
        return Err(GatewayError::Invalid(format!(
            "digits: '{shown}' is not one of 0-9, *, #, A-D, space, hyphen"
        )));
    }
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return Err(GatewayError::Invalid(format!("digits: 1 to {MAX_DIGITS} digits are allowed")));
    }
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_checked_whole() {
        assert_eq!(check_digits("1 2-a#"), Ok("12A#".to_owned()));
        for bad in ["", " ", "12x", "1\r\n2", "é", &"1".repeat(65)] {
            assert!(check_digits(bad).is_err(), "{bad:?}");
        }
    }
}
