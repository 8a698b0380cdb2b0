//! SIGTERM and SIGINT, as something to wait for.

use std::io;

use async_signal::{Signal, Signals};
use smol::stream::StreamExt as _;

/// The signals that stop the gateway.
#[derive(Debug)]
pub struct Stop(Signals);

/// Starts listening for the signals.
///
/// # Errors
/// What the operating system says.
pub fn stop() -> io::Result<Stop> {
    Signals::new([Signal::Term, Signal::Int]).map(Stop)
}

impl Stop {
    /// Waits for one of them; its name.
    pub async fn wait(&mut self) -> &'static str {
        match self.0.next().await {
            Some(Ok(Signal::Int)) => "SIGINT",
            Some(_) | None => "SIGTERM",
        }
    }
}
