//! Admission control: who may send requests, and the quota of each source.

mod call_shares;
mod gate;
mod sources;

pub use gate::Gate;
pub use sources::Sources;

#[cfg(test)]
mod sources_test;
