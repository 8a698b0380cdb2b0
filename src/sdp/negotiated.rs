//! What both ends agreed on: all that signalling and media need to know of an audio stream.

use std::net::{IpAddr, SocketAddr};

use super::parse::{Description, Format, SdpError};
use super::{DEFAULT_PTIME, PTIME_RANGE};
use crate::codec::Codec;

/// Direction of a stream, as one end sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Sends and receives.
    SendRecv,
    /// Sends only.
    SendOnly,
    /// Receives only.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// As it stands in an attribute.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Reads an attribute's name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive]
            .into_iter()
            .find(|d| d.as_str() == name)
    }

    /// The same stream seen from the other end.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            Self::SendRecv | Self::Inactive => self,
        }
    }

    /// True when this end sends.
    #[must_use]
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// True when this end receives.
    #[must_use]
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// RFC 4733 as agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dtmf {
    /// Payload type.
    pub payload_type: u8,
    /// Clock of its timestamps and durations, Hz.
    pub clock: u32,
}

/// An agreed audio stream, from our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiated {
    /// Codec both ways.
    pub codec: Codec,
    /// Payload type of the codec in what we send.
    pub payload_out: u8,
    /// Payload type of the codec in what we receive.
    pub payload_in: u8,
    /// Digits as RFC 4733 events.
    pub dtmf: Option<Dtmf>,
    /// Where our RTP goes.
    pub rtp: SocketAddr,
    /// Where our RTCP goes.
    pub rtcp: SocketAddr,
    /// RTP and RTCP share a port.
    pub rtcp_mux: bool,
    /// Length of the packets we send, ms.
    pub ptime: u16,
    /// Direction as we see it.
    pub direction: Direction,
}

/// The stream an answer agrees to, given the codecs we offered. `fallback` stands in for an address
/// given by name.
///
/// # Errors
/// An answer that refuses the stream or picks nothing we offered.
pub fn accept(
    answer: &Description,
    offered: &[Codec],
    mux: bool,
    fallback: IpAddr,
) -> Result<Negotiated, SdpError> {
    let (format, codec) = first_common(&answer.formats, offered).ok_or(SdpError::NoCodec)?;
    // Both ends should use one number; a peer that answers with its own tells what it wants to get.
    Ok(build(answer, format, codec, codec.payload_type(), answer.direction.reversed(), mux, fallback))
}

/// The first of the far end's formats that `allowed` holds.
pub(super) fn first_common<'a>(formats: &'a [Format], allowed: &[Codec]) -> Option<(&'a Format, Codec)> {
    formats.iter().find_map(|f| {
        let codec = Codec::by_name(&f.name).filter(|c| allowed.contains(c) && c.clock() == f.clock)?;
        Some((f, codec))
    })
}

/// The telephone-event format that goes with a codec: of its clock if there is one.
pub(super) fn dtmf_format(formats: &[Format], clock: u32) -> Option<Dtmf> {
    let events = || formats.iter().filter(|f| f.name.eq_ignore_ascii_case("telephone-event"));
    let found = events().find(|f| f.clock == clock).or_else(|| events().next())?;
    Some(Dtmf { payload_type: found.payload_type, clock: found.clock })
}

pub(super) fn build(
    remote: &Description,
    format: &Format,
    codec: Codec,
    payload_in: u8,
    direction: Direction,
    mux: bool,
    fallback: IpAddr,
) -> Negotiated {
    let rtp = SocketAddr::new(remote.address.unwrap_or(fallback), remote.port);
    let rtcp_mux = mux && remote.rtcp_mux;
    let beside = SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1));
    let rtcp = if rtcp_mux { rtp } else { remote.rtcp.unwrap_or(beside) };
    let longest = remote.maxptime.unwrap_or(*PTIME_RANGE.end()).max(*PTIME_RANGE.start());
    // Frames are 10 ms: packets are whole multiples of that.
    let wanted =
        remote.ptime.unwrap_or(DEFAULT_PTIME).min(longest).clamp(*PTIME_RANGE.start(), *PTIME_RANGE.end());
    Negotiated {
        codec,
        payload_out: format.payload_type,
        payload_in,
        dtmf: dtmf_format(&remote.formats, codec.clock()),
        rtp,
        rtcp,
        rtcp_mux,
        ptime: wanted - wanted % 10,
        direction,
    }
}
