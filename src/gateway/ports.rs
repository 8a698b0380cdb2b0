//! The stock of socket pairs that the shell holds ready for media.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::media::command::PortId;

/// A bound RTP/RTCP socket pair, as the gateway knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub id: PortId,
    /// Our address as the far end should use it.
    pub address: IpAddr,
    /// RTP port; RTCP is the next one.
    pub port: u16,
}

/// Socket pairs that are free.
#[derive(Debug, Default)]
pub struct Ports {
    stock: VecDeque<Port>,
}

impl Ports {
    /// Adds a pair to the stock.
    pub fn add(&mut self, port: Port) {
        self.stock.push_back(port);
    }

    /// Takes back what a leg had, if it had one.
    pub fn give_back(&mut self, port: Option<Port>) {
        if let Some(port) = port {
            self.add(port);
        }
    }

    /// Takes a pair of the family of `peer`, or any if the family makes no difference.
    pub fn take(&mut self, peer: Option<IpAddr>) -> Option<Port> {
        let fits = |p: &Port| peer.is_none_or(|ip| ip.is_ipv4() == p.address.is_ipv4());
        let at = self.stock.iter().position(fits)?;
        self.stock.remove(at)
    }

    /// Pairs in stock whose address is this.
    #[must_use]
    pub fn stock(&self, address: IpAddr) -> usize {
        self.stock.iter().filter(|p| p.address == address).count()
    }

    /// True when there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stock.is_empty()
    }
}
