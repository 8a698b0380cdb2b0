//! Signals of the service manager as async events.

use std::io;

use async_channel::Receiver;
use async_signal::{Signal, Signals};
use smol::stream::StreamExt as _;

use super::executor::Executor;

/// Meaning of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Stop; name of the signal.
    Stop(&'static str),
    /// Reload the configuration (SIGHUP).
    Reload,
}

/// The signals that arrive.
#[derive(Debug)]
pub struct Listening(Receiver<Asked>);

/// Installs the signal handlers.
///
/// # Errors
/// Errors of the operating system.
pub fn listen(executor: &Executor) -> io::Result<Listening> {
    let mut signals = Signals::new([Signal::Term, Signal::Int, Signal::Hup])?;
    let (tell, arriving) = async_channel::bounded(1);
    // In a task of its own: the main future is polled at each turn of the executor, and would read the signal pipe.
    executor.spawn(async move {
        while let Some(signal) = signals.next().await {
            let asked = match signal {
                Ok(Signal::Hup) => Asked::Reload,
                Ok(Signal::Int) => Asked::Stop("SIGINT"),
                Ok(_) | Err(_) => Asked::Stop("SIGTERM"),
            };
            if tell.send(asked).await.is_err() {
                return;
            }
        }
    });
    Ok(Listening(arriving))
}

impl Listening {
    /// Waits for the next signal.
    pub async fn next(&self) -> Asked {
        self.0.recv().await.unwrap_or(Asked::Stop("SIGTERM"))
    }

    /// Waits for a signal that stops the gateway; returns its name.
    pub async fn stop(&self) -> &'static str {
        loop {
            if let Asked::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}
