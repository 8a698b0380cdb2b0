//! Rank 5: the only module with sockets, clocks, threads and files.

pub mod driver;
pub mod events;
pub mod media;
pub mod memory_bound;
pub mod net;
pub mod outbox;
mod pending_replies;
pub mod recording;
pub mod sip;
pub mod sound;
pub mod state;
pub mod status;
pub mod system;
pub mod tasks;
pub mod wav;
