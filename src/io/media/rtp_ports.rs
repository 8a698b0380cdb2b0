//! The pool of bound RTP/RTCP socket pairs, and a pair as media transport.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::recv_batch;
use crate::config::Rtp;
use crate::gateway::resources::ports::Port;
use crate::io::net::sockets;
use crate::io::system::clock;
use crate::media::command::PortId;
use crate::media::rtp_endpoint::transport::{Batch, MediaTransport};

/// Pairs kept ready per address family.
pub const STOCK: usize = 16;

/// Two bound sockets, RTP on an even port and RTCP on the next.
#[derive(Debug)]
pub struct Pair {
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

/// Binds pairs from the configured range.
#[derive(Debug)]
pub struct PortPool {
    /// Address to bind, and address to advertise.
    families: Vec<(IpAddr, IpAddr)>,
    range: Option<(u16, u16)>,
    next: u16,
    last_id: PortId,
    pairs: BTreeMap<PortId, Pair>,
}

impl PortPool {
    /// A pool for these addresses: address to bind, and address to advertise.
    #[must_use]
    pub fn new(families: Vec<(IpAddr, IpAddr)>, rtp: &Rtp) -> Self {
        let first = rtp.port_min.saturating_add(rtp.port_min % 2);
        let range = (rtp.port_max > 0).then_some((first, rtp.port_max));
        Self { families, range, next: first, last_id: 0, pairs: BTreeMap::new() }
    }

    /// Maximum legs allowed by the port range.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.range.map_or(16_384, |(min, max)| (u32::from(max) + 1 - u32::from(min)) / 2)
    }

    /// Addresses to bind, each with the address to advertise.
    #[must_use]
    pub fn families(&self) -> Vec<(IpAddr, IpAddr)> {
        self.families.clone()
    }

    /// Binds a pair on `bound`, advertised as `ours`; `None` if the range is used up.
    pub fn bind(&mut self, bound: IpAddr, ours: IpAddr) -> Option<Port> {
        let (port, pair) = self.bind_pair(bound)?;
        self.last_id = self.last_id.wrapping_add(1);
        self.pairs.insert(self.last_id, pair);
        Some(Port { id: self.last_id, address: ours, port })
    }

    fn bind_pair(&mut self, ip: IpAddr) -> Option<(u16, Pair)> {
        let Some((min, max)) = self.range else {
            return (0..20).find_map(|_| free_pair(ip).ok());
        };
        let steps = (max - min) / 2 + 1;
        for _ in 0..steps {
            let port = self.next;
            self.next = if port >= max - 2 { min } else { port + 2 };
            if port < max
                && let Ok(pair) = pair_at(ip, port)
            {
                return Some((port, pair));
            }
        }
        None
    }

    /// Removes a pair from the pool, for the engine.
    pub fn take(&mut self, id: PortId) -> Option<Pair> {
        self.pairs.remove(&id)
    }
}

fn pair_at(ip: IpAddr, port: u16) -> io::Result<Pair> {
    let bind = |port: u16| -> io::Result<UdpSocket> {
        let socket = sockets::udp(SocketAddr::new(ip, port))?;
        recv_batch::prepare(&socket);
        Ok(socket)
    };
    Ok(Pair { rtp: bind(port)?, rtcp: bind(port + 1)? })
}

fn free_pair(ip: IpAddr) -> io::Result<(u16, Pair)> {
    let probe = sockets::udp(SocketAddr::new(ip, 0))?;
    let port = probe.local_addr()?.port() & !1;
    drop(probe);
    Ok((port, pair_at(ip, port)?))
}

fn now_ns() -> u64 {
    u64::try_from(clock::now().utc.0.as_nanos()).unwrap_or(u64::MAX)
}

impl MediaTransport for Pair {
    fn receive(&mut self, batch: &mut Batch) {
        recv_batch::receive(&self.rtp, batch, now_ns());
    }

    fn receive_rtcp(&mut self, batch: &mut Batch) {
        recv_batch::receive(&self.rtcp, batch, now_ns());
    }

    fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        // A packet is lost if the buffer is full or the host unreachable, as in the network.
        let _sent = self.rtp.send_to(bytes, to);
    }

    fn send_rtcp(&mut self, to: SocketAddr, bytes: &[u8]) {
        let _sent = self.rtcp.send_to(bytes, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_even_and_odd_and_carry_receive_times() {
        let rtp = Rtp { port_min: 40_001, port_max: 40_200, ..crate::config::Config::default().rtp };
        let local: IpAddr = [127, 0, 0, 1].into();
        let mut pool = PortPool::new(vec![(local, local)], &rtp);
        let port = pool.bind(local, local).unwrap();
        assert_eq!((port.port % 2, pool.capacity()), (0, 99));
        let mut pair = pool.take(port.id).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let before = now_ns();
        for i in 0..20u8 {
            sender.send_to(&[i; 50], SocketAddr::new(local, port.port)).unwrap();
        }
        let mut batch = Batch::default();
        pair.receive(&mut batch);
        assert_eq!((batch.len, batch.items[3].len, batch.items[3].bytes[0]), (16, 50, 3));
        assert_eq!(batch.items[0].from, sender.local_addr().unwrap());
        assert!((before..=now_ns()).contains(&batch.items[0].arrival_ns));
        pair.receive(&mut batch);
        assert_eq!(batch.len, 4);
        pair.receive(&mut batch);
        assert_eq!(batch.len, 0);
    }
}
