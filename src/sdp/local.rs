//! Our end of a stream, and the frame that a session gives to its descriptions.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::description::Description;
use super::numbers::Numbers;
use crate::wire::crypto::{OurKeys, Srtp};

/// Shortest and longest packet we send, ms.
pub(super) const PTIME_RANGE: RangeInclusive<u16> = 10..=60;
/// Packet length we ask for and assume where nothing is said, ms.
pub(super) const DEFAULT_PTIME: u16 = 20;

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
