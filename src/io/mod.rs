//! Rank 5: the only room with sockets, clock, threads and files.

pub mod clock;
pub mod connections;
pub mod dns;
pub mod errands;
pub mod executor;
pub mod feeder;
pub mod fetch;
pub mod http_client;
pub mod locate;
pub mod log;
pub mod media_thread;
pub mod recorder;
pub mod recv_batch;
pub mod rtp_ports;
pub mod secrets;
pub mod shell;
pub mod signals;
pub mod sip;
pub mod sip_stream;
pub mod sockets;
pub mod sound;
pub mod state;
pub mod tcp;
pub mod timer;
pub mod tls;
pub mod udp;
