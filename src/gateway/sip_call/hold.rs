//! Hold by either end (RFC 3264 §8.4), and its time limit.

use std::time::{Duration, Instant};

use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::events::{EventBody, LegState};
use crate::gateway::interface::error::GatewayError;
use crate::gateway::legs::leg_id::{Kind, LegId};
use crate::sdp::Direction;

/// Longest hold: the call ends after it.
const HOLD_LIMIT: Duration = Duration::from_secs(2 * 3600);
/// Additional time if the far end holds us, as it may have a limit of its own. Without a session timer
/// nothing else would detect that it is gone: no RTP is expected during a hold.
const THEIRS_LONGER: Duration = Duration::from_secs(60);

/// Hold state of a call.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// On hold by us.
    ours: bool,
    /// On hold by either end, as published.
    published: bool,
    /// End of the call if the hold lasts until then.
    until: Option<Instant>,
}

impl Hold {
    /// True if we hold the far end.
    pub(super) fn is_ours(&self) -> bool {
        self.ours
    }

    /// True if either end holds, as published.
    pub(super) fn is_on(&self) -> bool {
        self.published
    }

    /// Checks that we may hold (`on`) or resume.
    ///
    /// # Errors
    /// Already held, not held, or held by the far end only (409).
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

    /// The media direction we want.
    pub(super) fn wanted_direction(&self) -> Direction {
        if self.ours { Direction::SendOnly } else { Direction::SendRecv }
    }

    /// The far end has accepted our hold or its end.
    pub(super) fn set_ours(&mut self, now: Instant, on: bool) {
        self.ours = on;
        // If the far end holds as well, its hold continues.
        self.until = self.published.then(|| self.limit(now));
    }

    /// Publishes `leg.hold` or `leg.unhold` if the state has changed. `held_by_them`: the far end does not
    /// want our media.
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
