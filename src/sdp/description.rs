//! Session description: the parts used by a gateway for audio calls.

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
    /// Encoding name; from RFC 3551 if there is no rtpmap.
    pub name: String,
    /// RTP clock rate, Hz.
    pub clock: u32,
    /// Channels.
    pub channels: u8,
    /// Format parameters, as written.
    pub fmtp: Option<String>,
}

impl Format {
    /// Its codec, if supported.
    #[must_use]
    pub fn codec(&self) -> Option<Codec> {
        let codec = Codec::by_name(&self.name)?;
        // Opus is always described as stereo (RFC 7587 §7); all others are supported in mono only.
        let mono = self.channels == 1 || codec == Codec::Opus;
        (mono && codec.takes_clock(self.clock)).then_some(codec)
    }
}

/// A media line of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `audio`, `video`, …
    pub kind: String,
    /// Port; 0 rejects the stream.
    pub port: u16,
    /// Profile.
    pub proto: String,
    /// Formats, as written.
    pub formats: String,
}

/// A session description with the selected live audio stream, see [`Description::parse_for`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Session id and version of the origin line, which identify a description.
    pub origin: (String, u64),
    /// All media lines, in order.
    pub lines: Vec<Line>,
    /// Index of the selected audio line.
    pub audio: usize,
    /// Address of the stream; `None` for a host name.
    pub address: Option<IpAddr>,
    /// Port of RTP.
    pub port: u16,
    /// RTCP address, if given by an attribute.
    pub rtcp: Option<SocketAddr>,
    /// Formats in order of preference.
    pub formats: Vec<Format>,
    /// Direction from the far end's point of view.
    pub direction: Direction,
    /// Packet length the far end prefers, ms.
    pub ptime: Option<u16>,
    /// Longest packet it accepts, ms.
    pub maxptime: Option<u16>,
    /// RTP and RTCP may share a port.
    pub rtcp_mux: bool,
    /// The profile is a secure one.
    pub secure: bool,
    /// Supported keys, best first.
    pub crypto: Vec<Crypto>,
}

impl Description {
    /// Whether the stream of an offer will be encrypted, given our policy.
    ///
    /// # Errors
    /// Encryption is required but not possible, or offered but not allowed.
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

    /// The first of its formats whose codec is in `allowed`, with the codec.
    pub(super) fn first_common(&self, allowed: &[Codec]) -> Option<(&Format, Codec)> {
        self.formats.iter().find_map(|f| Some((f, f.codec().filter(|c| allowed.contains(c))?)))
    }
}
