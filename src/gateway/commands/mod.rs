//! What the API can do, each resource with the parts that it takes.

mod accounts;
mod audio;
mod legs;
mod rooms;

pub use accounts::AccountCommands;
pub use audio::AudioCommands;
pub use legs::LegCommands;
pub use rooms::RoomCommands;
