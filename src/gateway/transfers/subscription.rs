//! A far end's subscription to its transfer (RFC 3515 §2.4, RFC 6665). Several REFERs in one dialog are
//! distinguished by `id`, the CSeq number of each.

use std::time::{Duration, Instant};

use crate::gateway::requests::Notice;
use crate::wire::{Draft, Request};

/// Longest extension of a subscription.
const LONGEST: Duration = Duration::from_secs(3600);

/// A far end's subscription to the call requested by its REFER.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    /// CSeq number of the REFER.
    number: u32,
    /// NOTIFYs carry the `id`: it is not the first REFER of the dialog.
    named: bool,
    /// Expiry, unless extended.
    until: Instant,
    /// Terminated: no more NOTIFYs.
    over: bool,
    /// Status code and reason of the call.
    status: (u16, String),
}

impl Subscription {
    /// For the REFER with this number; `named` if it is not the first of its dialog.
    pub(super) fn new(number: u32, named: bool, until: Instant) -> Self {
        Self { number, named, until, over: false, status: (100, "Trying".to_owned()) }
    }

    /// Last reported status code of the call.
    pub(super) fn status(&self) -> u16 {
        self.status.0
    }

    /// Updates the status of the call.
    pub(super) fn note(&mut self, code: u16, reason: &str) {
        self.status = (code, reason.to_owned());
    }

    /// Its expiry.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.over).then_some(self.until)
    }

    /// True once terminated.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Terminates it.
    pub(super) fn end(&mut self) {
        self.over = true;
    }

    /// True while it is active and has this `id`.
    pub(super) fn is(&self, id: Option<u32>) -> bool {
        !self.over && id.map_or(!self.named, |id| id == self.number)
    }

    /// Extends it by a SUBSCRIBE; returns its duration from `now`. `named`: the SUBSCRIBE carries an `id`.
    pub(super) fn extend(&mut self, now: Instant, named: bool, asked: Option<u32>) -> Duration {
        // A subscriber that uses the `id` expects it in NOTIFYs.
        self.named |= named;
        let asked = asked.map(|s| Duration::from_secs(s.into()));
        let left = self.until.saturating_duration_since(now);
        let granted = asked.unwrap_or(left).min(LONGEST);
        self.until = now + granted;
        granted
    }

    /// The content of a NOTIFY; the final one with a reason (RFC 3515 §2.4.4).
    pub(super) fn news(&self, now: Instant, over: Option<&str>) -> ReferProgress {
        let (number, (code, reason)) = (self.number, &self.status);
        let state = match over {
            Some(why) => format!("terminated;reason={why}"),
            None => format!("active;expires={}", self.until.saturating_duration_since(now).as_secs()),
        };
        ReferProgress {
            event: if self.named { format!("refer;id={number}") } else { "refer".to_owned() },
            state,
            body: format!("SIP/2.0 {code} {reason}\r\n"),
            notice: Notice { number, outcome: Some(*code).filter(|c| *c >= 200) },
            last: over.is_some(),
        }
    }
}

/// Content of a NOTIFY about a transfer.
#[derive(Debug)]
pub(super) struct ReferProgress {
    event: String,
    state: String,
    body: String,
    /// Context for its response.
    pub(super) notice: Notice,
    /// It is the final one.
    pub(super) last: bool,
}

impl ReferProgress {
    /// Writes it into a NOTIFY.
    pub(super) fn fill(&self, draft: &mut Draft, contact: &str) {
        draft.push("Event", self.event.as_str());
        draft.push("Subscription-State", self.state.as_str());
        draft.push("Contact", contact);
        draft.set_body("message/sipfrag;version=2.0", self.body.clone().into_bytes());
    }
}

/// Expires of a SUBSCRIBE, seconds, if given; `Err` if it is not a number.
pub(super) fn asked_for(request: &Request) -> Result<Option<u32>, ()> {
    let expires = request.common.headers.get("Expires").map(|e| e.trim().parse::<u32>());
    expires.transpose().map_err(|_| ())
}
