//! Whose packets a leg takes: the address lock. Nothing is played, answered or learned from anybody else.

use std::net::{IpAddr, SocketAddr};

/// The source of a leg's RTP.
#[derive(Debug, Clone)]
pub struct SourceLock {
    /// What the far end and its signalling said last.
    described: (SocketAddr, Option<IpAddr>),
    /// Address of the session description, and that of the signalling where the former is private.
    allowed: [Option<IpAddr>; 2],
    locked: Option<(SocketAddr, u32)>,
    /// Packets refused.
    foreign: u64,
}

/// What the lock says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// From the source in force.
    Take,
    /// From the source in force, which has begun a new stream: everything learned of the old one is void.
    NewStream,
    /// From somebody else.
    Refuse,
}

impl SourceLock {
    /// A lock that opens for the address of the session description, or the signalling's source where
    /// that address is private and another one.
    #[must_use]
    pub fn new(described: SocketAddr, signalling: Option<IpAddr>) -> Self {
        let ip = described.ip();
        let other = signalling.filter(|s| *s != ip && is_private(ip));
        Self { described: (described, signalling), allowed: [Some(ip), other], locked: None, foreign: 0 }
    }

    /// The far end described itself anew: the next good packet from there is learned again, unless it
    /// says what it said before (a refresh, also from behind NAT) or names the source in force.
    pub fn redescribe(&mut self, described: SocketAddr, signalling: Option<IpAddr>) {
        if self.described == (described, signalling) {
            return;
        }
        let foreign = self.foreign;
        let same = self.locked.is_some_and(|(at, _)| at == described);
        let locked = self.locked.filter(|_| same);
        *self = Self { locked, foreign, ..Self::new(described, signalling) };
    }

    /// Judges a packet. `known_type` is true when its payload type was negotiated.
    pub fn judge(&mut self, from: SocketAddr, ssrc: u32, known_type: bool) -> Verdict {
        let verdict = match self.locked {
            Some((at, s)) if at == from && s == ssrc => Verdict::Take,
            Some((at, _)) if at == from && known_type => Verdict::NewStream,
            None if known_type && self.allowed.contains(&Some(from.ip().to_canonical())) => {
                Verdict::NewStream
            }
            Some(_) | None => Verdict::Refuse,
        };
        match verdict {
            Verdict::NewStream => self.locked = Some((from, ssrc)),
            Verdict::Refuse => self.foreign += 1,
            Verdict::Take => {}
        }
        verdict
    }

    /// Where the far end's packets come from, once learned; ours go there.
    #[must_use]
    pub fn locked(&self) -> Option<SocketAddr> {
        self.locked.map(|(at, _)| at)
    }

    /// Packets refused so far.
    #[must_use]
    pub fn foreign(&self) -> u64 {
        self.foreign
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.is_loopback() || v4.is_unspecified(),
        IpAddr::V6(v6) => {
            v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback() || v6.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: &str) -> SocketAddr {
        s.parse().unwrap()
    }

    #[test]
    fn only_the_described_address_opens_it_and_then_only_one_port() {
        let mut l = SourceLock::new(at("203.0.113.5:9"), Some("198.51.100.1".parse().unwrap()));
        assert_eq!(l.judge(at("198.51.100.1:4000"), 1, true), Verdict::Refuse);
        assert_eq!(l.judge(at("203.0.113.5:4000"), 1, false), Verdict::Refuse);
        assert_eq!(l.judge(at("203.0.113.5:4000"), 1, true), Verdict::NewStream);
        assert_eq!(l.judge(at("203.0.113.5:4000"), 1, false), Verdict::Take);
        assert_eq!(l.judge(at("203.0.113.5:4002"), 1, true), Verdict::Refuse);
        assert_eq!(l.judge(at("203.0.113.5:4000"), 2, false), Verdict::Refuse);
        assert_eq!(l.judge(at("203.0.113.5:4000"), 2, true), Verdict::NewStream);
        assert_eq!((l.locked(), l.foreign()), (Some(at("203.0.113.5:4000")), 4));
    }

    #[test]
    fn behind_nat_the_signalling_address_counts_too() {
        let mut l = SourceLock::new(at("192.168.1.5:4000"), Some("198.51.100.1".parse().unwrap()));
        assert_eq!(l.judge(at("198.51.100.1:61000"), 1, true), Verdict::NewStream);
        assert_eq!(l.judge(at("192.168.1.5:4000"), 1, true), Verdict::Refuse);
        l.redescribe(at("192.168.1.5:4000"), Some("198.51.100.1".parse().unwrap()));
        assert_eq!(l.locked(), Some(at("198.51.100.1:61000")), "a refresh changes nothing");
    }

    #[test]
    fn a_new_description_opens_it_again() {
        let mut l = SourceLock::new(at("10.0.0.1:4000"), None);
        assert_eq!(l.judge(at("10.0.0.1:4000"), 1, true), Verdict::NewStream);
        l.redescribe(at("10.0.0.1:4000"), None);
        assert_eq!(l.judge(at("10.0.0.1:4000"), 1, true), Verdict::Take);
        l.redescribe(at("10.0.0.2:5000"), None);
        assert_eq!(l.locked(), None);
        assert_eq!(l.judge(at("10.0.0.1:4000"), 1, true), Verdict::Refuse);
        assert_eq!(l.judge(at("10.0.0.2:5000"), 1, true), Verdict::NewStream);
    }
}
