//! Our offers, and the part of a description that is ours in offers and answers alike.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::negotiated::{Direction, Negotiated};
use super::numbers::{Listed, Numbers};
use super::parse::Description;
use super::{DEFAULT_PTIME, DTMF_PAYLOAD_TYPE, DTMF_PAYLOAD_TYPE_48K};
use crate::codec::Codec;
use crate::wire::crypto::{OurKeys, Srtp};

/// Our end of a stream. The session id stays for the life of the dialog, the version counts up with
/// every change (RFC 3264 §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Session id of the origin line.
    pub session_id: u64,
    /// Version of the origin line; [`Local::next`] counts it up.
    pub version: u64,
    /// Our address.
    pub address: IpAddr,
    /// Our RTP port; RTCP is the next one.
    pub port: u16,
    /// The other media lines.
    pub frame: Frame,
    /// Whether media is encrypted.
    pub srtp: Srtp,
    /// Our keys; `None`: it is not.
    pub keys: Option<Box<OurKeys>>,
    /// Offers of ours have keys.
    pub offers_keys: bool,
    /// What payload types stand for in this session.
    pub numbers: Numbers,
}

/// The media lines of a session beside our audio, refused, each in its place: every later description has them
/// too (RFC 3264 §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Lines before the audio line.
    pub(super) before: String,
    /// Profile of the audio line.
    pub proto: String,
    /// Lines after it.
    pub(super) after: String,
}

impl Default for Frame {
    /// Nothing but audio.
    fn default() -> Self {
        Self::to_offer(Srtp::Off)
    }
}

impl Frame {
    /// Of an offer of ours, nothing but audio: where it has to be encrypted the profile says so (RFC 4568 §4.1), in this
    /// offer and in all of the same call.
    #[must_use]
    pub fn to_offer(srtp: Srtp) -> Self {
        let proto = if srtp == Srtp::Required { "RTP/SAVP" } else { "RTP/AVP" };
        Self { before: String::new(), proto: proto.to_owned(), after: String::new() }
    }
}

impl Description {
    /// The frame of its audio.
    #[must_use]
    pub fn frame(&self) -> Frame {
        let mut frame = Frame::default();
        for (i, line) in self.lines.iter().enumerate() {
            if i == self.audio {
                frame.proto.clone_from(&line.proto);
                continue;
            }
            let side = if i < self.audio { &mut frame.before } else { &mut frame.after };
            // Writing into a String cannot fail.
            let _ok = write!(side, "m={} 0 {} {}\r\n", line.kind, line.proto, line.formats);
        }
        frame
    }
}

impl Local {
    /// An end at this address and port, of a session that begins, without encryption.
    #[must_use]
    pub fn at(address: IpAddr, port: u16) -> Self {
        Self {
            session_id: 1,
            version: 1,
            address,
            port,
            frame: Frame::default(),
            srtp: Srtp::Off,
            keys: None,
            offers_keys: false,
            numbers: Numbers::default(),
        }
    }

    /// The same end, one version on.
    pub fn next(&mut self) {
        self.version += 1;
    }

    /// Takes an offer of the far end for the description that later ones of ours go on from.
    pub fn follow(&mut self, offer: &Description) {
        self.frame = offer.frame();
        self.numbers.note_theirs(&offer.formats);
    }

    /// Everything before the media lines.
    pub(super) fn head(&self) -> String {
        let family = if self.address.is_ipv6() { "IP6" } else { "IP4" };
        let (id, version, address) = (self.session_id, self.version, self.address);
        format!(
            "v=0\r\no=- {id} {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n"
        )
    }
}

/// The audio of a description of ours.
pub(super) struct Audio {
    pub(super) codecs: Vec<Listed>,
    /// Payload types and clocks of events.
    pub(super) events: Vec<(u8, u32)>,
    pub(super) direction: Direction,
    pub(super) rtcp_mux: bool,
    /// Values of `a=crypto`.
    pub(super) keys: Vec<String>,
}

/// A description with this audio.
pub(super) fn describe(local: &Local, frame: &Frame, audio: &Audio) -> String {
    let mut out = local.head();
    out.push_str(&frame.before);
    let codecs = audio.codecs.iter().map(|l| l.payload_type);
    let numbers: Vec<String> =
        codecs.chain(audio.events.iter().map(|(n, _)| *n)).map(|n| n.to_string()).collect();
    // Writing into a String cannot fail.
    let _ok = write!(out, "m=audio {} {} {}\r\n", local.port, frame.proto, numbers.join(" "));
    for Listed { codec, payload_type, clock } in &audio.codecs {
        let (name, channels) = (codec.name(), codec.channels());
        let _ok = write!(out, "a=rtpmap:{payload_type} {name}/{clock}{channels}\r\n");
        if let Some(parameters) = codec.fmtp() {
            let _ok = write!(out, "a=fmtp:{payload_type} {parameters}\r\n");
        }
    }
    for (n, clock) in &audio.events {
        let _ok = write!(out, "a=rtpmap:{n} telephone-event/{clock}\r\na=fmtp:{n} 0-15\r\n");
    }
    let _ok = write!(out, "a=ptime:{DEFAULT_PTIME}\r\na={}\r\n", audio.direction.as_str());
    if audio.rtcp_mux {
        out.push_str("a=rtcp-mux\r\n");
    }
    for line in &audio.keys {
        let _ok = write!(out, "a=crypto:{line}\r\n");
    }
    out.push_str(&frame.after);
    out
}

/// An offer of `codecs` in their order, with telephone-event for each clock of theirs (RFC 4733 §2.1). Numbers that either
/// end has used in this session keep their meaning (RFC 3264 §8.3.2).
#[must_use]
pub fn offer(local: &mut Local, codecs: &[Codec], direction: Direction) -> String {
    let codecs: Vec<Listed> = codecs.iter().filter_map(|c| local.numbers.of_codec(*c)).collect();
    let events = events(local, &codecs, None);
    let keys = local.keys.iter().filter(|_| local.offers_keys).flat_map(|k| k.offer());
    let keys = keys.map(|line| line.to_string()).collect();
    describe(local, &local.frame, &Audio { codecs, events, direction, rtcp_mux: true, keys })
}

/// Telephone events to offer: one for each clock of the codecs, and one more that is in use.
fn events(local: &mut Local, codecs: &[Listed], in_use: Option<u32>) -> Vec<(u8, u32)> {
    let mut clocks: Vec<u32> = codecs.iter().map(|l| l.codec.clock()).chain(in_use).collect();
    clocks.sort_unstable_by_key(|clock| std::cmp::Reverse(*clock));
    clocks.dedup();
    let usual = |clock| if clock == 48_000 { DTMF_PAYLOAD_TYPE_48K } else { DTMF_PAYLOAD_TYPE };
    clocks.into_iter().filter_map(|c| local.numbers.of_events(c, usual(c))).collect()
}

/// An offer inside a session: the codecs that were agreed, the one in use first, under their numbers (RFC 3264 §8.3.2).
#[must_use]
pub fn offer_again(local: &mut Local, agreed: &Negotiated, direction: Direction) -> String {
    local.remember(agreed);
    let others = agreed.formats.codecs().filter(|c| *c != agreed.codec);
    let codecs = std::iter::once(agreed.codec).chain(others);
    let codecs: Vec<Listed> = codecs.filter_map(|c| local.numbers.of_codec(c)).collect();
    let events = agreed.dtmf.map(|d| events(local, &codecs, Some(d.clock))).unwrap_or_default();
    let keys = agreed.srtp.iter().map(|k| k.line()).collect();
    describe(local, &local.frame, &Audio { codecs, events, direction, rtcp_mux: agreed.rtcp_mux, keys })
}

impl Local {
    /// Remembers the numbers of an agreement before another one takes its place.
    pub fn remember(&mut self, agreed: &Negotiated) {
        let clock = agreed.dtmf.map_or(agreed.codec.clock(), |d| d.clock);
        self.numbers.note_agreed(&agreed.formats, clock);
    }
}
