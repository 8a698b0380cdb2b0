//! API commands by resource, each with the parts it operates on.

mod accounts;
mod audio;
mod legs;
mod rooms;

pub use accounts::AccountCommands;
pub use audio::AudioCommands;
pub use legs::LegCommands;
pub use rooms::RoomCommands;
