//! The parts of a session description that a gateway for audio calls uses.

use std::net::{IpAddr, SocketAddr};

use super::direction::Direction;
use super::error::SdpError;
use crate::codec::Codec;
use crate::wire::crypto::{Crypto, Srtp};

/// A format of an audio line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// Payload type.
    pub payload_type: u8,
    /// Encoding name; from RFC 3551 where the line says nothing.
    pub name: String,
    /// RTP clock, Hz.
    pub clock: u32,
    /// Channels.
    pub channels: u8,
    /// Format parameters, as written.
    pub fmtp: Option<String>,
}

impl Format {
    /// The codec that it names, if it is one of ours.
    #[must_use]
    pub fn codec(&self) -> Option<Codec> {
        let codec = Codec::by_name(&self.name)?;
        // Opus is always described as stereo (RFC 7587 §7); of all others only mono is known here.
        let mono = self.channels == 1 || codec == Codec::Opus;
        (mono && codec.takes_clock(self.clock)).then_some(codec)
    }
}

/// A media line, of whatever kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `audio`, `video`, …
    pub kind: String,
    /// Port; 0 refuses the stream.
    pub port: u16,
    /// Profile.
    pub proto: String,
    /// Formats, as written.
    pub formats: String,
}

/// A session description with the live audio stream that counts: [`Description::parse_for`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Session id and version of the origin line: what makes two descriptions the same.
    pub origin: (String, u64),
    /// All media lines, in order.
    pub lines: Vec<Line>,
    /// Which of them is the audio stream the rest is about.
    pub audio: usize,
    /// Address of the stream; `None` when it is given by name.
    pub address: Option<IpAddr>,
    /// Port of RTP.
    pub port: u16,
    /// Where RTCP goes, if an attribute says so.
    pub rtcp: Option<SocketAddr>,
    /// Formats in order of preference.
    pub formats: Vec<Format>,
    /// Direction as the far end sees it.
    pub direction: Direction,
    /// Packet length the far end wants, ms.
    pub ptime: Option<u16>,
    /// Longest packet it takes, ms.
    pub maxptime: Option<u16>,
    /// RTP and RTCP may share a port.
    pub rtcp_mux: bool,
    /// The profile is one of encrypted streams.
    pub secure: bool,
    /// Keys that we can use, best first.
    pub crypto: Vec<Crypto>,
}

impl Description {
    /// Whether the stream of an offer is encrypted, when our side may do so.
    ///
    /// # Errors
    /// It has to be and cannot, or must not be and is.
    pub fn is_encrypted(&self, srtp: Srtp) -> Result<bool, SdpError> {
        let proto = || self.lines.get(self.audio).map(|l| l.proto.clone()).unwrap_or_default();
        let keys = !self.crypto.is_empty();
        match srtp {
            Srtp::Off if self.secure => Err(SdpError::Profile(proto())),
            Srtp::Off => Ok(false),
            Srtp::Optional | Srtp::Required if self.secure && !keys => Err(SdpError::NoKeys),
            Srtp::Required if !keys => Err(SdpError::Profile(proto())),
            Srtp::Optional | Srtp::Required => Ok(keys),
        }
    }

    /// The first of its formats that `allowed` holds, with its codec.
    pub(super) fn first_common(&self, allowed: &[Codec]) -> Option<(&Format, Codec)> {
        self.formats.iter().find_map(|f| Some((f, f.codec().filter(|c| allowed.contains(c))?)))
    }
}
