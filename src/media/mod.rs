//! Rank 3: the media engine. Pure over an I/O trait; its tick neither allocates, locks, logs nor blocks.

pub mod amd;
pub mod analysis;
pub mod command;
pub mod engine;
pub mod leg;
pub mod messages;
mod mix;
pub mod play;
pub mod record;
pub mod room;
pub mod rtp_endpoint;
pub mod rtp_sender;
mod schedule;
mod shared_encoding;
