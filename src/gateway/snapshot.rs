//! The gateway as the API shows it: legs, capacity, counters.

use std::collections::BTreeMap;

use super::core::Gateway;
use super::counters::Numbers;
use super::leg::Leg;
use super::leg_view::LegView;

pub(super) fn view(leg: &Leg, room: Option<&str>) -> LegView {
    LegView {
        id: leg.id.clone(),
        kind: leg.kind.as_str(),
        state: leg.state(),
        room_id: room.map(str::to_owned),
        muted: leg.muted,
        deaf: leg.deaf,
        accept_dtmf: leg.accept_dtmf,
        held: leg.held && leg.connected,
        sip_headers: match leg.kind {
            super::leg::Kind::SipInbound => leg.sip_headers.iter().cloned().collect(),
            super::leg::Kind::SipOutbound => BTreeMap::new(),
        },
    }
}

impl Gateway {
    /// Trunks, and those of them that are active.
    #[must_use]
    pub fn trunk_counts(&self) -> (usize, usize) {
        self.trunks.counts()
    }

    /// All legs that have not ended.
    #[must_use]
    pub fn legs(&self) -> Vec<LegView> {
        self.legs
            .iter()
            .filter(|(_, l)| !l.is_ending())
            .map(|(id, l)| view(l, self.rooms.of_leg(id)))
            .collect()
    }

    /// Numbers for `/metrics` and `/v1/capacity`.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let mut n = self.ctx.counters.clone();
        n.legs = u32::try_from(self.legs.live_count()).unwrap_or(u32::MAX);
        n.opus = self.opus_legs();
        n.media = self.legs.slots_used();
        n.rooms = u32::try_from(self.rooms.count()).unwrap_or(u32::MAX);
        n.playbacks = self.playbacks.used();
        n.recordings = self.recordings.used();
        let holding = self.legs.iter().filter(|(_, l)| l.port.is_some() || l.slot.is_some()).count();
        n.ports = u32::try_from(holding).unwrap_or(u32::MAX);
        n.transactions = self.ctx.sip.len();
        n.timers = self.legs.timers() + self.ctx.sip.timers();
        n.transaction_bytes = self.ctx.sip.pools().1.used();
        n.sip = self.ctx.sip.counters().clone();
        n
    }
}
