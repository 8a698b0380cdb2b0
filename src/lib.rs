//! Branchline: a SIP gateway appliance in one lean process.
//!
//! Modules have ranks, ground first; a file may use lower ranks and its own room, never a sibling of
//! its rank (`tests/layers.rs` enforces it). Ranks 0 to 4 touch no socket, clock, thread or file.

pub mod api;
pub mod base; // rank 0
pub mod config; // rank 2
pub mod io; // rank 5 // rank 6
