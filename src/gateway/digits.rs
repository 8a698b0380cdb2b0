//! Digits that a far end sends: by INFO, as events or sound in its media, or both at once.

use std::time::{Duration, Instant};

use super::core::Gateway;
use super::events::{Digit, EventBody};
use super::leg::LegId;
use super::refusal;
use crate::base::time::Now;
use crate::media::command::Slot;
use crate::sip::transactions::ServerId;
use crate::wire::{Body, Request};

/// How much later the same key may come the other way: sound tells of it when it is pressed, INFO when it is let go.
const ECHO: Duration = Duration::from_secs(2);
/// Media type of one digit with its length.
const RELAY: &str = "application/dtmf-relay";
/// Keys that wait for their echo.
const MAX_KEYS: usize = 16;

/// The ways that a digit can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// In an INFO request.
    Info,
    /// With the media: an event of RFC 4733, or two tones.
    Media,
}

/// Keys that came one way and may come the other, too: some phones are set to send each by INFO and with the media.
#[derive(Debug, Default)]
pub struct Keys(heapless::Deque<(Instant, Path, char), MAX_KEYS>);

impl Keys {
    /// True unless the key came the other way a moment ago. Each echo is good for one key, so that one pressed twice
    /// counts twice.
    pub fn is_news(&mut self, now: Instant, path: Path, digit: char) -> bool {
        while self.0.front().is_some_and(|(at, ..)| now.saturating_duration_since(*at) > ECHO) {
            self.0.pop_front();
        }
        let echo = self.0.iter().position(|(_, p, d)| (*p != path) && *d == digit);
        if let Some(at) = echo {
            let mut i = 0;
            self.0.retain(|_| {
                i += 1;
                i - 1 != at
            });
            return false;
        }
        if self.0.is_full() {
            self.0.pop_front();
        }
        // There is room.
        let _kept = self.0.push_back((now, path, digit));
        true
    }
}

impl Gateway {
    /// INFO: digits as `application/dtmf-relay` or `application/dtmf`.
    pub(super) fn info(&mut self, now: Now, tx: ServerId, id: LegId, request: &Request) {
        if request.common.body.is_empty() {
            return refusal::respond_with(&mut self.ctx, now, tx, 200, "OK", &[]);
        }
        let body = Body::of(&request.common, "").ok().flatten();
        let Some((kind, content)) = body.and_then(|b| b.find(&[RELAY, "application/dtmf"])) else {
            return refusal::refuse_body(&mut self.ctx, now, tx, 415, "Unsupported Media Type");
        };
        let text = String::from_utf8_lossy(&content).into_owned();
        let digit = if kind == RELAY { relay_digit(&text) } else { plain_digit(&text) };
        let Some(digit) = digit else {
            let why = "Bad Request: no digit in the body";
            return refusal::respond_with(&mut self.ctx, now, tx, 400, why, &[]);
        };
        refusal::respond_with(&mut self.ctx, now, tx, 200, "OK", &[]);
        self.digit_by(now, id, Path::Info, digit);
    }

    /// A digit from the media of a leg.
    pub(super) fn digit_received(&mut self, now: Now, slot: Slot, digit: char) {
        if let Some(id) = self.legs.at(slot) {
            self.digit_by(now, id, Path::Media, digit);
        }
    }

    fn digit_by(&mut self, now: Now, id: LegId, path: Path, digit: char) {
        let news = self.legs.get_mut(id).is_some_and(|l| l.keys.is_news(now.mono, path, digit));
        if news {
            self.publish_digit(now, id, digit);
        }
    }

    fn publish_digit(&mut self, now: Now, id: LegId, digit: char) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        if leg.is_ending() {
            return;
        }
        leg.digits += 1;
        let seq = leg.digits;
        let digit_body = Digit { digit, seq };
        let body = if self.ctx.config.events.dtmf_type == "dtmf.received" {
            EventBody::DtmfReceived(digit_body)
        } else {
            EventBody::LegDtmf(digit_body)
        };
        self.ctx.events.publish(now, id, body);
        self.broadcast_digit(now, id, digit);
    }
}

/// `Signal=5` of `application/dtmf-relay`.
fn relay_digit(text: &str) -> Option<char> {
    let line = text.lines().find_map(|l| {
        let (name, value) = l.split_once('=')?;
        name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
    })?;
    plain_digit(line)
}

/// A single digit; `10` and `11` stand for `*` and `#` in some phones.
fn plain_digit(text: &str) -> Option<char> {
    match text.trim() {
        "10" => Some('*'),
        "11" => Some('#'),
        t => {
            let mut chars = t.chars();
            let digit = chars.next()?.to_ascii_uppercase();
            (chars.next().is_none() && "0123456789*#ABCD".contains(digit)).then_some(digit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_bodies_hold_one_digit() {
        assert_eq!(relay_digit("Signal= 5\r\nDuration= 160\r\n"), Some('5'));
        assert_eq!(relay_digit("Duration=160\r\nsignal=d"), Some('D'));
        assert_eq!(
            (plain_digit(" # "), plain_digit("11"), plain_digit("12"), plain_digit("")),
            (Some('#'), Some('#'), None, None)
        );
        assert_eq!(relay_digit("Signal=X"), None);
    }

    #[test]
    fn a_key_that_comes_both_ways_counts_once() {
        let start = crate::gateway::testing::now().mono;
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut keys = Keys::default();
        let mut told = String::new();
        let mut press = |ms, path, digit| {
            if keys.is_news(at(ms), path, digit) {
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
