//! The key of endpoints that can share one encoding, and each one's role in it.

use crate::codec::Codec;
use crate::codec::opus::OpusFmtp;
use crate::media::command::{RoomSlot, Slot};

/// Ticks without a signal of its own after which a leg shares an encoding: 200 ms.
const SETTLED: u8 = 10;

/// What endpoints must have in common to share one encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media) struct Key {
    /// `None`: they hear silence.
    pub(super) room: Option<RoomSlot>,
    pub(super) codec: Codec,
    pub(super) wishes: OpusFmtp,
    pub(super) ptime: u16,
    /// Samples in the packet being filled.
    pub(super) samples: usize,
}

/// An endpoint's role in shared encoding.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::media) struct Share {
    /// Its key in this tick.
    pub(in crate::media) key: Option<Key>,
    /// The leg whose payloads it sends.
    pub(in crate::media) follows: Option<Slot>,
    /// Other legs may follow it.
    pub(in crate::media) leads: bool,
    /// Ticks in which it contributed nothing and heard the same room.
    settled: u8,
    /// The room it heard last.
    room: Option<RoomSlot>,
}

impl Share {
    /// Its encoder state is about to diverge: it stops leading, and may join again after a while.
    pub(in crate::media) fn unsettle(&mut self) {
        (self.leads, self.settled) = (false, 0);
    }

    /// Records a tick in which it hears `room`, and maybe `only_listens`; true if it may join others without
    /// an audible discontinuity.
    pub(super) fn settle(&mut self, room: Option<RoomSlot>, only_listens: bool, is_new: bool) -> bool {
        if room != self.room {
            // Its encoder state differs from those of the new room: it joins later, and does not lead there
            // before.
            self.room = room;
            self.unsettle();
        }
        let settled = self.settled;
        self.settled = if only_listens { settled.saturating_add(1) } else { 0 };
        only_listens && (is_new || settled >= SETTLED)
    }
}
