//! Rank 3: the media engine. Pure over an I/O trait; its tick neither allocates, locks, logs nor blocks.

pub mod amd;
mod coders;
pub mod command;
pub mod crypt;
mod decoders;
pub mod ears;
pub mod engine;
pub mod leg;
mod mix;
pub mod order;
pub mod play;
pub mod playout;
mod proof;
pub mod record;
pub mod room;
pub mod send;
mod share;
mod timeline;
mod turns;
pub mod wire;
