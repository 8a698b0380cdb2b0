//! Our end of a stream, and the other media lines of our descriptions.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::description::Description;
use super::numbers::Numbers;
use crate::wire::crypto::{OurKeys, Srtp};

/// Shortest and longest packet we send, ms.
pub(super) const PTIME_RANGE: RangeInclusive<u16> = 10..=60;
/// Packet length we request, and the default, ms.
pub(super) const DEFAULT_PTIME: u16 = 20;

/// Our end of a stream. The session id is constant for the dialog, the version is incremented with every
/// change (RFC 3264 §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Session id of the origin line.
    pub session_id: u64,
    /// Version of the origin line; incremented by [`Local::next`].
    pub version: u64,
    /// Our address.
    pub address: IpAddr,
    /// Our RTP port; RTCP is the next one.
    pub port: u16,
    /// The other media lines.
    pub frame: Frame,
    /// Encryption policy.
    pub srtp: Srtp,
    /// Our keys; `None`: no encryption.
    pub keys: Option<Box<OurKeys>>,
    /// Include keys in our offers.
    pub offers_keys: bool,
    /// Payload types used in this session.
    pub numbers: Numbers,
}

/// The media lines besides our audio, rejected in their positions: all later descriptions must contain them
/// (RFC 3264 §8).
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
    /// Audio only.
    fn default() -> Self {
        Self::to_offer(Srtp::Off)
    }
}

impl Frame {
    /// For our offers, audio only: if encryption is required the secure profile is used (RFC 4568 §4.1), in
    /// this and all later offers of the call.
    #[must_use]
    pub fn to_offer(srtp: Srtp) -> Self {
        let proto = if srtp == Srtp::Required { "RTP/SAVP" } else { "RTP/AVP" };
        Self { before: String::new(), proto: proto.to_owned(), after: String::new() }
    }
}

impl Description {
    /// The other media lines of an answer to this offer.
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
    /// At this address and port, for a new session without encryption.
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

    /// Increments the version.
    pub fn next(&mut self) {
        self.version += 1;
    }

    /// Adopts the media lines of the far end's offer for our later descriptions.
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
