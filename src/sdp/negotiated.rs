//! What both ends agreed on: all that signalling and media need to know of an audio stream.

use std::net::{IpAddr, SocketAddr};

use super::offer::Local;
use super::parse::{Description, Format, SdpError};
use super::{DEFAULT_PTIME, DTMF_PAYLOAD_TYPE, DTMF_PAYLOAD_TYPE_48K, PTIME_RANGE};
use crate::codec::Codec;
use crate::codec::opus::{self, DEFAULT_BITRATE, Wishes};
use crate::wire::crypto::{Crypto, MasterKey, OurKeys, Srtp};

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
    /// What the far end wants of Opus.
    pub wishes: Wishes,
    /// Payload type of the codec in what we send.
    pub payload_out: u8,
    /// Payload type of the codec in what we receive.
    pub payload_in: u8,
    /// Digits as RFC 4733 events.
    pub dtmf: Option<Dtmf>,
    /// We made the offer.
    pub offered: bool,
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
    /// Keys, where media is encrypted.
    pub srtp: Option<Keyed>,
}

impl Negotiated {
    /// True for packets of events: by the number agreed and, where we made an offer, by those of our first ones. Far
    /// ends that answer with a number of their own send either (RFC 3264 §6.1 wants ours).
    #[must_use]
    pub fn is_event(&self, payload_type: u8) -> bool {
        let ours = [DTMF_PAYLOAD_TYPE, DTMF_PAYLOAD_TYPE_48K];
        self.dtmf
            .is_some_and(|d| d.payload_type == payload_type || self.offered && ours.contains(&payload_type))
    }
}

/// The keys of an encrypted stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyed {
    /// Tag of the offer's line that was taken.
    pub tag: u32,
    /// Key of what we send.
    pub ours: MasterKey,
    /// Key of what we receive.
    pub theirs: MasterKey,
}

impl Keyed {
    /// Keys of both ends for the first of the far end's lines that goes with ours.
    fn first(lines: &[Crypto], ours: &OurKeys) -> Option<Self> {
        lines.iter().find_map(|c| Some(Self { tag: c.tag, ours: ours.of(c.key.suite)?, theirs: c.key }))
    }

    /// What an offer asks for, as far as our side may.
    pub(super) fn answering(offer: &Description, local: &Local) -> Result<Option<Self>, SdpError> {
        let encrypted = offer.is_encrypted(local.srtp)?;
        let ours = local.keys.as_ref().filter(|_| encrypted);
        Ok(ours.and_then(|ours| Self::first(&offer.crypto, ours)))
    }

    /// What an answer agreed to.
    fn answered(answer: &Description, local: &Local) -> Result<Option<Self>, SdpError> {
        let found = local.keys.as_ref().and_then(|ours| Self::first(&answer.crypto, ours));
        let needed = answer.secure || local.srtp == Srtp::Required;
        if found.is_none() && needed { Err(SdpError::NotAnAnswer) } else { Ok(found) }
    }
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
}

/// The stream an answer agrees to, given the codecs we offered. `fallback` stands in for an address
/// given by name.
///
/// # Errors
/// An answer that refuses the stream or picks nothing we offered.
pub fn accept(
    answer: &Description,
    local: &Local,
    offered: &[Codec],
    mux: bool,
    fallback: IpAddr,
) -> Result<Negotiated, SdpError> {
    let (format, codec) = first_common(&answer.formats, offered).ok_or(SdpError::NoCodec)?;
    // Both ends should use one number; a peer that answers with its own tells what it wants to get.
    let srtp = Keyed::answered(answer, local)?;
    let direction = answer.direction.reversed();
    let stream = build(answer, format, codec, codec.payload_type(), direction, mux, fallback);
    Ok(Negotiated { srtp, offered: true, ..stream })
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

/// What the parameters of a format ask of an Opus encoder (RFC 7587 §6.1).
fn wishes(format: &Format) -> Wishes {
    let mut wishes = Wishes::default();
    for parameter in format.fmtp.as_deref().unwrap_or_default().split(';').take(32) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim();
        let number = || value.parse::<u32>().ok();
        match name.trim().to_ascii_lowercase().as_str() {
            "useinbandfec" => wishes.fec = value == "1",
            "usedtx" => wishes.dtx = value == "1",
            "cbr" => wishes.cbr = value == "1",
            "maxaveragebitrate" => {
                let asked = number().unwrap_or(DEFAULT_BITRATE);
                wishes.bitrate = asked.clamp(6000, DEFAULT_BITRATE);
            }
            "maxplaybackrate" => {
                wishes.playback_rate = number().unwrap_or(opus::RATE).clamp(8000, opus::RATE)
            }
            _ => {}
        }
    }
    wishes
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
    let wanted =
        remote.ptime.unwrap_or(DEFAULT_PTIME).min(longest).clamp(*PTIME_RANGE.start(), *PTIME_RANGE.end());
    Negotiated {
        codec,
        wishes: wishes(format),
        payload_out: format.payload_type,
        payload_in,
        dtmf: dtmf_format(&remote.formats, codec.clock()),
        offered: false,
        rtp,
        rtcp,
        rtcp_mux,
        ptime: codec.packet_ms(wanted),
        direction,
        srtp: None,
    }
}
