//! Our requests on their way: from a URI to an address, what each is for, and what outlives the call it was sent for.

mod bye;
mod client_auth;
mod forks;
mod notice;
mod request;
#[expect(clippy::module_inception, reason = "the part itself")]
mod requests;

pub use bye::{Bye, Parting};
pub use client_auth::ClientAuth;
pub use forks::Forks;
pub use notice::Notice;
pub use request::{OutboundRequest, RequestContext};
pub use requests::Requests;
