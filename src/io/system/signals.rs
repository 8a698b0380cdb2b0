//! Signals of the service manager as async events.

use std::io;

use async_signal::{Signal, Signals};
use smol::stream::StreamExt as _;

/// Meaning of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Stop; name of the signal.
    Stop(&'static str),
    /// Reload the configuration (SIGHUP).
    Reload,
}

/// The signals handled by the gateway.
#[derive(Debug)]
pub struct Listening(Signals);

/// Installs the signal handlers.
///
/// # Errors
/// Errors of the operating system.
pub fn listen() -> io::Result<Listening> {
    Signals::new([Signal::Term, Signal::Int, Signal::Hup]).map(Listening)
}

impl Listening {
    /// Waits for the next signal.
    pub async fn next(&mut self) -> Asked {
        match self.0.next().await {
            Some(Ok(Signal::Hup)) => Asked::Reload,
            Some(Ok(Signal::Int)) => Asked::Stop("SIGINT"),
            Some(_) | None => Asked::Stop("SIGTERM"),
        }
    }

    /// Waits for a signal that stops the gateway; returns its name.
    pub async fn stop(&mut self) -> &'static str {
        loop {
            if let Asked::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}
