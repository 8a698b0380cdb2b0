//! What the four transaction machines of RFC 3261 §17 have in common.

use std::sync::Arc;
use std::time::Instant;

/// A message as it goes out; kept for retransmission without copying.
pub type Bytes = Arc<[u8]>;

/// What a transaction machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes where the transaction sends.
    Transmit(Bytes),
    /// A client transaction got no final response in time (timers B, F, or after CANCEL).
    TimedOut,
    /// No ACK came for a final response (timers H, L).
    AckMissing,
}

/// A transaction on its way: fed by its own methods, driven and drained by these.
pub(super) trait Machine {
    /// Fires what is due at `now`.
    fn handle_timeout(&mut self, now: Instant);

    /// The next output, until `None`.
    fn poll(&mut self) -> Option<Output>;

    /// When to call [`Self::handle_timeout`] next, and which timer it is; `None` when none runs.
    fn poll_timeout(&self) -> Option<(Instant, &'static str)>;

    /// True when nothing more can come of it.
    fn is_terminated(&self) -> bool;
}
