//! Rank 3: SIP transactions, dialogs and sessions, sans-IO: time is an argument, outputs are polled.

pub mod client;
pub mod client_invite;
pub mod dialog;
pub mod digest;
pub mod digest_server;
pub mod keyed_hash;
pub mod limiter;
pub mod locals;
pub mod locate;
pub mod locator;
#[cfg(test)]
mod locator_test;
mod machine;
pub mod proven;
pub mod resolver;
pub mod server;
pub mod server_invite;
pub mod session_timer;
pub mod table;
pub mod target;
pub mod transactions;
#[cfg(test)]
mod virtual_time;

use std::sync::Arc;
use std::time::Duration;

/// Round-trip estimate (RFC 3261 §17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// Longest interval between retransmissions of non-INVITE requests and INVITE responses.
pub const T2: Duration = Duration::from_secs(4);
/// Longest time a message stays in the network.
pub const T4: Duration = Duration::from_secs(5);
/// Timers B, F, H, L, M: how long a transaction waits at all.
pub const TIMEOUT: Duration = Duration::from_secs(32);

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
