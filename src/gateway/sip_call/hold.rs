//! Hold, by either end (RFC 3264 §8.4), and how long it may last.

use std::time::{Duration, Instant};

use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::error::GatewayError;
use crate::gateway::events::{EventBody, LegState};
use crate::gateway::leg_id::{Kind, LegId};
use crate::sdp::Direction;

/// Longest hold: the call ends then.
const HOLD_LIMIT: Duration = Duration::from_secs(2 * 3600);
/// So much longer may the far end hold us, as it may have a limit of its own. That it is gone nothing else would
/// notice where no session timer runs: RTP is not expected of it.
const THEIRS_LONGER: Duration = Duration::from_secs(60);

/// Hold of a call, by either end.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// We have put the far end on hold.
    ours: bool,
    /// On hold by either end, as it was published.
    published: bool,
    /// It ends the call then.
    until: Option<Instant>,
}

impl Hold {
    /// True when we have put the far end on hold.
    pub(super) fn is_ours(&self) -> bool {
        self.ours
    }

    /// True when either end holds, as it was published.
    pub(super) fn is_on(&self) -> bool {
        self.published
    }

    /// Checks that we may hold (`on`) or resume.
    ///
    /// # Errors
    /// Held already, not held, or held by the far end alone (409).
    pub(super) fn may_become(&self, on: bool) -> Result<(), GatewayError> {
        let why = match (on, self.published, self.ours) {
            (true, false, _) | (false, _, true) => return Ok(()),
            (true, true, _) => "leg is already held",
            (false, true, false) => "the far end holds the call: only it can resume",
            (false, false, false) => "leg is not held",
        };
        Err(GatewayError::Conflict(why.to_owned()))
    }

    /// When it ends the call.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until
    }

    /// The direction that we want for the stream.
    pub(super) fn wanted_direction(&self) -> Direction {
        if self.ours { Direction::SendOnly } else { Direction::SendRecv }
    }

    /// The far end has agreed to our hold, or to its end.
    pub(super) fn set_ours(&mut self, now: Instant, on: bool) {
        self.ours = on;
        // Where the far end holds as well, its hold goes on.
        self.until = self.published.then(|| self.limit(now));
    }

    /// `leg.hold` or `leg.unhold` when the hold of either end differs from what was published. `held_by_them`: the far end
    /// wants no media of ours.
    pub(super) fn publish(
        &mut self,
        ctx: &mut Context,
        now: Now,
        leg: LegId,
        kind: Kind,
        held_by_them: bool,
    ) {
        let held = self.ours || held_by_them;
        if self.published == held {
            return;
        }
        self.published = held;
        self.until = held.then(|| self.limit(now.mono));
        let state = LegState { leg_type: kind };
        let body = if held { EventBody::LegHold(state) } else { EventBody::LegUnhold(state) };
        ctx.events.publish(now, leg, body);
    }

    fn limit(&self, now: Instant) -> Instant {
        now + HOLD_LIMIT + if self.ours { Duration::ZERO } else { THEIRS_LONGER }
    }
}
