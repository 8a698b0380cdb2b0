//! Legs, and their lookup.

mod digits_taken;
mod dtmf;
mod leg;
mod media;
mod opus;
mod registry;

pub use dtmf::Path;
pub use leg::{Leg, Signalling};
pub use media::{FarEnd, LegMedia};
pub use opus::OpusPlaces;
pub use registry::Legs;

#[cfg(test)]
mod registry_test;
