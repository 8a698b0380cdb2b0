//! Legs, and their lookup.

pub mod amd;
mod digits_taken;
mod dtmf;
mod leg;
pub mod leg_id;
pub mod leg_view;
mod media;
pub mod member;
mod opus;
mod registry;

pub use dtmf::Path;
pub use leg::{Leg, Signalling};
pub use media::{FarEnd, LegMedia};
pub use opus::OpusPlaces;
pub use registry::Legs;

#[cfg(test)]
mod registry_test;
