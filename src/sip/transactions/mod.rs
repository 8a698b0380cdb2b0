//! The transaction layer (RFC 3261 §17).

mod client_side;
mod client_transaction;
mod event;
mod layer;
mod server_side;
mod server_transaction;
mod transmit;

pub use event::{ClientId, Event, Failure, Overload, ServerId};
pub use layer::{Counters, Transactions};
pub use server_side::Admission;
pub use transmit::Transmit;
