//! Sounds to play: fetched, decoded, passed to the media thread.

pub mod decode;
pub mod feeder;
pub mod fetch;
pub mod tags;
