//! The calls' legs: which there are, and by what each is found.

mod registry;

pub use registry::Legs;

#[cfg(test)]
mod registry_test;
