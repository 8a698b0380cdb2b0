//! The SIP sockets: UDP, TCP and TLS.

pub mod bind;
pub mod connections;
pub mod handshakes;
pub mod sink;
pub mod stream;
pub mod streams;
pub mod udp;
