//! What endpoints must have in common to send one encoding, and each one's part in it.

use crate::codec::Codec;
use crate::codec::opus::Wishes;
use crate::media::command::{RoomSlot, Slot};

/// Ticks without anything of its own after which a leg joins others: 200 ms.
const SETTLED: u8 = 10;

/// What endpoints have in common that send one encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media) struct Key {
    /// `None`: they hear nothing.
    pub(super) room: Option<RoomSlot>,
    pub(super) codec: Codec,
    pub(super) wishes: Wishes,
    pub(super) ptime: u16,
    /// Samples of the packet that is being filled.
    pub(super) samples: usize,
}

/// An endpoint's part in sharing.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::media) struct Share {
    /// What it has in common with others in this tick.
    pub(in crate::media) key: Option<Key>,
    /// Whose payloads it sends.
    pub(in crate::media) follows: Option<Slot>,
    /// Others may follow it.
    pub(in crate::media) leads: bool,
    /// Ticks in which it had nothing of its own and heard the same room.
    settled: u8,
    /// The room it heard last.
    room: Option<RoomSlot>,
}

impl Share {
    /// Its encoder is about to hear something else: it leads nobody, and joins others again after a while.
    pub(in crate::media) fn unsettle(&mut self) {
        (self.leads, self.settled) = (false, 0);
    }

    /// A tick in which it hears `room`, and maybe `only_listens`; true when it may join others without a seam.
    pub(super) fn settle(&mut self, room: Option<RoomSlot>, only_listens: bool, is_new: bool) -> bool {
        if room != self.room {
            // Its encoder has heard something else: it joins those of the new room later, and leads none there before.
            self.room = room;
            self.unsettle();
        }
        let settled = self.settled;
        self.settled = if only_listens { settled.saturating_add(1) } else { 0 };
        only_listens && (is_new || settled >= SETTLED)
    }
}
