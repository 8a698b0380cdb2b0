//! Sounds to play: fetched, decoded, fed to the media thread.

pub mod decode;
pub mod feeder;
pub mod fetch;
pub mod tags;
