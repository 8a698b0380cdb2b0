//! Our own announced addresses.

use std::net::{IpAddr, SocketAddr};

use super::flow::{Flow, Transport};
use crate::base::net::is_private;

/// Our announced addresses, by family.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Locals {
    /// IPv4 address and SIP port.
    pub v4: Option<SocketAddr>,
    /// IPv6 address and SIP port.
    pub v6: Option<SocketAddr>,
    /// Port of SIP over TLS, if listening.
    pub tls_port: Option<u16>,
    /// Public IPv4 address in front of NAT; announced to far ends outside.
    pub external: Option<IpAddr>,
}

impl Locals {
    /// Our address as seen by the far end at `target`: of its family, if we have one.
    #[must_use]
    pub fn for_target(&self, target: Flow) -> Option<SocketAddr> {
        let mut ours = self.for_peer(target.addr.ip())?;
        if target.transport == Transport::Tls {
            ours.set_port(self.tls_port.unwrap_or(Transport::Tls.default_port()));
        }
        Some(ours)
    }

    /// Our address and UDP/TCP port as seen by `peer`.
    #[must_use]
    pub fn for_peer(&self, peer: IpAddr) -> Option<SocketAddr> {
        let ours = if peer.is_ipv4() { self.v4.or(self.v6) } else { self.v6.or(self.v4) }?;
        Some(SocketAddr::new(self.seen_by(ours.ip(), peer), ours.port()))
    }

    /// One of our addresses as seen by `peer`.
    #[must_use]
    pub fn seen_by(&self, ours: IpAddr, peer: IpAddr) -> IpAddr {
        match self.external {
            Some(external) if external.is_ipv4() == ours.is_ipv4() && !is_private(peer) => external,
            Some(_) | None => ours,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_ends_beyond_the_router_get_its_address() {
        let locals = Locals {
            v4: Some("192.168.1.2:5060".parse().unwrap()),
            external: Some("203.0.113.5".parse().unwrap()),
            ..Locals::default()
        };
        let at = |ip: &str| locals.for_peer(ip.parse().unwrap()).unwrap().to_string();
        assert_eq!(at("192.168.1.77"), "192.168.1.2:5060");
        assert_eq!(at("198.51.100.1"), "203.0.113.5:5060");
        let tls = Flow { transport: Transport::Tls, addr: "192.168.1.9:5061".parse().unwrap(), conn: None };
        assert_eq!(locals.for_target(tls).unwrap().port(), 5061);
    }
}
