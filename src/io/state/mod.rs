//! The state directory and its damaged files.

pub mod damage;
pub mod directory;
pub mod trunk_store;
