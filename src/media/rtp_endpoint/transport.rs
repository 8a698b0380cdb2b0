//! The sockets of a leg, as the engine sees them.

use std::net::{Ipv4Addr, SocketAddr};

use crate::rtp::MAX_DATAGRAM;

/// Datagrams taken in one go; what is left waits for the next tick.
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
    /// When the kernel got it, nanoseconds of a steady count.
    pub arrival_ns: u64,
}

/// Room for the datagrams of one call, allocated once for the whole engine.
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

/// The two sockets of a leg. None of these calls waits.
pub trait MediaTransport {
    /// Takes what has come for RTP.
    fn receive(&mut self, batch: &mut Batch);
    /// Takes what has come for RTCP.
    fn receive_rtcp(&mut self, batch: &mut Batch);
    /// Sends RTP; what the kernel has no room for is lost.
    fn send(&mut self, to: SocketAddr, bytes: &[u8]);
    /// Sends RTCP.
    fn send_rtcp(&mut self, to: SocketAddr, bytes: &[u8]);
}
