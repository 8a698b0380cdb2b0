//! The SIP sockets: UDP, TCP and TLS.

pub mod bind;
pub mod connections;
pub mod handshakes;
pub mod stream;
pub mod udp;
