//! Parses session descriptions and selects the audio stream.

use std::net::IpAddr;

use sdp_types::{Attribute, Media, Session};

use super::address;
use super::description::{Description, Format, Line};
use super::direction::Direction;
use super::error::SdpError;
use super::filter::tidy;
use crate::codec::Codec;
use crate::wire::crypto::{Crypto, Srtp};

/// Maximum number of live audio lines considered.
const MAX_STREAMS: usize = 16;

/// Our capabilities for answering an offer.
#[derive(Debug, Clone, Copy)]
pub struct Able<'a> {
    /// Encryption policy.
    pub srtp: Srtp,
    /// Codecs that may be used.
    pub codecs: &'a [Codec],
    /// Media over IPv4.
    pub v4: bool,
    /// Media over IPv6.
    pub v6: bool,
}

impl Able<'_> {
    fn reaches(&self, address: Option<IpAddr>) -> bool {
        match address {
            // A host name is replaced by the source address of the signalling; to an unspecified address
            // nothing is sent.
            None => true,
            Some(ip) if ip.is_unspecified() => true,
            Some(IpAddr::V4(_)) => self.v4,
            Some(IpAddr::V6(_)) => self.v6,
        }
    }
}

impl Description {
    /// Parses a description without capabilities: the first readable audio stream is selected.
    ///
    /// # Errors
    /// Malformed, or without a live audio stream of profile RTP/AVP or RTP/SAVP.
    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        Self::read(body, |d| d.is_encrypted(Srtp::Optional).is_ok(), Ok)
    }

    /// Parses an offer: the first audio stream we can accept is selected (RFC 3264 §6), according to profile,
    /// keys, address and codecs.
    ///
    /// # Errors
    /// Malformed; otherwise the error of the first readable live audio stream, if none is acceptable.
    pub fn parse_for(body: &[u8], able: &Able<'_>) -> Result<Self, SdpError> {
        Self::read(body, |d| d.suits(able).is_ok(), |d| d.suits(able).map(|()| d))
    }

    /// Checks whether the stream is acceptable.
    fn suits(&self, able: &Able<'_>) -> Result<(), SdpError> {
        self.is_encrypted(able.srtp)?;
        if !able.reaches(self.address) {
            return Err(SdpError::Address);
        }
        self.first_common(able.codecs).map(drop).ok_or(SdpError::NoCodec)
    }

    /// The first acceptable live audio stream, otherwise the result of `otherwise` for the first one.
    fn read(
        body: &[u8],
        is_good: impl Fn(&Self) -> bool,
        otherwise: impl Fn(Self) -> Result<Self, SdpError>,
    ) -> Result<Self, SdpError> {
        let tidied = tidy(body);
        let session = Session::parse(tidied.as_bytes()).map_err(|_| SdpError::Malformed)?;
        if !body.starts_with(b"v=") {
            return Err(SdpError::Malformed);
        }
        let live = |m: &Media| m.media.eq_ignore_ascii_case("audio") && m.port != 0;
        let all = session.medias.iter().enumerate().filter(|(_, m)| live(m)).take(MAX_STREAMS);
        let mut first = None;
        for (at, media) in all {
            match Self::of(&session, at, media) {
                Ok(found) if is_good(&found) => return Ok(found),
                other if first.as_ref().is_none_or(|f: &Result<Self, _>| f.is_err() && other.is_ok()) => {
                    first = Some(other);
                }
                _ => {}
            }
        }
        first.unwrap_or(Err(SdpError::NoAudio)).and_then(otherwise)
    }

    /// The description with the stream of one media line.
    fn of(session: &Session, audio: usize, media: &Media) -> Result<Self, SdpError> {
        if !profile(&media.proto) {
            return Err(SdpError::Profile(media.proto.clone()));
        }
        let connection = media.connections.first().or(session.connection.as_ref());
        let address = address::of(connection.ok_or(SdpError::Malformed)?)?;
        let value = |name: &str| value(&media.attributes, name).or_else(|| value(&session.attributes, name));
        let milliseconds = |name: &str| {
            let ms = value(name).and_then(|v| v.parse::<f32>().ok()).map(|ms| ms.round() as u16);
            ms.filter(|ms| *ms > 0)
        };
        let stated = direction(&media.attributes).or_else(|| direction(&session.attributes));
        Ok(Self {
            origin: (session.origin.sess_id.clone(), session.origin.sess_version),
            lines: session.medias.iter().map(line).collect(),
            audio,
            address,
            port: media.port,
            rtcp: address::rtcp(value("rtcp"), address),
            formats: formats(media),
            direction: address::hold(stated.unwrap_or(Direction::SendRecv), address),
            ptime: milliseconds("ptime"),
            maxptime: milliseconds("maxptime"),
            rtcp_mux: media.attributes.iter().any(|a| a.attribute.eq_ignore_ascii_case("rtcp-mux")),
            secure: is_secure(media),
            crypto: keys(media).collect(),
        })
    }
}

/// Secure profiles.
const SECURE: [&str; 2] = ["RTP/SAVP", "RTP/SAVPF"];

fn profile(proto: &str) -> bool {
    ["RTP/AVP", "RTP/AVPF"].iter().chain(&SECURE).any(|p| p.eq_ignore_ascii_case(proto))
}

fn is_secure(media: &Media) -> bool {
    SECURE.iter().any(|p| p.eq_ignore_ascii_case(&media.proto))
}

/// Supported keys.
fn keys(media: &Media) -> impl Iterator<Item = Crypto> {
    let lines = media.attributes.iter().filter(|a| a.attribute.eq_ignore_ascii_case("crypto"));
    lines.filter_map(|a| Crypto::parse(a.value.as_deref()?)).take(16)
}

fn line(m: &Media) -> Line {
    Line { kind: m.media.clone(), port: m.port, proto: m.proto.clone(), formats: m.fmt.clone() }
}

fn value<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|a| a.attribute.eq_ignore_ascii_case(name))?;
    found.value.as_deref().map(str::trim)
}

fn direction(attributes: &[Attribute]) -> Option<Direction> {
    attributes.iter().find_map(|a| Direction::parse(a.attribute.trim()))
}

fn formats(media: &Media) -> Vec<Format> {
    // Attribute values for a payload type.
    let of = |name: &'static str, pt: u8| {
        let all = media.attributes.iter().filter(move |a| a.attribute.eq_ignore_ascii_case(name));
        all.filter_map(move |a| {
            let (number, rest) = a.value.as_deref()?.trim().split_once(char::is_whitespace)?;
            (number.trim().parse::<u8>() == Ok(pt)).then(|| rest.trim())
        })
    };
    let mapped = |text: &str| {
        let mut parts = text.split('/').map(str::trim);
        let name = parts.next().filter(|n| !n.is_empty())?.to_owned();
        let clock = parts.next()?.parse().ok()?;
        let channels = parts.next().map_or(Ok(1), str::parse).ok()?;
        Some((name, clock, channels))
    };
    let read = |pt: u8| {
        let (name, clock, channels) = of("rtpmap", pt).find_map(mapped).or_else(|| well_known(pt))?;
        Some(Format {
            payload_type: pt,
            name,
            clock,
            channels,
            fmtp: of("fmtp", pt).next().map(str::to_owned),
        })
    };
    let numbers = media.fmt.split_whitespace().filter_map(|f| f.parse::<u8>().ok());
    numbers.filter(|pt| *pt < 128).take(64).filter_map(read).collect()
}

/// Static payload types (RFC 3551 table 4) of supported codecs.
fn well_known(pt: u8) -> Option<(String, u32, u8)> {
    let name = match pt {
        0 => "PCMU",
        8 => "PCMA",
        9 => "G722",
        13 => "CN",
        _ => return None,
    };
    Some((name.to_owned(), 8000, 1))
}
