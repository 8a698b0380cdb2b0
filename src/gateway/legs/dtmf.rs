//! DTMF digits of a leg: received by INFO, RFC 4733 events or in-band tones, possibly twice; and validation
//! of digits sent by the API.

use std::time::{Duration, Instant};

use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::events::{Digit, EventBody};
use crate::gateway::interface::error::GatewayError;
use crate::gateway::legs::leg_id::LegId;
use crate::rtp::telephone_event::code_of;

/// Time window for the same key on the other path: in-band it is detected when pressed, INFO is sent on
/// release.
const ECHO: Duration = Duration::from_secs(2);
/// Keys remembered for duplicate detection.
const MAX_KEYS: usize = 16;
/// Most digits per request.
const MAX_DIGITS: usize = 64;

/// Path on which a digit was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// In an INFO request.
    Info,
    /// In the media: RFC 4733 event or in-band tones.
    Media,
}

/// Received digits. Some phones send each digit by INFO and in the media: it counts once.
#[derive(Debug, Default)]
pub(super) struct ReceivedDigits {
    count: u64,
    /// Keys received on one path that may still arrive on the other.
    keys: heapless::Deque<(Instant, Path, char), MAX_KEYS>,
}

impl ReceivedDigits {
    /// False if the key was received on the other path a moment ago. Each entry matches one key, so that a
    /// key pressed twice counts twice.
    pub(super) fn is_news(&mut self, now: Instant, path: Path, digit: char) -> bool {
        while self.keys.front().is_some_and(|(at, ..)| now.saturating_duration_since(*at) > ECHO) {
            self.keys.pop_front();
        }
        let echo = self.keys.iter().position(|(_, p, d)| (*p != path) && *d == digit);
        if let Some(at) = echo {
            let mut i = 0;
            self.keys.retain(|_| {
                i += 1;
                i - 1 != at
            });
            return false;
        }
        if self.keys.is_full() {
            self.keys.pop_front();
        }
        // There is capacity.
        let _kept = self.keys.push_back((now, path, digit));
        true
    }

    /// Counts and publishes a digit.
    pub(super) fn publish(&mut self, ctx: &mut Context, now: Now, leg: LegId, digit: char) {
        self.count += 1;
        let digit = Digit { digit, seq: self.count };
        let body = if ctx.config.events.dtmf_type == "dtmf.received" {
            EventBody::DtmfReceived(digit)
        } else {
            EventBody::LegDtmf(digit)
        };
        ctx.events.publish(now, leg, body);
    }
}

/// Digits in upper case; spaces and hyphens are skipped.
///
/// # Errors
/// No digits left, characters other than `0`–`9 * # A`–`D`, more than 64 digits.
pub(super) fn check_digits(text: &str) -> Result<String, GatewayError> {
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

    #[test]
    fn a_key_that_comes_both_ways_counts_once() {
        let start = crate::gateway::testing::now().mono;
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut digits = ReceivedDigits::default();
        let mut told = String::new();
        let mut press = |ms, path, digit| {
            if digits.is_news(at(ms), path, digit) {
                told.push(digit);
            }
        };
        // Key 1 twice, each on both paths, in either order; and a 2 in between.
        for (ms, path, digit) in [
            (0, Path::Media, '1'),
            (150, Path::Info, '1'),
            (300, Path::Media, '2'),
            (400, Path::Media, '1'),
            (450, Path::Info, '2'),
            (500, Path::Info, '1'),
            (600, Path::Info, '3'),
            (601, Path::Media, '3'),
        ] {
            press(ms, path, digit);
        }
        // The same key repeatedly on one path, and much later on the other.
        (1000..1300).step_by(10).for_each(|ms| press(ms, Path::Media, '9'));
        press(5000, Path::Info, '9');
        assert_eq!(told, format!("1213{}9", "9".repeat(30)));
    }
}
