//! A leg's far end over RTP: receiving, decoding, encoding and sending.

pub mod coders;
mod decoders;
pub mod endpoint;
pub mod playout;
mod proof;
pub(super) mod receive;
pub mod renegotiation;
pub mod sender;
pub(super) mod sharing;
pub mod srtp_session;
mod timeline;
mod transmit;
pub mod transport;
