//! Whose packets a leg takes: the address lock. Nothing is played, answered or learned from anybody else.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::base::net::is_private;

/// Where a far end's RTP may come from beside the address that it describes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RtpSource {
    /// Networks of a far end with several addresses; as few as a trunk may name.
    pub networks: Vec<IpNet>,
    /// Any address, once it has proved itself.
    pub symmetric: bool,
}

/// SSRCs of the sound that were replaced and are remembered, and packets in a row after which one of them is in force again.
const MAX_REPLACED: usize = 4;
const RETURNED: u8 = 4;

/// The SSRC of the sound. A new one takes over at once; one that was replaced, as by an announcement, comes back only when
/// the new one has stopped, so that of two that send at once one is heard and not pieces of both.
#[derive(Debug, Clone, Default)]
struct Voice {
    ssrc: Option<u32>,
    replaced: heapless::Deque<u32, MAX_REPLACED>,
    /// Packets of replaced ones since the last one of that in force.
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
        // Room was made.
        let _kept = self.replaced.push_back(old);
    }
}

/// The source of a leg's RTP.
#[derive(Debug, Clone)]
pub struct SourceLock {
    /// What the far end and its signalling said last.
    described: (SocketAddr, Option<IpAddr>),
    /// Address of the session description, and that of the signalling where the former is private.
    allowed: [Option<IpAddr>; 2],
    locked: Option<SocketAddr>,
    /// Which of its SSRCs is the sound.
    voice: Voice,
    /// A source at the described address but another port, and how many good packets in a row it has sent.
    suspect: Option<(SocketAddr, u32, u8)>,
    /// Another port than the described one may prove itself.
    other_ports: bool,
    /// What is allowed beside the described address.
    beside: RtpSource,
    /// Packets refused.
    foreign: u64,
}

/// Packets in a row after which a port that nobody described is believed, where that is allowed: half a second. Behind
/// some routers a far end's port is another than it knows; whoever only throws in a few packets does not get in.
const PROBATION: u8 = 25;

/// What the payload type of a packet says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Sound of an agreed format.
    Audio,
    /// Telephone events as agreed.
    Event,
    /// Nothing that was agreed on.
    Unknown,
}

/// What the lock says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// From the source in force, in the stream of the sound.
    Take,
    /// From the source in force, which has begun a new stream of sound: everything learned of the old one is void.
    NewStream,
    /// Events from the source in force, in a stream beside that of the sound.
    Beside,
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

    /// The far end described itself anew: the next good packet from there is learned again, unless it
    /// says what it said before (a refresh, also from behind NAT) or names the source in force.
    pub fn redescribe(&mut self, described: SocketAddr, signalling: Option<IpAddr>) {
        if self.described == (described, signalling) {
            return;
        }
        let (foreign, other_ports) = (self.foreign, self.other_ports);
        let locked = self.locked.filter(|at| *at == described);
        let (voice, beside) = (std::mem::take(&mut self.voice), std::mem::take(&mut self.beside));
        *self = Self { locked, voice, foreign, other_ports, beside, ..Self::new(described, signalling) };
    }

    /// Opens the lock for more than the described address, for the rest of the call. A network opens it as that address
    /// does: its first good packet decides. Any other address has to prove itself first.
    pub fn allow(&mut self, beside: RtpSource) {
        self.beside = beside;
    }

    /// Lets another port of the described address prove itself.
    pub fn believe_other_ports(&mut self) {
        self.other_ports = true;
    }

    /// True when a packet from there may be what the leg waits for.
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

    /// Judges a packet by where it comes from, its SSRC, and what its payload type says. Events never decide which SSRC is
    /// the sound; they do open the lock.
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

    /// True when this packet shows the far end at another address than before.
    fn moves_to(&mut self, from: SocketAddr, ssrc: u32, content: Content) -> bool {
        match (content, self.locked) {
            (Content::Unknown, _) => false,
            // Where the description is right there is no doubt, whichever port of it was believed before.
            (Content::Audio, Some(at)) => from == self.described.0 && self.gives_way(at),
            (Content::Event, Some(_)) => false,
            (Content::Audio | Content::Event, None) => from == self.described.0 || self.may_begin(from, ssrc),
        }
    }

    /// True for the address that stands in for a private one, and those of networks, whose ports nobody can know; at
    /// the described address another port has to prove itself first, as any address has to, where it may do so at all.
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

    /// True for a source in force that nobody described: it gives way to the described one, should that be right after
    /// all. What stands in for a private address never does.
    fn gives_way(&self, at: SocketAddr) -> bool {
        let ip = Some(at.ip().to_canonical());
        let [described, other] = self.allowed;
        ip == described || ip != other
    }

    /// Where the far end's packets come from, once learned; ours go there.
    #[must_use]
    pub fn locked(&self) -> Option<SocketAddr> {
        self.locked
    }

    /// Counts a packet that was refused for another reason: it is not authentic.
    pub fn refuse(&mut self) {
        self.foreign += 1;
    }

    /// Packets refused so far.
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
                assert_eq!(l.judge(from, 1, Event), Verdict::Take, "in the sound's own stream");
                assert_eq!(l.judge(from, 3, Unknown), Verdict::Refuse);
                assert_eq!(l.judge(elsewhere, 2, Event), Verdict::Refuse);
            }
            assert_eq!(l.judge(from, 2, Audio), Verdict::NewStream, "sound of a new SSRC takes over");
        }
    }

    #[test]
    fn of_two_streams_of_sound_the_newer_one_is_heard_until_it_stops() {
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
    fn another_port_proves_itself_and_gives_way_to_the_described_one() {
        let mut l = SourceLock::new(at("203.0.113.5:9"), None);
        for _ in 0..100 {
            assert_eq!(l.judge(at("203.0.113.5:4000"), 1, Audio), Verdict::Refuse, "unless that is allowed");
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
        assert_eq!(l.judge(at("203.0.113.5:9"), 7, Audio), Verdict::NewStream, "there it is after all");
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
        assert_eq!(l.judge(at("10.1.0.5:11"), 3, Audio), Verdict::NewStream, "what is described is right");
        assert_eq!(l.judge(at("10.1.0.7:9"), 2, Audio), Verdict::Refuse);
    }

    #[test]
    fn any_address_proves_itself_where_the_source_is_symmetric() {
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
            assert_eq!(l.judge(other, 1, Audio), Verdict::Refuse, "it is fixed");
        }
        l.redescribe(at("10.1.0.5:11"), None);
        assert_eq!(l.locked(), None);
        assert_eq!(
            l.judge(at("10.1.0.5:11"), 1, Audio),
            Verdict::NewStream,
            "the described one needs no proof"
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
