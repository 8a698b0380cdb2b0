//! Socket pairs prepared by the shell for media.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::media::command::PortId;

/// A bound RTP/RTCP socket pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// Its id.
    pub id: PortId,
    /// Our address as announced to the far end.
    pub address: IpAddr,
    /// RTP port; RTCP uses the next one.
    pub port: u16,
}

/// Free socket pairs.
#[derive(Debug, Default)]
pub struct Ports {
    stock: VecDeque<Port>,
}

impl Ports {
    /// Adds a pair.
    pub fn add(&mut self, port: Port) {
        self.stock.push_back(port);
    }

    /// Returns the pair of a leg, if it had one.
    pub fn give_back(&mut self, port: Option<Port>) {
        if let Some(port) = port {
            self.add(port);
        }
    }

    /// Takes a pair of the address family of `peer`, or of any.
    pub fn take(&mut self, peer: Option<IpAddr>) -> Option<Port> {
        let fits = |p: &Port| peer.is_none_or(|ip| ip.is_ipv4() == p.address.is_ipv4());
        let at = self.stock.iter().position(fits)?;
        self.stock.remove(at)
    }

    /// Number of free pairs with this address.
    #[must_use]
    pub fn stock(&self, address: IpAddr) -> usize {
        self.stock.iter().filter(|p| p.address == address).count()
    }

    /// True without free pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stock.is_empty()
    }
}
