//! Rank 3: the media engine. Pure over an I/O trait; its tick neither allocates, locks, logs nor blocks.

pub mod amd;
pub mod analysis;
pub mod coders;
pub mod command;
mod decoders;
pub mod engine;
pub mod leg;
pub mod messages;
mod mix;
pub mod play;
pub mod playout;
mod proof;
pub mod record;
pub mod renegotiation;
pub mod room;
pub mod rtp_sender;
mod schedule;
mod shared_encoding;
pub mod srtp_session;
mod timeline;
pub mod transport;
