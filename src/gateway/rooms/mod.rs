//! Rooms and their members.

mod joined;
mod room;
#[expect(clippy::module_inception, reason = "the part itself")]
mod rooms;

pub use joined::{JoinFlags, Joined};
pub use room::{ROOM_RATES, RoomView};
pub use rooms::{RoomEvent, Rooms};

#[cfg(test)]
mod rooms_test;
