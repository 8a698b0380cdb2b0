//! The signals of a service manager, as something to wait for.

use std::io;

use async_signal::{Signal, Signals};
use smol::stream::StreamExt as _;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To stop; the signal's name.
    Stop(&'static str),
    /// To read the configuration again (SIGHUP).
    Reload,
}

/// The signals that the gateway listens to.
#[derive(Debug)]
pub struct Listening(Signals);

/// Starts listening for the signals.
///
/// # Errors
/// What the operating system says.
pub fn listen() -> io::Result<Listening> {
    Signals::new([Signal::Term, Signal::Int, Signal::Hup]).map(Listening)
}

impl Listening {
    /// Waits for one of them.
    pub async fn next(&mut self) -> Asked {
        match self.0.next().await {
            Some(Ok(Signal::Hup)) => Asked::Reload,
            Some(Ok(Signal::Int)) => Asked::Stop("SIGINT"),
            Some(_) | None => Asked::Stop("SIGTERM"),
        }
    }

    /// Waits for one that stops the gateway; its name.
    pub async fn stop(&mut self) -> &'static str {
        loop {
            if let Asked::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}
