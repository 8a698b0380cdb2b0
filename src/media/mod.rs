//! Rank 3: the media engine. Pure over an I/O trait; its tick neither allocates, locks, logs nor blocks.

pub mod amd;
pub mod analysis;
pub mod command;
pub mod converters;
mod digit_queue;
pub mod endpoint;
pub mod engine;
pub mod messages;
mod mix;
mod mute_state;
pub mod party;
pub mod play;
pub mod record;
pub mod room;
pub mod rtp_endpoint;
mod schedule;
mod shared_encoding;
