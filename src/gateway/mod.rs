//! Rank 4: the gateway itself, pure: it owns every leg, room, transaction and dialog, opens no socket,
//! reads no clock and spawns nothing. The shell feeds it and drains it.

pub mod admission;
pub mod amd;
mod api_calls;
pub mod bodies;
mod call_events;
mod calls;
pub mod capabilities;
pub mod changed;
pub mod command;
pub mod context;
pub mod core;
pub mod counters;
pub mod error;
pub mod events;
pub mod expiry;
pub mod leg_id;
pub mod leg_view;
pub mod legs;
mod media_calls;
pub mod member;
mod offers;
pub mod outputs;
pub mod owner;
pub mod playback;
pub mod ports;
pub mod recording;
pub mod refusal;
pub mod registrar;
pub mod replies;
pub mod requests;
pub mod rooms;
pub mod self_test;
pub mod sip_call;
pub mod slots;
#[cfg(test)]
mod testing;
pub mod transfers;
pub mod trunks;
pub mod work;

pub use self::core::Gateway;
pub use error::GatewayError;
