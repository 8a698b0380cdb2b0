//! Failures of commands and their exit codes.

use super::client::Refusal;

/// Tried and failed, or could not be started.
pub const FAILED: u8 = 1;
/// Wrong arguments.
pub const USAGE: u8 = 2;
/// The gateway responds, but cannot test itself now: no result.
pub const NOT_TESTED: u8 = 3;

/// Failure of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// One-line error text; empty: already printed.
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
