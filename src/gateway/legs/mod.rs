//! The calls' legs: which there are, and by what each is found.

mod media;
mod opus;
mod registry;

pub use media::{FarEnd, LegMedia};
pub use opus::OpusPlaces;
pub use registry::Legs;

#[cfg(test)]
mod registry_test;
