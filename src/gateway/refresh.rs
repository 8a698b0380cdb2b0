//! Session timers of calls (RFC 4028), and UPDATE (RFC 3311).

use std::time::Instant;

use super::core::Gateway;
use super::leg::{Leg, LegId, Phase};
use super::refusal;
use crate::base::time::Now;
use crate::sip::session_timer::{self, Refresher, SessionExpires, SessionTimer};
use crate::sip::target::Target;
use crate::sip::transactions::ServerId;
use crate::wire::headers::Headers;
use crate::wire::{Draft, Request, Response};

/// Shortest session a far end may grant, seconds: below it refreshes would be all there is.
const SHORTEST: u32 = 30;
/// Times that one call, or one refresh, asks for a longer session.
const MAX_LENGTHENED: u8 = 3;
/// Longest session that a far end can make us ask for, seconds: a day.
const LONGEST_SESSION: u32 = 86_400;

impl Leg {
    /// Remembers a `Min-SE`: later refreshes ask for no less (§7.4).
    fn note_min_session(&mut self, headers: &Headers) {
        let said = headers.get("Min-SE").map(|_| SessionExpires::least(headers));
        self.min_session = self.min_session.max(said.filter(|s| *s <= LONGEST_SESSION).unwrap_or(0));
    }
}

impl Gateway {
    /// Adds to our 2xx what it says of the session's end, and starts the timer.
    pub(super) fn grant_session(&mut self, now: Now, id: LegId, asked: &Headers, draft: &mut Draft) {
        let granted = session_timer::answer(asked).ok().flatten();
        if let Some(granted) = granted {
            if granted.refresher == Some(Refresher::Uac) {
                draft.push("Require", "timer");
            }
            draft.push("Session-Expires", granted.to_string());
        }
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.knows_update |= asked.has_token("Allow", "UPDATE");
        leg.note_min_session(asked);
        let ours = granted.is_some_and(|g| g.refresher == Some(Refresher::Uas));
        leg.timer = granted.map(|g| SessionTimer::new(g.interval, ours, now.mono));
        self.legs.reschedule(id);
    }

    /// Notes what the far end's 2xx says of the session's end (§7.2). Counted from when we asked: the far end
    /// may have answered long before its answer came through.
    pub(super) fn note_session(&mut self, asked: Instant, id: LegId, response: &Response) {
        let headers = &response.common.headers;
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.knows_update |= headers.has_token("Allow", "UPDATE");
        leg.timer = SessionExpires::of(headers).map(|e| {
            let ours = e.refresher != Some(Refresher::Uas);
            SessionTimer::new(e.interval.max(SHORTEST), ours, asked)
        });
        self.legs.reschedule(id);
    }

    /// Adds to a refresh of ours how long the session is to last; roles stay as they are (§7.4).
    pub(super) fn ask_for_session(timer: Option<SessionTimer>, least: u32, ours: bool, draft: &mut Draft) {
        let Some(timer) = timer else { return };
        let refresher = Some(if ours { Refresher::Uac } else { Refresher::Uas });
        let interval = timer.interval.max(least);
        draft.push("Session-Expires", SessionExpires { interval, refresher }.to_string());
        if least > 0 {
            draft.push("Min-SE", least.to_string());
        }
    }

    /// 422: a longer session is asked for, if that was not what we asked for already (RFC 4028 §7.3).
    pub(super) fn session_too_short(&mut self, id: LegId, response: &Response) -> bool {
        let least = SessionExpires::least(&response.common.headers);
        let Some(leg) = self.legs.get_mut(id) else { return false };
        leg.note_min_session(&response.common.headers);
        let Phase::Inviting(inviting) = &mut leg.phase else { return false };
        let asked = inviting.request.session;
        inviting.request.session = least;
        may_lengthen(&mut inviting.lengthened, asked, least)
    }

    /// 422 to a refresh or hold: somebody who has come in on the way wants longer sessions (§7.3).
    pub(super) fn change_too_short(&mut self, id: LegId, response: &Response) -> bool {
        let Some(leg) = self.legs.get_mut(id) else { return false };
        let asked = leg.timer.map_or(0, |t| t.interval.max(leg.min_session));
        leg.note_min_session(&response.common.headers);
        let Some(change) = &mut leg.change else { return false };
        may_lengthen(&mut change.lengthened, asked, leg.min_session)
    }

    /// Something of a session timer is due.
    pub(super) fn session_due(&mut self, now: Now, id: LegId) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let up = matches!(leg.phase, Phase::Up { .. });
        let Some(timer) = &mut leg.timer else { return };
        if timer.ends_at <= now.mono {
            return self.hang_up(now, id, "session_expired", None);
        }
        if timer.refresh_at.is_some_and(|at| at <= now.mono) {
            // Should this one come to nothing, the next is due halfway to the end.
            timer.try_again(now.mono);
            if up && leg.change.is_none() {
                self.refresh(now, id);
            }
        }
    }

    /// UPDATE in a call: a refresh, or another session.
    pub(super) fn updated(&mut self, now: Now, tx: ServerId, id: LegId, request: &Request, source: Target) {
        let headers = &request.common.headers;
        let Some(offer) = self.acceptable_offer(now, tx, id, request) else { return };
        if self.refused_as_crossing(now, tx, id, request, offer.is_some()) {
            return;
        }
        let body = match offer.as_ref().map(|o| self.answer_change(id, o)).transpose() {
            Ok(body) => body,
            Err(e) => return refusal::refuse_sdp(&mut self.ctx, now, tx, &e),
        };
        if body.is_some() {
            self.note_early_change(id, request);
        }
        let Some(mut draft) = self.ctx.sip.draft(tx, 200, "OK") else { return };
        refusal::add_contact(&self.ctx, &mut draft, tx);
        // Before the answer there is no session to last, and no dialog whose far end could have moved.
        let answered = self.legs.get(id).is_some_and(|l| l.dialog().is_some());
        if answered {
            self.grant_session(now, id, headers, &mut draft);
        }
        if let Some(body) = body {
            draft.set_body("application/sdp", body.into_bytes());
        }
        self.ctx.sip.respond(now.mono, tx, 200, &draft);
        if let Some(leg) = self.legs.get_mut(id).filter(|_| answered) {
            leg.follow(request, source);
        }
        if offer.is_some() {
            self.stream_changed(now, id);
        }
    }
}

/// True when `least` seconds may be asked for after `asked`; counts how often that was so.
fn may_lengthen(times: &mut u8, asked: u32, least: u32) -> bool {
    *times += 1;
    asked > 0 && asked < least && least <= LONGEST_SESSION && *times <= MAX_LENGTHENED
}
