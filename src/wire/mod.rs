//! Rank 1: SIP wire format (RFC 3261 §7, §19, §25). Parses bytes into validated types.

pub mod authorization;
pub mod body;
pub mod challenge;
pub mod crypto;
pub mod dns;
mod dns_reader;
#[cfg(test)]
mod dns_test;
pub mod draft;
mod error;
pub mod headers;
mod limits;
pub mod message;
pub mod method;
pub mod name_addr;
pub mod params;
mod parse;
mod refusal;
pub mod replaces;
mod same_uri;
pub mod start_line;
pub mod stream;
pub mod uri;
pub mod via;

pub use body::Body;
pub use draft::Draft;
pub use error::WireError;
pub use limits::{MAX_HEADERS, MAX_MESSAGE};
pub use message::{Common, Message, Request, Response};
pub use method::Method;
pub use name_addr::NameAddr;
pub use parse::parse;
pub use refusal::{ErrorResponse, Refusal};
pub use uri::{Host, Uri};
pub use via::Via;
