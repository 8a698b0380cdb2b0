//! A call is connected: what waited for that begins.

use super::core::Gateway;
use super::events::{EventBody, LegState};
use super::leg::{Kind, LegId};
use crate::base::time::Now;

impl Gateway {
    /// `leg.connected`: the ACK is in (inbound) or out (outbound).
    pub(super) fn connected(&mut self, now: Now, id: LegId) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.connected = true;
        if leg.max_duration > 0 {
            let from = leg.answered.unwrap_or(now.mono);
            leg.max_until = Some(from + std::time::Duration::from_secs(leg.max_duration.into()));
        }
        let leg_type = leg.kind;
        leg.media.listen(&mut self.ctx, leg.amd.filter(|_| leg_type == Kind::SipOutbound));
        *self.ctx.counters.legs_total.entry((leg_type.as_str(), "connected")).or_default() += 1;
        self.legs.reschedule(id);
        self.ctx.events.publish(now, id, EventBody::LegConnected(LegState { leg_type }));
        self.join_waiting(now, id);
        self.take_over(now, id);
        self.referral_answered(now, id);
    }
}
