//! Rank 1: SIP on the wire (RFC 3261 §7, §19, §25). Bytes become types whose contents need no second check.

pub mod authorization;
pub mod body;
pub mod challenge;
pub mod crypto;
pub mod dns;
mod dns_reader;
#[cfg(test)]
mod dns_test;
pub mod draft;
pub mod headers;
pub mod message;
pub mod method;
pub mod name_addr;
pub mod params;
pub mod replaces;
mod same_uri;
pub mod start_line;
pub mod stream;
pub mod uri;
pub mod via;

pub use body::Body;
pub use draft::Draft;
pub use message::{Message, Refusal, Request, Response, WireError};
pub use method::Method;
pub use name_addr::NameAddr;
pub use uri::{Host, Uri};
pub use via::Via;

/// Largest SIP message taken or sent, bytes.
pub const MAX_MESSAGE: usize = 65_535;
/// Most header lines of one message; more are refused.
pub const MAX_HEADERS: usize = 256;
