//! Rank 3: SIP transactions, dialogs and sessions, sans-IO: time is an argument, outputs are polled.

pub mod client_invite;
pub mod client_non_invite;
pub mod dialog;
pub mod digest;
pub mod digest_server;
pub mod flow;
pub mod keyed_hash;
pub mod limiter;
pub mod locals;
pub mod locate;
pub mod locator;
#[cfg(test)]
mod locator_test;
pub mod proven;
pub mod resolver;
pub mod server_invite;
pub mod server_non_invite;
pub mod session_timer;
pub mod table;
mod timers;
mod transaction_machine;
pub mod transactions;
#[cfg(test)]
mod virtual_time;

pub use timers::{T1, T2, T4, TIMEOUT};
pub use transaction_machine::{Bytes, Output};
