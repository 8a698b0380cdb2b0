//! Processing order of the legs: room by room, those without a room last, so that a room's legs, and their
//! sockets in the kernel, stay in the processor cache while it is processed.

use super::command::{RoomSlot, Slot};
use super::party::Party;
use super::rtp_endpoint::transport::MediaTransport;

/// Parties by the slots of their legs.
pub(super) type Parties<W> = [Option<Box<Party<W>>>];

/// The party in a slot, if there is one.
pub(super) fn at<W>(parties: &mut Parties<W>, slot: Slot) -> Option<&mut Party<W>> {
    parties.get_mut(usize::from(slot))?.as_deref_mut()
}

/// A leg's entry in the schedule.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turn {
    /// Sort key: the room; the largest value for none.
    order: u32,
    /// The leg.
    pub(super) slot: Slot,
    /// Rate of its frames, Hz.
    pub(super) rate: u32,
}

impl Turn {
    /// Its room.
    pub(super) fn room(self) -> Option<RoomSlot> {
        RoomSlot::try_from(self.order).ok()
    }
}

/// The schedule of all legs.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    turns: Box<[Turn]>,
    count: usize,
}

impl Schedule {
    /// A schedule with capacity for this many legs.
    pub(super) fn new(legs: usize) -> Self {
        Self { turns: vec![Turn::default(); legs].into_boxed_slice(), count: 0 }
    }

    /// Recomputes the order, after a leg was added, removed or changed its room.
    pub(super) fn arrange<W: MediaTransport>(&mut self, parties: &Parties<W>) {
        let there = parties.iter().enumerate().filter_map(|(i, p)| Some((i as Slot, p.as_ref()?)));
        self.count = 0;
        for (turn, (slot, party)) in self.turns.iter_mut().zip(there) {
            *turn =
                Turn { order: party.membership.room.map_or(u32::MAX, u32::from), slot, rate: party.rate() };
            self.count += 1;
        }
        if let Some(turns) = self.turns.get_mut(..self.count) {
            turns.sort_unstable_by_key(|t| (t.order, t.slot));
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Turn] {
        self.turns.get(..self.count).unwrap_or_default()
    }

    /// The legs of one room after another; those without a room as the last group.
    pub(super) fn by_room(&self) -> impl Iterator<Item = &[Turn]> {
        self.all().chunk_by(|a, b| a.order == b.order)
    }
}
