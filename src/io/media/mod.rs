//! The media thread, its memory and its sockets.

pub mod media_memory;
pub mod media_plan;
pub mod media_thread;
pub mod recv_batch;
pub mod rtp_ports;
