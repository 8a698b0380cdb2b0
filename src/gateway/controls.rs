//! Mute, deaf and digits.

use super::core::Gateway;
use super::error::GatewayError;
use super::leg::{Leg, LegId};
use crate::base::time::Now;
use crate::media::command::Command;
use crate::rtp::telephone_event::code_of;

/// Most digits of one request.
const MAX_DIGITS: usize = 64;

impl Gateway {
    /// `POST|DELETE /legs/{id}/mute`: others hear the leg no more, or again.
    ///
    /// # Errors
    /// No such leg.
    pub fn mute(&mut self, now: Now, leg: &str, on: bool) -> Result<(), GatewayError> {
        let id = self.find(leg)?;
        if let Some(l) = self.legs.get_mut(id) {
            l.muted = on;
            self.media.extend(l.slot.map(|slot| Command::Mute { slot, on }));
        }
        self.publish(now, id, if on { "leg.muted" } else { "leg.unmuted" }, Vec::new());
        Ok(())
    }

    /// `POST|DELETE /legs/{id}/deaf`: the leg hears nobody any more, or again.
    ///
    /// # Errors
    /// No such leg.
    pub fn deafen(&mut self, now: Now, leg: &str, on: bool) -> Result<(), GatewayError> {
        let id = self.find(leg)?;
        if let Some(l) = self.legs.get_mut(id) {
            l.deaf = on;
            self.media.extend(l.slot.map(|slot| Command::Deaf { slot, on }));
        }
        self.publish(now, id, if on { "leg.deaf" } else { "leg.undeaf" }, Vec::new());
        Ok(())
    }

    /// `POST /legs/{id}/dtmf/accept` and `…/reject`.
    ///
    /// # Errors
    /// No such leg.
    pub fn accept_dtmf(&mut self, leg: &str, on: bool) -> Result<(), GatewayError> {
        let id = self.find(leg)?;
        if let Some(l) = self.legs.get_mut(id) {
            l.accept_dtmf = on;
        }
        Ok(())
    }

    /// `POST /legs/{id}/dtmf`: queues digits to be sent one after the other.
    ///
    /// # Errors
    /// No such leg (404), a character that is no digit or too many (400), one that the far end does not take (409), no
    /// media (500).
    pub fn send_digits(&mut self, leg: &str, digits: &str) -> Result<(), GatewayError> {
        let id = self.find(leg)?;
        let digits = check_digits(digits)?;
        let leg = self.legs.get(id).ok_or(GatewayError::NotFound("leg not found"))?;
        leg.check_taken(&digits)?;
        let slot = leg.slot;
        let slot =
            slot.ok_or_else(|| GatewayError::Failed("the leg has no media to send digits on".to_owned()))?;
        self.media.push_back(Command::Digits { slot, digits });
        Ok(())
    }

    /// Passes a digit on to the others of a room.
    pub(super) fn broadcast_digit(&mut self, from: LegId, digit: char) {
        let room = self
            .legs
            .get(from)
            .filter(|l| !l.on_hold)
            .and_then(|l| l.room.as_ref())
            .and_then(|r| self.rooms.get(r));
        let Some(room) = room else { return };
        for id in room.members.iter().filter(|id| **id != from) {
            // A leg on hold would get them late, in a heap.
            let hears =
                |l: &&Leg| l.accept_dtmf && !l.on_hold && l.stream.is_some_and(|s| s.direction.sends());
            let listener = self.legs.get(*id).filter(hears).filter(|l| l.takes_digit(digit));
            if let Some(slot) = listener.and_then(|l| l.slot) {
                self.media.push_back(Command::Digits { slot, digits: digit.to_string() });
            }
        }
    }
}

/// Digits in upper case; spaces and hyphens are skipped.
///
/// # Errors
/// Nothing left, anything else than `0`–`9 * # A`–`D`, more than 64.
pub fn check_digits(text: &str) -> Result<String, GatewayError> {
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
