//! Why a command fails, and what the program exits with then.

use super::client::Refusal;

/// It was tried and failed, or could not be begun.
pub const FAILED: u8 = 1;
/// Wrong arguments.
pub const USAGE: u8 = 2;
/// The gateway answers, but cannot test itself now: that says nothing about it.
pub const NOT_TESTED: u8 = 3;

/// Why a command fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// One line for the person; empty: all has been said.
    pub text: String,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        refusal.text.into()
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self { code: FAILED, text }
    }
}
