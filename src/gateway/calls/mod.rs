//! Calls: setup, message dispatch, and outcome.

#[expect(clippy::module_inception, reason = "the part itself")]
mod calls;
mod outcome;
mod setup;
mod surroundings;
mod x_headers;

pub use calls::Calls;
pub use surroundings::Surroundings;
