//! Our offers, and the part of a description that is ours in offers and answers alike.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::answer::{describe, described};
use super::negotiated::{Direction, Negotiated};
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
    /// The same end, one version on.
    pub fn next(&mut self) {
        self.version += 1;
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

/// An offer of `codecs` in their order, with telephone-event.
#[must_use]
pub fn offer(local: &Local, codecs: &[Codec], direction: Direction) -> String {
    let frame = &local.frame;
    let mut out = local.head();
    out.push_str(&frame.before);
    let numbers: Vec<String> = codecs.iter().map(|c| c.payload_type().to_string()).collect();
    let events = events(codecs);
    let event_numbers: Vec<String> = events.iter().map(|(pt, _)| pt.to_string()).collect();
    let (numbers, event_numbers) = (numbers.join(" "), event_numbers.join(" "));
    // Writing into a String cannot fail.
    let _ok = write!(out, "m=audio {} {} {numbers} {event_numbers}\r\n", local.port, frame.proto);
    for codec in codecs {
        out.push_str(&described(*codec, codec.payload_type()));
    }
    for (pt, clock) in events {
        let _ok = write!(out, "a=rtpmap:{pt} telephone-event/{clock}\r\na=fmtp:{pt} 0-15\r\n");
    }
    let _ok = write!(out, "a=ptime:{DEFAULT_PTIME}\r\na={}\r\na=rtcp-mux\r\n", direction.as_str());
    for line in local.keys.iter().filter(|_| local.offers_keys).flat_map(|k| k.offer()) {
        let _ok = write!(out, "a=crypto:{line}\r\n");
    }
    out.push_str(&frame.after);
    out
}

/// Telephone-event formats to offer: one for each clock of the codecs (RFC 4733 §2.1).
fn events(codecs: &[Codec]) -> Vec<(u8, u32)> {
    let with = |pt: u8, clock: u32| codecs.iter().any(|c| c.clock() == clock).then_some((pt, clock));
    let found = [with(DTMF_PAYLOAD_TYPE_48K, 48_000), with(DTMF_PAYLOAD_TYPE, 8000)];
    found.into_iter().flatten().collect()
}

/// An offer inside a session: the codec and the numbers in use, nothing else (RFC 3264 §8.3.2).
#[must_use]
pub fn offer_again(local: &Local, agreed: &Negotiated, direction: Direction) -> String {
    let ours = Negotiated { payload_out: agreed.payload_in, direction, ..*agreed };
    describe(local, &local.frame, &ours)
}
