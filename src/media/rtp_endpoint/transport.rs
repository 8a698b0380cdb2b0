//! The sockets of a leg, as the engine sees them.

use std::net::{Ipv4Addr, SocketAddr};

use crate::rtp::MAX_DATAGRAM;

/// Datagrams read at once; the rest is read by a further call.
pub const BATCH: usize = 16;

/// One received datagram.
#[derive(Debug, Clone)]
pub struct Datagram {
    /// Contents; `len` bytes are valid.
    pub bytes: [u8; MAX_DATAGRAM],
    /// Valid bytes.
    pub len: usize,
    /// Sender.
    pub from: SocketAddr,
    /// Arrival time in the kernel, nanoseconds.
    pub arrival_ns: u64,
}

/// Buffer for the datagrams of one call, allocated once for the whole engine.
#[derive(Debug)]
pub struct Batch {
    /// The datagrams; the first `len` are valid.
    pub items: Box<[Datagram]>,
    /// How many are valid.
    pub len: usize,
}

impl Default for Batch {
    fn default() -> Self {
        let from = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let empty = Datagram { bytes: [0; MAX_DATAGRAM], len: 0, from, arrival_ns: 0 };
        Self { items: vec![empty; BATCH].into_boxed_slice(), len: 0 }
    }
}

/// The two sockets of a leg. All calls are non-blocking.
pub trait MediaTransport {
    /// Reads received RTP.
    fn receive(&mut self, batch: &mut Batch);
    /// Reads received RTCP.
    fn receive_rtcp(&mut self, batch: &mut Batch);
    /// Sends RTP; dropped if the kernel's buffer is full.
    fn send(&mut self, to: SocketAddr, bytes: &[u8]);
    /// Sends RTCP.
    fn send_rtcp(&mut self, to: SocketAddr, bytes: &[u8]);
}
