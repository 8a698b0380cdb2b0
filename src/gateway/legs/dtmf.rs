//! Digits of a leg: those that its far end sends, by INFO, as events or sound in its media, or both at once; and what the API
//! may send.

use std::time::{Duration, Instant};

use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::error::GatewayError;
use crate::gateway::events::{Digit, EventBody};
use crate::gateway::leg_id::LegId;
use crate::rtp::telephone_event::code_of;

/// How much later the same key may come the other way: sound tells of it when it is pressed, INFO when it is let go.
const ECHO: Duration = Duration::from_secs(2);
/// Keys that wait for their echo.
const MAX_KEYS: usize = 16;
/// Most digits of one request.
const MAX_DIGITS: usize = 64;

/// The ways that a digit can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// In an INFO request.
    Info,
    /// With the media: an event of RFC 4733, or two tones.
    Media,
}

/// Digits that a far end sends. Some phones are set to send each by INFO and with the media: it counts once.
#[derive(Debug, Default)]
pub(super) struct ReceivedDigits {
    count: u64,
    /// Keys that came one way and may come the other, too.
    keys: heapless::Deque<(Instant, Path, char), MAX_KEYS>,
}

impl ReceivedDigits {
    /// True unless the key came the other way a moment ago. Each echo is good for one key, so that one pressed twice
    /// counts twice.
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
        // There is room.
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
/// Nothing left, anything else than `0`–`9 * # A`–`D`, more than 64.
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
        // Twice 1, each both ways, in either order; and a 2 in between.
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
        // The same key again and again one way, and much later the other way.
        (1000..1300).step_by(10).for_each(|ms| press(ms, Path::Media, '9'));
        press(5000, Path::Info, '9');
        assert_eq!(told, format!("1213{}9", "9".repeat(30)));
    }
}
