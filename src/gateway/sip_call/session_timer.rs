//! The session timer of a call (RFC 4028): session interval and refreshes.

use std::time::Instant;

use crate::sip::session_timer::{self, Refresher, SessionExpires, SessionTimer};
use crate::wire::Draft;
use crate::wire::headers::Headers;

/// Shortest session interval accepted from a far end, seconds: below it refreshes would dominate.
const SHORTEST: u32 = 30;
/// Most retries of a call or refresh with a longer interval.
const MAX_LENGTHENED: u8 = 3;
/// Longest interval that a far end can make us request, seconds: a day.
const LONGEST_SESSION: u32 = 86_400;

/// The session timer of a call.
#[derive(Debug, Default)]
pub(super) struct CallTimer {
    /// Running session timer.
    timer: Option<SessionTimer>,
    /// Largest `Min-SE` received, seconds; 0: none.
    least: u32,
    /// The far end supports UPDATE.
    knows_update: bool,
}

impl CallTimer {
    /// The next time something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timer.map(|t| t.deadline())
    }

    /// True if the session has expired without a refresh.
    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.timer.is_some_and(|t| t.ends_at <= now)
    }

    /// True if our refresh is due. If it fails, the next is due halfway to the end.
    pub(super) fn refresh_is_due(&mut self, now: Instant) -> bool {
        let Some(timer) = self.timer.as_mut().filter(|t| t.refresh_at.is_some_and(|at| at <= now)) else {
            return false;
        };
        timer.try_again(now);
        true
    }

    /// True if a refresh may be sent by UPDATE.
    pub(super) fn may_update(&self) -> bool {
        self.knows_update
    }

    /// The far end lists UPDATE in Allow but rejects it.
    pub(super) fn update_refused(&mut self) {
        self.knows_update = false;
    }

    /// Stores a `Min-SE`: later refreshes request no less (§7.4).
    pub(super) fn note_least(&mut self, headers: &Headers) {
        let said = headers.get("Min-SE").map(|_| SessionExpires::least(headers));
        self.least = self.least.max(said.filter(|s| *s <= LONGEST_SESSION).unwrap_or(0));
    }

    /// Adds Session-Expires to our 2xx and starts the timer. `asked`: headers of the request.
    pub(super) fn grant(&mut self, now: Instant, asked: &Headers, draft: &mut Draft) {
        let granted = session_timer::answer(asked).ok().flatten();
        if let Some(granted) = granted {
            if granted.refresher == Some(Refresher::Uac) {
                draft.push("Require", "timer");
            }
            draft.push("Session-Expires", granted.to_string());
        }
        self.knows_update |= asked.has_token("Allow", "UPDATE");
        self.note_least(asked);
        let ours = granted.is_some_and(|g| g.refresher == Some(Refresher::Uas));
        self.timer = granted.map(|g| SessionTimer::new(g.interval, ours, now));
    }

    /// Applies Session-Expires of the far end's 2xx (§7.2). Counted from the time of our request (`asked`),
    /// since the response may have been delayed.
    pub(super) fn note_granted(&mut self, asked: Instant, headers: &Headers) {
        self.knows_update |= headers.has_token("Allow", "UPDATE");
        self.timer = SessionExpires::of(headers).map(|e| {
            let ours = e.refresher != Some(Refresher::Uas);
            SessionTimer::new(e.interval.max(SHORTEST), ours, asked)
        });
    }

    /// Adds Session-Expires to our refresh, with unchanged roles (§7.4).
    pub(super) fn ask(&self, draft: &mut Draft) {
        let Some(timer) = self.timer else { return };
        let ours = timer.refresh_at.is_some();
        let refresher = Some(if ours { Refresher::Uac } else { Refresher::Uas });
        let interval = timer.interval.max(self.least);
        draft.push("Session-Expires", SessionExpires { interval, refresher }.to_string());
        if self.least > 0 {
            draft.push("Min-SE", self.least.to_string());
        }
    }

    /// 422 to a refresh or hold: a new proxy requires a longer interval (§7.3). True if a retry makes sense;
    /// `times` counts retries.
    pub(super) fn lengthen(&mut self, headers: &Headers, times: &mut u8) -> bool {
        let asked = self.timer.map_or(0, |t| t.interval.max(self.least));
        self.note_least(headers);
        may_lengthen(times, asked, self.least)
    }
}

/// True if an interval of `least` may be requested after `asked`; counts retries.
pub(super) fn may_lengthen(times: &mut u8, asked: u32, least: u32) -> bool {
    *times += 1;
    asked > 0 && asked < least && least <= LONGEST_SESSION && *times <= MAX_LENGTHENED
}
