//! The session timer of a call (RFC 4028): how long the session lasts, and who refreshes it how.

use std::time::Instant;

use crate::sip::session_timer::{self, Refresher, SessionExpires, SessionTimer};
use crate::wire::Draft;
use crate::wire::headers::Headers;

/// Shortest session a far end may grant, seconds: below it refreshes would be all there is.
const SHORTEST: u32 = 30;
/// Times that one call, or one refresh, asks for a longer session.
const MAX_LENGTHENED: u8 = 3;
/// Longest session that a far end can make us ask for, seconds: a day.
const LONGEST_SESSION: u32 = 86_400;

/// The session timer of a call.
#[derive(Debug, Default)]
pub(super) struct CallTimer {
    /// The session ends unless it is refreshed.
    timer: Option<SessionTimer>,
    /// Shortest session that anybody on the way takes, seconds (`Min-SE`); 0: nobody has said so.
    least: u32,
    /// The far end takes UPDATE.
    knows_update: bool,
}

impl CallTimer {
    /// The next moment something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timer.map(|t| t.deadline())
    }

    /// True when the session is over, as nobody has refreshed it.
    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.timer.is_some_and(|t| t.ends_at <= now)
    }

    /// True when a refresh of ours is due. Should this one come to nothing, the next is due halfway to the end.
    pub(super) fn refresh_is_due(&mut self, now: Instant) -> bool {
        let Some(timer) = self.timer.as_mut().filter(|t| t.refresh_at.is_some_and(|at| at <= now)) else {
            return false;
        };
        timer.try_again(now);
        true
    }

    /// True when a refresh may go by UPDATE.
    pub(super) fn may_update(&self) -> bool {
        self.knows_update
    }

    /// The far end allows UPDATE in one breath and refuses it in the next.
    pub(super) fn update_refused(&mut self) {
        self.knows_update = false;
    }

    /// Remembers a `Min-SE`: later refreshes ask for no less (§7.4).
    pub(super) fn note_least(&mut self, headers: &Headers) {
        let said = headers.get("Min-SE").map(|_| SessionExpires::least(headers));
        self.least = self.least.max(said.filter(|s| *s <= LONGEST_SESSION).unwrap_or(0));
    }

    /// Adds to our 2xx what it says of the session's end, and starts the timer. `asked`: the headers of the request.
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

    /// Notes what the far end's 2xx says of the session's end (§7.2). Counted from when we `asked`: the far end may have
    /// answered long before its answer came through.
    pub(super) fn note_granted(&mut self, asked: Instant, headers: &Headers) {
        self.knows_update |= headers.has_token("Allow", "UPDATE");
        self.timer = SessionExpires::of(headers).map(|e| {
            let ours = e.refresher != Some(Refresher::Uas);
            SessionTimer::new(e.interval.max(SHORTEST), ours, asked)
        });
    }

    /// Adds to a refresh of ours how long the session is to last; roles stay as they are (§7.4).
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

    /// 422 to a refresh or hold: somebody who has come in on the way wants longer sessions (§7.3). True when that is worth
    /// asking for; `times` counts how often.
    pub(super) fn lengthen(&mut self, headers: &Headers, times: &mut u8) -> bool {
        let asked = self.timer.map_or(0, |t| t.interval.max(self.least));
        self.note_least(headers);
        may_lengthen(times, asked, self.least)
    }
}

/// True when `least` seconds may be asked for after `asked`; counts how often that was so.
pub(super) fn may_lengthen(times: &mut u8, asked: u32, least: u32) -> bool {
    *times += 1;
    asked > 0 && asked < least && least <= LONGEST_SESSION && *times <= MAX_LENGTHENED
}
