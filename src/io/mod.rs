//! Rank 5: the only room with sockets, clock, threads and files.

pub mod clock;
pub mod executor;
pub mod feeder;
pub mod http_client;
pub mod log;
pub mod media_thread;
pub mod recorder;
pub mod recv_batch;
pub mod resolve;
pub mod rtp_ports;
pub mod shell;
pub mod signals;
pub mod sip;
pub mod sip_tcp;
pub mod sockets;
pub mod state;
pub mod tcp;
pub mod timer;
pub mod udp;
pub mod wav_source;
