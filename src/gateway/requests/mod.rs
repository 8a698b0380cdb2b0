//! Our requests: from URI to target, their purpose, and requests that outlive their call.

mod bye;
mod client_auth;
mod forks;
mod notice;
mod redirections;
mod request;
#[expect(clippy::module_inception, reason = "the part itself")]
mod requests;
mod sending;

pub use bye::{Bye, Parting};
pub use client_auth::ClientAuth;
pub use forks::Forks;
pub use notice::Notice;
pub use redirections::{Redirections, without_headers};
pub use request::{OutboundRequest, RequestContext};
pub use requests::Requests;
pub use sending::{
    abandon_invite, bye_answered, can_reach, end_fork, handle_abandoned, send, send_ack, send_bye,
    send_owed_bye, transmit_bye,
};
