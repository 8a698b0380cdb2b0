//! The running gateway as the API sees it.

use std::time::{Duration, Instant};

use super::clock;

/// The imperative shell.
#[derive(Debug)]
pub struct Shell {
    started: Instant,
}

impl Shell {
    /// A shell that starts now.
    #[must_use]
    pub fn new() -> Self {
        Self { started: clock::now().mono }
    }

    /// Time since the start.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        clock::now().mono - self.started
    }

    /// Why the gateway is not doing its work, if it is not.
    #[must_use]
    pub fn standing_still(&self) -> Option<String> {
        None
    }
}

impl Default for Shell {
    fn default() -> Self {
        Self::new()
    }
}
