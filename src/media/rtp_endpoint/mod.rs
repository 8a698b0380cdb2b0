//! A leg's far end over RTP: what it receives, decodes, encodes and sends.

pub mod coders;
mod decoders;
pub mod playout;
pub(super) mod proof;
pub mod renegotiation;
pub mod srtp_session;
mod timeline;
pub mod transport;
