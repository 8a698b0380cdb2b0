//! SIP call signalling; each part of a call owns its state.

mod call;
#[cfg(test)]
mod call_test;
mod crossing;
mod described;
mod dtmf_info;
mod early;
mod event;
mod failover;
mod hold;
mod inviting;
mod out_request;
mod outlived;
mod parts;
mod peer;
mod phase;
mod prack;
mod received_requests;
mod refer_out;
mod refusal_reasons;
mod reinvite;
mod sent_requests;
mod session;
mod session_timer;
mod subscription;
#[cfg(test)]
mod testing;

pub use call::SipCall;
pub use event::{CallEnded, CallEvent};
pub use inviting::Inviting;
pub use out_request::OutRequest;
pub use outlived::{OpenDialog, Outlived};
pub use peer::Peer;
pub use received_requests::Handled;
pub use subscription::event_of;
