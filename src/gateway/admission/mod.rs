//! Whose messages are heard, and what each source may have.

mod call_shares;
mod gate;
mod sources;

pub use gate::Gate;
pub use sources::Sources;

#[cfg(test)]
mod sources_test;
