//! A far end's subscription to what becomes of its transfer (RFC 3515 §2.4, RFC 6665). Several REFERs of a dialog are told
//! apart by `id`, the CSeq number of each.

use std::time::{Duration, Instant};

use crate::gateway::requests::Notice;
use crate::wire::{Draft, Request};

/// Longest that a far end's subscription is extended to.
const LONGEST: Duration = Duration::from_secs(3600);

/// A far end's subscription to the call that its REFER asks for.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    /// CSeq number of the REFER.
    number: u32,
    /// NOTIFYs carry it: it is not that of the dialog's first REFER.
    named: bool,
    /// It ends then, unless it is extended.
    until: Instant,
    /// It has ended: nothing more is told.
    over: bool,
    /// Status code and reason of the call.
    status: (u16, String),
}

impl Subscription {
    /// That of the REFER with this number; `named` when the dialog has had another before it.
    pub(super) fn new(number: u32, named: bool, until: Instant) -> Self {
        Self { number, named, until, over: false, status: (100, "Trying".to_owned()) }
    }

    /// Status code of the call, as it was told last.
    pub(super) fn status(&self) -> u16 {
        self.status.0
    }

    /// How the call goes.
    pub(super) fn note(&mut self, code: u16, reason: &str) {
        self.status = (code, reason.to_owned());
    }

    /// When it ends by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.over).then_some(self.until)
    }

    /// True once nothing more is told.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Nothing more is told.
    pub(super) fn end(&mut self) {
        self.over = true;
    }

    /// True while it lasts and has this `id`.
    pub(super) fn is(&self, id: Option<u32>) -> bool {
        !self.over && id.map_or(!self.named, |id| id == self.number)
    }

    /// A SUBSCRIBE asks for so many seconds more; how long it lasts from `now` on. `named`: it carries an `id`.
    pub(super) fn extend(&mut self, now: Instant, named: bool, asked: Option<u32>) -> Duration {
        // A subscriber that names it will look for the name.
        self.named |= named;
        let asked = asked.map(|s| Duration::from_secs(s.into()));
        let left = self.until.saturating_duration_since(now);
        let granted = asked.unwrap_or(left).min(LONGEST);
        self.until = now + granted;
        granted
    }

    /// What a NOTIFY says, for the last time where there is a reason for that (RFC 3515 §2.4.4).
    pub(super) fn news(&self, now: Instant, over: Option<&str>) -> News {
        let (number, (code, reason)) = (self.number, &self.status);
        let state = match over {
            Some(why) => format!("terminated;reason={why}"),
            None => format!("active;expires={}", self.until.saturating_duration_since(now).as_secs()),
        };
        News {
            event: if self.named { format!("refer;id={number}") } else { "refer".to_owned() },
            state,
            body: format!("SIP/2.0 {code} {reason}\r\n"),
            notice: Notice { number, outcome: Some(*code).filter(|c| *c >= 200) },
            last: over.is_some(),
        }
    }
}

/// What a NOTIFY of a transfer says.
#[derive(Debug)]
pub(super) struct News {
    event: String,
    state: String,
    body: String,
    /// What it is about, for its response.
    pub(super) notice: Notice,
    /// No more will come.
    pub(super) last: bool,
}

impl News {
    /// Writes it into a NOTIFY.
    pub(super) fn fill(&self, draft: &mut Draft, contact: &str) {
        draft.push("Event", self.event.as_str());
        draft.push("Subscription-State", self.state.as_str());
        draft.push("Contact", contact);
        draft.set_body("message/sipfrag;version=2.0", self.body.clone().into_bytes());
    }
}

/// Seconds that a SUBSCRIBE asks for, if it says so; `Err` for what is no number.
pub(super) fn asked_for(request: &Request) -> Result<Option<u32>, ()> {
    let expires = request.common.headers.get("Expires").map(|e| e.trim().parse::<u32>());
    expires.transpose().map_err(|_| ())
}
