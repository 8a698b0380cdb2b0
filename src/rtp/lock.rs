//! RTP source filter (address lock): packets of other sources are neither played nor answered nor used for
//! anything.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::base::net::is_private;

/// RTP source addresses accepted in addition to the one in the SDP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RtpSource {
    /// Networks of a far end with several addresses; as narrow as allowed for a trunk.
    pub networks: Vec<IpNet>,
    /// Any address, after probation.
    pub symmetric: bool,
}

/// Number of replaced audio SSRCs remembered, and consecutive packets after which one of them becomes current
/// again.
const MAX_REPLACED: usize = 4;
const RETURNED: u8 = 4;

/// The SSRC of the audio stream. A new SSRC takes over at once; a replaced one, e.g. after an announcement,
/// only returns when the new one has stopped, so that of two concurrent streams one is played and not
/// fragments of both.
#[derive(Debug, Clone, Default)]
struct Voice {
    ssrc: Option<u32>,
    replaced: heapless::Deque<u32, MAX_REPLACED>,
    /// Packets of replaced SSRCs since the last packet of the current one.
    since: u8,
}

impl Voice {
    fn judge(&mut self, ssrc: u32, content: Content) -> Verdict {
        if self.ssrc == Some(ssrc) {
            self.since = 0;
            return Verdict::Take;
        }
        match content {
            Content::Event => Verdict::Beside,
            Content::Unknown => Verdict::Refuse,
            Content::Audio => {
                if self.replaced.iter().any(|r| *r == ssrc) {
                    self.since += 1;
                    if self.since < RETURNED {
                        return Verdict::Refuse;
                    }
                }
                self.take_over(ssrc);
                Verdict::NewStream
            }
        }
    }

    fn take_over(&mut self, ssrc: u32) {
        self.since = 0;
        let Some(old) = self.ssrc.replace(ssrc).filter(|old| *old != ssrc) else { return };
        if self.replaced.iter().any(|r| *r == old) {
            return;
        }
        if self.replaced.is_full() {
            let _forgotten = self.replaced.pop_front();
        }
        // Cannot fail: the oldest entry was removed above.
        let _kept = self.replaced.push_back(old);
    }
}

/// Source filter of a leg's RTP.
#[derive(Debug, Clone)]
pub struct SourceLock {
    /// Media address of the last SDP and source address of its signalling.
    described: (SocketAddr, Option<IpAddr>),
    /// Address in the SDP, and the signalling address if the former is private.
    allowed: [Option<IpAddr>; 2],
    locked: Option<SocketAddr>,
    /// Tracks which SSRC is the audio stream.
    voice: Voice,
    /// A candidate source on an undescribed address or port: address, SSRC, and consecutive good packets.
    suspect: Option<(SocketAddr, u32, u8)>,
    /// Other ports of the described address may pass probation.
    other_ports: bool,
    /// Sources accepted in addition to the described address.
    beside: RtpSource,
    /// Packets rejected.
    foreign: u64,
}

/// Consecutive packets after which an undescribed port is accepted, where that is allowed: half a second.
/// Behind some NATs the far end does not know its public port; an attacker who injects a few packets is not
/// accepted.
const PROBATION: u8 = 25;

/// Classification of a packet by its payload type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Audio in a negotiated format.
    Audio,
    /// Negotiated telephone events.
    Event,
    /// A payload type that was not negotiated.
    Unknown,
}

/// Decision on a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// From the locked source, in the current audio stream.
    Take,
    /// From the locked source, which started a new audio stream: all state of the old one is invalid.
    NewStream,
    /// Telephone events from the locked source, with an SSRC other than the audio's.
    Beside,
    /// From another source.
    Refuse,
}

impl SourceLock {
    /// A lock that accepts the address in the session description, or the source address of the signalling if
    /// the former is private and the two differ.
    #[must_use]
    pub fn new(described: SocketAddr, signalling: Option<IpAddr>) -> Self {
        let ip = described.ip();
        let other = signalling.filter(|s| *s != ip && is_private(ip));
        Self {
            described: (described, signalling),
            allowed: [Some(ip), other],
            locked: None,
            voice: Voice::default(),
            suspect: None,
            other_ports: false,
            beside: RtpSource::default(),
            foreign: 0,
        }
    }

    /// New SDP from the far end: the source is learned again from the next good packet, unless the SDP is
    /// unchanged (a refresh, also behind NAT) or contains the locked address.
    pub fn redescribe(&mut self, described: SocketAddr, signalling: Option<IpAddr>) {
        if self.described == (described, signalling) {
            return;
        }
        let (foreign, other_ports) = (self.foreign, self.other_ports);
        let locked = self.locked.filter(|at| *at == described);
        let (voice, beside) = (std::mem::take(&mut self.voice), std::mem::take(&mut self.beside));
        *self = Self { locked, voice, foreign, other_ports, beside, ..Self::new(described, signalling) };
    }

    /// Accepts additional sources for the rest of the call. A network is treated as the described address:
    /// the first good packet locks. Any other address needs probation first.
    pub fn allow(&mut self, beside: RtpSource) {
        self.beside = beside;
    }

    /// Lets other ports of the described address pass probation.
    pub fn believe_other_ports(&mut self) {
        self.other_ports = true;
    }

    /// True if a packet from this address may belong to the leg.
    #[must_use]
    pub fn may_come_from(&self, from: SocketAddr) -> bool {
        match self.locked {
            Some(at) => from == at || from == self.described.0,
            None => {
                let ip = from.ip().to_canonical();
                self.allowed.contains(&Some(ip)) || self.beside.symmetric || self.is_in_network(ip)
            }
        }
    }

    /// Judges a packet by source address, SSRC and payload type. Events never change the audio SSRC, but can
    /// lock the source.
    pub fn judge(&mut self, from: SocketAddr, ssrc: u32, content: Content) -> Verdict {
        let verdict = if self.locked == Some(from) {
            self.voice.judge(ssrc, content)
        } else if self.moves_to(from, ssrc, content) {
            self.locked = Some(from);
            self.suspect = None;
            if content == Content::Audio {
                self.voice.take_over(ssrc);
                Verdict::NewStream
            } else {
                Verdict::Beside
            }
        } else {
            Verdict::Refuse
        };
        self.foreign += u64::from(verdict == Verdict::Refuse);
        verdict
    }

    /// True if this packet moves the lock to a new address.
    fn moves_to(&mut self, from: SocketAddr, ssrc: u32, content: Content) -> bool {
        match (content, self.locked) {
            (Content::Unknown, _) => false,
            // The described address always wins over a port accepted after probation.
            (Content::Audio, Some(at)) => from == self.described.0 && self.gives_way(at),
            (Content::Event, Some(_)) => false,
            (Content::Audio | Content::Event, None) => from == self.described.0 || self.may_begin(from, ssrc),
        }
    }

    /// True for the address replacing a private one, and those of networks, since their ports cannot be
    /// known. Another port of the described address, or any other address, has to pass probation, where
    /// allowed at all.
    fn may_begin(&mut self, from: SocketAddr, ssrc: u32) -> bool {
        let ip = from.ip().to_canonical();
        let [described, other] = self.allowed;
        if Some(ip) == other || self.is_in_network(ip) {
            return true;
        }
        if !(self.beside.symmetric || Some(ip) == described && self.other_ports) {
            return false;
        }
        let (_, _, seen) =
            self.suspect.filter(|(at, s, _)| (*at, *s) == (from, ssrc)).unwrap_or((from, ssrc, 0));
        self.suspect = Some((from, ssrc, seen + 1));
        seen + 1 >= PROBATION
    }

    fn is_in_network(&self, ip: IpAddr) -> bool {
        self.beside.networks.iter().any(|n| n.contains(&ip))
    }

    /// True if the locked source was not described: it is replaced by the described one if that sends after
    /// all. The address that replaces a private one never is.
    fn gives_way(&self, at: SocketAddr) -> bool {
        let ip = Some(at.ip().to_canonical());
        let [described, other] = self.allowed;
        ip == described || ip != other
    }

    /// Source address of the far end's packets, once locked; our packets are sent to it.
    #[must_use]
    pub fn locked(&self) -> Option<SocketAddr> {
        self.locked
    }

    /// Counts a packet rejected for another reason, i.e. failed authentication.
    pub fn refuse(&mut self) {
        self.foreign += 1;
    }

    /// Packets rejected so far.
    #[must_use]
    pub fn foreign(&self) -> u64 {
        self.foreign
    }
}

#[cfg(test)]
mod tests {
    use super::Content::{Audio, Event, Unknown};
    use super::*;

    fn at(s: &str) -> SocketAddr {
        s.parse().unwrap()
    }

    #[test]
    fn only_the_described_address_opens_it_and_then_only_one_port() {
        let mut l = SourceLock::new(at("203.0.113.5:9"), Some("198.51.100.1".parse().unwrap()));
        assert_eq!(l.judge(at("198.51.100.1:4000"), 1, Audio), Verdict::Refuse);
        assert_eq!(l.judge(at("203.0.113.5:9"), 1, Unknown), Verdict::Refuse);
        assert_eq!(l.judge(at("203.0.113.5:9"), 1, Audio), Verdict::NewStream);
        assert_eq!(l.judge(at("203.0.113.5:9"), 1, Unknown), Verdict::Take);
        for _ in 0..100 {
            assert_eq!(l.judge(at("203.0.113.5:4002"), 1, Audio), Verdict::Refuse);
        }
        assert_eq!(l.judge(at("203.0.113.5:9"), 2, Unknown), Verdict::Refuse);
        assert_eq!(l.judge(at("203.0.113.5:9"), 2, Audio), Verdict::NewStream);
        assert_eq!((l.locked(), l.foreign()), (Some(at("203.0.113.5:9")), 103));
    }

    #[test]
    fn events_with_an_ssrc_of_their_own_stay_beside_the_sound() {
        let (from, elsewhere) = (at("203.0.113.5:9"), at("203.0.113.6:9"));
        for events_first in [true, false] {
            let mut l = SourceLock::new(from, None);
            if events_first {
                assert_eq!(l.judge(from, 2, Event), Verdict::Beside);
                assert_eq!(l.locked(), Some(from));
            }
            assert_eq!(l.judge(from, 1, Audio), Verdict::NewStream);
            for _ in 0..5 {
                assert_eq!(l.judge(from, 2, Event), Verdict::Beside);
                assert_eq!(l.judge(from, 1, Audio), Verdict::Take);
                assert_eq!(l.judge(from, 1, Event), Verdict::Take, "in the audio stream itself");
                assert_eq!(l.judge(from, 3, Unknown), Verdict::Refuse);
                assert_eq!(l.judge(elsewhere, 2, Event), Verdict::Refuse);
            }
            assert_eq!(l.judge(from, 2, Audio), Verdict::NewStream, "audio with a new SSRC takes over");
        }
    }

    #[test]
    fn of_two_audio_streams_the_newer_one_is_played_until_it_stops() {
        let from = at("203.0.113.5:9");
        let mut l = SourceLock::new(from, None);
        assert_eq!(l.judge(from, 1, Audio), Verdict::NewStream);
        assert_eq!(l.judge(from, 2, Audio), Verdict::NewStream);
        for _ in 0..50 {
            assert_eq!(l.judge(from, 1, Audio), Verdict::Refuse);
            assert_eq!(l.judge(from, 2, Audio), Verdict::Take);
        }
        let back: Vec<Verdict> = (0..5).map(|_| l.judge(from, 1, Audio)).collect();
        assert_eq!(back[..3], [Verdict::Refuse; 3]);
        assert_eq!(back[3..], [Verdict::NewStream, Verdict::Take]);
        for ssrc in 3..40 {
            assert_eq!(l.judge(from, ssrc, Audio), Verdict::NewStream);
        }
    }

    #[test]
    fn another_port_passes_probation_and_yields_to_the_described_one() {
        let mut l = SourceLock::new(at("203.0.113.5:9"), None);
        for _ in 0..100 {
            assert_eq!(l.judge(at("203.0.113.5:4000"), 1, Audio), Verdict::Refuse, "rejected unless allowed");
        }
        l.believe_other_ports();
        let other = at("203.0.113.5:4000");
        for _ in 1..PROBATION {
            assert_eq!(l.judge(other, 1, Audio), Verdict::Refuse);
        }
        assert_eq!(l.judge(at("203.0.113.5:5000"), 1, Audio), Verdict::Refuse, "begins anew");
        for _ in 1..PROBATION {
            assert_eq!(l.judge(other, 1, Audio), Verdict::Refuse);
        }
        assert_eq!(l.judge(other, 1, Audio), Verdict::NewStream);
        assert_eq!(l.judge(other, 1, Audio), Verdict::Take);
        assert_eq!(l.judge(at("203.0.113.5:9"), 7, Audio), Verdict::NewStream, "the described port wins");
        assert_eq!(l.judge(other, 1, Audio), Verdict::Refuse);
    }

    fn nets(texts: &[&str]) -> RtpSource {
        RtpSource { networks: texts.iter().map(|t| t.parse().unwrap()).collect(), symmetric: false }
    }

    #[test]
    fn a_network_opens_it_as_the_described_address_does() {
        let described = at("10.1.0.5:9");
        for (networks, from, opens) in [
            (nets(&["10.1.0.0/24"]), "10.1.0.77:4000", true),
            (nets(&["192.0.2.1/32", "10.2.0.0/16"]), "10.2.200.1:5", true),
            (nets(&["10.1.0.0/24"]), "[::ffff:10.1.0.77]:4000", true),
            (nets(&["2001:db8::/64"]), "[2001:db8::7]:4000", true),
            (nets(&["10.1.0.0/24"]), "10.1.1.77:4000", false),
            (nets(&["2001:db8::/64"]), "10.1.0.77:4000", false),
            (nets(&[]), "10.1.0.77:4000", false),
        ] {
            let mut l = SourceLock::new(described, None);
            l.allow(networks);
            assert_eq!(l.may_come_from(at(from)), opens, "{from}");
            assert_eq!(l.judge(at(from), 1, Unknown), Verdict::Refuse, "{from}: an unknown payload type");
            let want = if opens { Verdict::NewStream } else { Verdict::Refuse };
            assert_eq!(l.judge(at(from), 1, Audio), want, "{from}");
            assert_eq!(l.locked(), opens.then(|| at(from)));
        }
    }

    #[test]
    fn of_a_network_one_source_is_taken_until_the_far_end_describes_itself_anew() {
        let mut l = SourceLock::new(at("10.1.0.5:9"), None);
        l.allow(nets(&["10.1.0.0/24"]));
        assert_eq!(l.judge(at("10.1.0.6:9"), 1, Audio), Verdict::NewStream);
        assert!(!l.may_come_from(at("10.1.0.7:9")));
        for _ in 0..100 {
            assert_eq!(l.judge(at("10.1.0.7:9"), 2, Audio), Verdict::Refuse);
        }
        l.redescribe(at("10.1.0.5:9"), None);
        assert_eq!(l.locked(), Some(at("10.1.0.6:9")), "a refresh changes nothing");
        l.redescribe(at("10.1.0.5:11"), None);
        assert_eq!(l.judge(at("10.1.0.7:9"), 2, Audio), Verdict::NewStream, "the networks stay");
        assert_eq!(l.judge(at("10.1.0.5:11"), 3, Audio), Verdict::NewStream, "the described address wins");
        assert_eq!(l.judge(at("10.1.0.7:9"), 2, Audio), Verdict::Refuse);
    }

    #[test]
    fn any_address_passes_probation_if_the_source_is_symmetric() {
        let mut l = SourceLock::new(at("10.1.0.5:9"), None);
        l.allow(RtpSource { symmetric: true, ..RtpSource::default() });
        let (one, other) = (at("203.0.113.7:4000"), at("198.51.100.9:6000"));
        for _ in 1..PROBATION {
            assert!(l.may_come_from(one));
            assert_eq!(l.judge(one, 1, Audio), Verdict::Refuse);
        }
        assert_eq!(l.judge(other, 1, Audio), Verdict::Refuse, "begins anew");
        for _ in 1..PROBATION {
            assert_eq!(l.judge(one, 1, Audio), Verdict::Refuse);
            assert_eq!(l.judge(one, 1, Unknown), Verdict::Refuse, "not a good packet");
        }
        assert_eq!(l.judge(one, 1, Audio), Verdict::NewStream);
        assert_eq!(l.locked(), Some(one));
        assert!(!l.may_come_from(other));
        for _ in 0..100 {
            assert_eq!(l.judge(other, 1, Audio), Verdict::Refuse, "the source is locked");
        }
        l.redescribe(at("10.1.0.5:11"), None);
        assert_eq!(l.locked(), None);
        assert_eq!(
            l.judge(at("10.1.0.5:11"), 1, Audio),
            Verdict::NewStream,
            "the described address needs no probation"
        );
        for _ in 0..100 {
            assert_eq!(l.judge(one, 1, Audio), Verdict::Refuse);
        }
    }

    #[test]
    fn behind_nat_the_signalling_address_counts_too() {
        let mut l = SourceLock::new(at("192.168.1.5:4000"), Some("198.51.100.1".parse().unwrap()));
        assert_eq!(l.judge(at("198.51.100.1:61000"), 1, Audio), Verdict::NewStream);
        assert_eq!(l.judge(at("192.168.1.5:4000"), 1, Audio), Verdict::Refuse);
        l.redescribe(at("192.168.1.5:4000"), Some("198.51.100.1".parse().unwrap()));
        assert_eq!(l.locked(), Some(at("198.51.100.1:61000")), "a refresh changes nothing");
    }

    #[test]
    fn a_new_description_opens_it_again() {
        let mut l = SourceLock::new(at("10.0.0.1:4000"), None);
        assert_eq!(l.judge(at("10.0.0.1:4000"), 1, Audio), Verdict::NewStream);
        l.redescribe(at("10.0.0.1:4000"), None);
        assert_eq!(l.judge(at("10.0.0.1:4000"), 1, Audio), Verdict::Take);
        l.redescribe(at("10.0.0.2:5000"), None);
        assert_eq!(l.locked(), None);
        assert_eq!(l.judge(at("10.0.0.1:4000"), 1, Audio), Verdict::Refuse);
        assert_eq!(l.judge(at("10.0.0.2:5000"), 1, Audio), Verdict::NewStream);
    }
}
