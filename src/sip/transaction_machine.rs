//! Common interface of the four transaction state machines of RFC 3261 §17.

use std::sync::Arc;
use std::time::Instant;

/// A serialized message; shared, so that retransmissions need no copy.
pub type Bytes = Arc<[u8]>;

/// Output of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes to the transaction's peer.
    Transmit(Bytes),
    /// No final response in time (timers B, F, or after CANCEL).
    TimedOut,
    /// No ACK to a final response (timers H, L).
    AckMissing,
}

/// A transaction state machine: events enter by its own methods, timers and outputs by these.
pub(super) trait Machine {
    /// Fires timers due at `now`.
    fn handle_timeout(&mut self, now: Instant);

    /// The next output, until `None`.
    fn poll(&mut self) -> Option<Output>;

    /// When to call [`Self::handle_timeout`] next, and the name of the timer; `None` without running timers.
    fn poll_timeout(&self) -> Option<(Instant, &'static str)>;

    /// True once the transaction has terminated.
    fn is_terminated(&self) -> bool;
}
