//! Negotiated audio stream: everything signalling and media need.

use std::net::{IpAddr, SocketAddr};

use super::description::{Description, Format};
use super::direction::Direction;
use super::dtmf::{Dtmf, EVENT};
use super::error::SdpError;
use super::formats::{Formats, Meaning};
use super::local::{DEFAULT_PTIME, Local, PTIME_RANGE};
use crate::codec::Codec;
use crate::codec::opus::{self, DEFAULT_BITRATE, OpusFmtp};
use crate::wire::crypto::{Crypto, MasterKey, OurKeys, Srtp};

/// A negotiated audio stream from our point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiated {
    /// Codec we send, and the first one we may receive.
    pub codec: Codec,
    /// Clock rate in its rtpmap, Hz: for G.722 possibly its sampling rate.
    pub clock: u32,
    /// Payload types we may receive.
    pub formats: Formats,
    /// Opus parameters of the far end.
    pub wishes: OpusFmtp,
    /// Payload type we send.
    pub payload_out: u8,
    /// RFC 4733 events.
    pub dtmf: Option<Dtmf>,
    /// Destination of our RTP.
    pub rtp: SocketAddr,
    /// Destination of our RTCP.
    pub rtcp: SocketAddr,
    /// RTP and RTCP share a port.
    pub rtcp_mux: bool,
    /// Length of packets we send, ms.
    pub ptime: u16,
    /// Direction from our point of view.
    pub direction: Direction,
    /// SRTP keys, if encrypted.
    pub srtp: Option<Keyed>,
}

/// The keys of an encrypted stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyed {
    /// Tag of the selected `a=crypto` line of the offer.
    pub tag: u32,
    /// Key for sending.
    pub ours: MasterKey,
    /// Key for receiving.
    pub theirs: MasterKey,
}

impl Keyed {
    /// Value of the attribute with our key.
    pub(super) fn line(&self) -> String {
        Crypto { tag: self.tag, key: self.ours }.to_string()
    }

    /// Keys of both ends for the first of the far end's lines whose suite we have.
    fn first(lines: &[Crypto], ours: &OurKeys) -> Option<Self> {
        lines.iter().find_map(|c| Some(Self { tag: c.tag, ours: ours.of(c.key.suite)?, theirs: c.key }))
    }

    /// Keys for an offer, according to our policy.
    pub(super) fn answering(offer: &Description, local: &Local) -> Result<Option<Self>, SdpError> {
        let encrypted = offer.is_encrypted(local.srtp)?;
        let ours = local.keys.as_ref().filter(|_| encrypted);
        Ok(ours.and_then(|ours| Self::first(&offer.crypto, ours)))
    }

    /// Keys for an answer.
    fn answered(answer: &Description, local: &Local) -> Result<Option<Self>, SdpError> {
        let found = local.keys.as_ref().and_then(|ours| Self::first(&answer.crypto, ours));
        let needed = answer.secure || local.srtp == Srtp::Required;
        if found.is_none() && needed { Err(SdpError::NotAnAnswer) } else { Ok(found) }
    }
}

/// The stream negotiated by an answer, given the codecs we offered. `fallback` replaces an address given by
/// host name.
///
/// # Errors
/// The answer rejects the stream, or selects nothing we offered.
pub fn accept(
    answer: &Description,
    local: &Local,
    offered: &[Codec],
    mux: bool,
    fallback: IpAddr,
) -> Result<Negotiated, SdpError> {
    let (format, codec) = answer.first_common(offered).ok_or(SdpError::NoCodec)?;
    let srtp = Keyed::answered(answer, local)?;
    let direction = answer.direction.reversed();
    let stream = build(answer, format, codec, direction, mux, fallback);
    Ok(Negotiated { srtp, formats: answered(answer, local, offered), ..stream })
}

/// Payload types we may receive after an answer to our offer (RFC 3264 §6.1, §7): every codec of the answer
/// with the number of our offer, as required, or that of the answer.
fn answered(answer: &Description, local: &Local, offered: &[Codec]) -> Formats {
    let codec_of = |f: &Format| f.codec().filter(|c| offered.contains(c));
    let mut formats = Formats::default();
    let codecs = || answer.formats.iter().filter_map(codec_of);
    for codec in codecs() {
        local.numbers.of(codec, true).for_each(|n| formats.add(n, Meaning::Audio(codec)));
    }
    let theirs = answer.formats.iter().filter_map(|f| Some((f.payload_type, Meaning::Audio(codec_of(f)?))));
    theirs.for_each(|(n, meaning)| formats.add(n, meaning));
    let others = answer.formats.iter().filter_map(|f| Some((f.payload_type, aside(f)?)));
    others.for_each(|(n, meaning)| formats.add(n, meaning));
    // Then those assigned earlier in the session, which our offer may have contained.
    for codec in codecs() {
        local.numbers.of(codec, false).for_each(|n| formats.add(n, Meaning::Audio(codec)));
    }
    if answer.formats.iter().any(|f| aside(f) == Some(Meaning::Event)) {
        local.numbers.events().for_each(|n| formats.add(n, Meaning::Event));
    }
    formats.add_usual_noise();
    formats
}

/// Payload types we may receive after our answer: the selected codec, and non-audio formats.
pub(super) fn answering(offer: &Description, format: &Format, codec: Codec) -> Formats {
    let mut formats = Formats::default();
    formats.add(format.payload_type, Meaning::Audio(codec));
    let others = offer.formats.iter().filter_map(|f| Some((f.payload_type, aside(f)?)));
    others.for_each(|(n, meaning)| formats.add(n, meaning));
    formats.add_usual_noise();
    formats
}

/// Meaning of a non-audio format.
fn aside(format: &Format) -> Option<Meaning> {
    let is = |name: &str| format.name.eq_ignore_ascii_case(name);
    if is(EVENT) { Some(Meaning::Event) } else { is("CN").then_some(Meaning::Noise) }
}

/// Opus encoder parameters from a format's fmtp (RFC 7587 §6.1).
fn wishes(format: &Format) -> OpusFmtp {
    let mut wishes = OpusFmtp::default();
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

/// The stream from the far end's description and the format we send. Payload types and keys are set by the
/// caller.
pub(super) fn build(
    remote: &Description,
    format: &Format,
    codec: Codec,
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
        clock: format.clock,
        formats: Formats::default(),
        wishes: wishes(format),
        payload_out: format.payload_type,
        dtmf: Dtmf::of(&remote.formats, codec.clock()),
        rtp,
        rtcp,
        rtcp_mux,
        ptime: codec.packet_ms(wanted),
        direction,
        srtp: None,
    }
}
