//! Rank 5: the only room with sockets, clock, threads and files.

pub mod clock;
pub mod executor;
pub mod log;
pub mod resolve;
pub mod shell;
pub mod signals;
pub mod sip;
pub mod sip_tcp;
pub mod state;
pub mod tcp;
pub mod timer;
pub mod udp;
