//! The calls' legs: which there are, and by what each is found.

mod opus;
mod registry;

pub use opus::OpusPlaces;
pub use registry::Legs;

#[cfg(test)]
mod registry_test;
