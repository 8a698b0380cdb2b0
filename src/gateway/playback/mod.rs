//! Playbacks on legs and rooms.

mod playbacks;
mod sound;

pub use playbacks::Playbacks;
pub use sound::{Sound, VOLUMES, tone};

#[cfg(test)]
mod playbacks_test;
