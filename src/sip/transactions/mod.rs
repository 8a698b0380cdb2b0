//! The transaction layer (RFC 3261 §17).

mod client_side;
mod layer;
mod server_side;

pub use layer::{ClientId, Counters, Event, Failure, Overload, ServerId, Transactions, Transmit};
pub use server_side::Admission;
