//! DTMF digits by INFO (RFC 6086), sent and received. Outdated digits are never sent: while the far end holds
//! the call digits are dropped, not queued.

use std::time::{Duration, Instant};

use super::parts::CallContext;
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::requests::OutboundRequest;
use crate::gateway::sip_messages::refusal;
use crate::sip::dialog::Dialog;
use crate::sip::transactions::{ClientId, Failure, ServerId};
use crate::wire::{Body, Method, Request, Response};

/// Most queued digits.
const MAX_DIGITS: usize = 64;
/// Key duration announced in INFO, and the pause after it, ms.
const HELD_MS: u64 = 160;
const PAUSE_MS: u64 = 40;
/// Media type with one digit and its duration.
const RELAY: &str = "application/dtmf-relay";

/// Queue of digits to send by INFO, one request at a time.
#[derive(Debug, Default)]
pub(super) struct InfoDigits {
    waiting: heapless::Deque<char, MAX_DIGITS>,
    /// The digit whose INFO has no final response.
    asked: Option<char>,
    /// End of the previous key.
    not_before: Option<Instant>,
}

impl InfoDigits {
    /// Queues digits; those that do not fit are dropped and counted.
    pub(super) fn push(&mut self, ctx: &mut Context, digits: &str) {
        for digit in digits.chars() {
            ctx.counters.signalling.info_digits_dropped += u64::from(self.waiting.push_back(digit).is_err());
        }
    }

    /// The next digit that may be sent.
    fn next(&mut self, now: Instant) -> Option<char> {
        if self.asked.is_some() || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        let digit = self.waiting.pop_front()?;
        (self.asked, self.not_before) = (Some(digit), Some(now + Duration::from_millis(HELD_MS + PAUSE_MS)));
        Some(digit)
    }

    /// The far end holds the call: drops and counts queued digits.
    pub(super) fn clear(&mut self, ctx: &mut Context) {
        ctx.counters.signalling.info_digits_dropped += self.waiting.len() as u64;
        self.waiting.clear();
    }

    /// When the next digit is due, unless a response is pending.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.asked.is_none() && !self.waiting.is_empty())
    }

    /// Sends the next INFO if it is due.
    pub(super) fn send_next(&mut self, c: &mut CallContext<'_>, dialog: &mut Dialog) {
        if let Some(digit) = self.next(c.now.mono) {
            send(c, dialog, digit);
        }
    }

    /// Handles the response to an INFO, or its absence: false if the dialog does not exist any more (RFC 3261
    /// §12.2.1.2). Rejected digits are dropped, since they would be outdated later. `dialog`: `None` once the
    /// call has ended.
    pub(super) fn handle_answer(
        &mut self,
        c: &mut CallContext<'_>,
        dialog: Option<&mut Dialog>,
        outcome: Result<(ClientId, &Response), Failure>,
    ) -> bool {
        let Some(asked) = self.asked.take() else { return true };
        let Some(dialog) = dialog else {
            let taken = outcome.is_ok_and(|(_, r)| (200..300).contains(&r.code));
            c.ctx.counters.signalling.info_digits_dropped += u64::from(!taken);
            return true;
        };
        match outcome {
            Ok((_, r)) if (200..300).contains(&r.code) => {}
            Ok((tx, r)) if matches!(r.code, 401 | 407) && c.peer.challenged(c.ctx, tx, r) => {
                self.asked = Some(asked);
                send(c, dialog, asked);
                return true;
            }
            Ok((_, Response { code: 408 | 481, .. })) | Err(Failure::Timeout) => {
                c.ctx.counters.signalling.info_digits_dropped += 1;
                return false;
            }
            Ok((_, r)) => {
                log::debug!(leg = c.peer.name(c.ctx), code = r.code; "the far end refused a digit by INFO");
                c.ctx.counters.signalling.info_digits_dropped += 1;
            }
            Err(Failure::Transport) => c.ctx.counters.signalling.info_digits_dropped += 1,
        }
        self.send_next(c, dialog);
        true
    }
}

fn send(c: &mut CallContext<'_>, dialog: &mut Dialog, digit: char) {
    let (mut draft, hop) = dialog.request(&Method::Info);
    draft.push("User-Agent", c.ctx.config.sip.host.as_str());
    let body = format!("Signal={digit}\r\nDuration={HELD_MS}\r\n");
    draft.set_body(RELAY, body.into_bytes());
    c.peer.send(c.ctx, &hop, OutboundRequest::Info(c.peer.id, draft));
}

/// Answers an INFO; returns its digit, from `application/dtmf-relay` or `application/dtmf`.
pub(super) fn digit_of(ctx: &mut Context, now: Now, tx: ServerId, request: &Request) -> Option<char> {
    if request.common.body.is_empty() {
        refusal::respond_with(ctx, now, tx, 200, "OK", &[]);
        return None;
    }
    let body = Body::of(&request.common, "").ok().flatten();
    let Some((kind, content)) = body.and_then(|b| b.find(&[RELAY, "application/dtmf"])) else {
        refusal::refuse_body(ctx, now, tx, 415, "Unsupported Media Type");
        return None;
    };
    let text = String::from_utf8_lossy(&content).into_owned();
    let digit = if kind == RELAY { relay_digit(&text) } else { plain_digit(&text) };
    let (code, reason) =
        if digit.is_some() { (200, "OK") } else { (400, "Bad Request: no digit in the body") };
    refusal::respond_with(ctx, now, tx, code, reason, &[]);
    digit
}

/// Parses `Signal=5` of `application/dtmf-relay`.
fn relay_digit(text: &str) -> Option<char> {
    let line = text.lines().find_map(|l| {
        let (name, value) = l.split_once('=')?;
        name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
    })?;
    plain_digit(line)
}

/// Parses a single digit; some phones send `10` and `11` for `*` and `#`.
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
    fn a_digit_waits_for_the_one_before_it_and_none_is_stale() {
        let now = crate::gateway::testing::now().mono;
        let mut ctx = crate::gateway::testing::context(|_| {});
        let mut digits = InfoDigits::default();
        digits.push(&mut ctx, "12");
        assert_eq!((digits.next(now), digits.next(now)), (Some('1'), None), "one request at a time");
        digits.asked = None;
        let over = now + Duration::from_millis(HELD_MS + PAUSE_MS);
        assert_eq!((digits.next(now), digits.deadline()), (None, Some(over)));
        assert_eq!((digits.next(over), digits.deadline()), (Some('2'), None));
        digits.push(&mut ctx, &"3".repeat(MAX_DIGITS + 1));
        digits.clear(&mut ctx);
        assert_eq!(ctx.counters.signalling.info_digits_dropped, MAX_DIGITS as u64 + 1);
    }
}
