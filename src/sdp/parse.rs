//! The parts of a session description a gateway for audio calls uses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sdp_types::{Attribute, Media, Session};

use super::filter::tidy;
use super::negotiated::Direction;
use crate::wire::crypto::{Crypto, Srtp};

/// Why a description is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Not a session description.
    #[error("the session description cannot be read")]
    Malformed,
    /// No audio line that is not refused.
    #[error("no audio stream")]
    NoAudio,
    /// A profile that is not available, or may not be used.
    #[error("transport profile {0} is not available")]
    Profile(String),
    /// No codec in common.
    #[error("no codec in common")]
    NoCodec,
    /// An encrypted stream without a key that we can use.
    #[error("no key of the encrypted stream can be used")]
    NoKeys,
    /// An address of a family we have not.
    #[error("the address family of the stream is not available")]
    Address,
    /// An answer that does not belong to our offer.
    #[error("the answer does not fit the offer")]
    NotAnAnswer,
}

/// A format of an audio line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// Payload type.
    pub payload_type: u8,
    /// Encoding name; from RFC 3551 where the line says nothing.
    pub name: String,
    /// RTP clock, Hz.
    pub clock: u32,
    /// Format parameters, as written.
    pub fmtp: Option<String>,
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
    /// Reads a description for which media may be encrypted or not.
    ///
    /// # Errors
    /// Malformed, or without a live audio stream over RTP/AVP or RTP/SAVP.
    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        Self::parse_for(body, Srtp::Optional)
    }

    /// The same where media has to be encrypted, or must not be: of several audio streams, as phones offer that would
    /// have it either way, the first that suits counts, else the first.
    ///
    /// # Errors
    /// As above.
    pub fn parse_for(body: &[u8], srtp: Srtp) -> Result<Self, SdpError> {
        let tidied = tidy(body);
        let session = Session::parse(tidied.as_bytes()).map_err(|_| SdpError::Malformed)?;
        if !body.starts_with(b"v=") {
            return Err(SdpError::Malformed);
        }
        let lines: Vec<Line> = session.medias.iter().map(line).collect();
        let live = |m: &Media| m.media.eq_ignore_ascii_case("audio") && m.port != 0;
        let usable = |m: &Media| live(m) && profile(&m.proto);
        let all = || session.medias.iter().enumerate().filter(|(_, m)| usable(m));
        let found = all().find(|(_, m)| suits(m, srtp)).or_else(|| all().next());
        let Some((audio, media)) = found else {
            let other = session.medias.iter().find(|m| live(m));
            return Err(other.map_or(SdpError::NoAudio, |m| SdpError::Profile(m.proto.clone())));
        };
        let connection = media.connections.first().or(session.connection.as_ref());
        let Some(connection) = connection else { return Err(SdpError::Malformed) };
        let address = connection.connection_address.split('/').next().unwrap_or_default().parse().ok();
        let value = |name: &str| value(&media.attributes, name).or_else(|| value(&session.attributes, name));
        let number = |name: &str| value(name).and_then(|v| v.parse::<f32>().ok()).map(|ms| ms.round() as u16);
        Ok(Self {
            origin: (session.origin.sess_id.clone(), session.origin.sess_version),
            lines,
            audio,
            address,
            port: media.port,
            rtcp: rtcp(value("rtcp"), address),
            formats: formats(media),
            direction: direction(&media.attributes)
                .or_else(|| direction(&session.attributes))
                .unwrap_or(Direction::SendRecv)
                .on_address(address),
            ptime: number("ptime"),
            maxptime: number("maxptime"),
            rtcp_mux: media.attributes.iter().any(|a| a.attribute == "rtcp-mux"),
            secure: is_secure(media),
            crypto: keys(media).collect(),
        })
    }
}

/// Profiles of encrypted streams.
const SECURE: [&str; 2] = ["RTP/SAVP", "RTP/SAVPF"];

fn profile(proto: &str) -> bool {
    ["RTP/AVP", "RTP/AVPF"].iter().chain(&SECURE).any(|p| p.eq_ignore_ascii_case(proto))
}

fn is_secure(media: &Media) -> bool {
    SECURE.iter().any(|p| p.eq_ignore_ascii_case(&media.proto))
}

/// Keys that we can use.
fn keys(media: &Media) -> impl Iterator<Item = Crypto> {
    let lines = media.attributes.iter().filter(|a| a.attribute.eq_ignore_ascii_case("crypto"));
    lines.filter_map(|a| Crypto::parse(a.value.as_deref()?)).take(16)
}

fn suits(media: &Media, srtp: Srtp) -> bool {
    match srtp {
        Srtp::Off => !is_secure(media),
        Srtp::Optional => !is_secure(media) || keys(media).next().is_some(),
        Srtp::Required => keys(media).next().is_some(),
    }
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

/// `a=rtcp:PORT [IN IP4 ADDRESS]` (RFC 3605).
fn rtcp(text: Option<&str>, address: Option<IpAddr>) -> Option<SocketAddr> {
    let mut fields = text?.split_whitespace();
    let port = fields.next()?.parse().ok()?;
    let own = fields.nth(2).and_then(|a| a.parse().ok());
    Some(SocketAddr::new(own.or(address)?, port))
}

fn formats(media: &Media) -> Vec<Format> {
    let mapped = |pt: u8| {
        media.attributes.iter().filter(|a| a.attribute == "rtpmap").find_map(|a| {
            let (number, rest) = a.value.as_deref()?.trim().split_once(char::is_whitespace)?;
            let mut parts = rest.trim().split('/');
            let name = parts.next()?.trim().to_owned();
            let clock = parts.next()?.trim().parse().ok()?;
            (number.trim().parse::<u8>() == Ok(pt)).then_some((name, clock))
        })
    };
    let fmtp = |pt: u8| {
        media.attributes.iter().filter(|a| a.attribute == "fmtp").find_map(|a| {
            let (number, rest) = a.value.as_deref()?.trim().split_once(char::is_whitespace)?;
            (number.trim().parse::<u8>() == Ok(pt)).then(|| rest.trim().to_owned())
        })
    };
    let read = |pt: u8| {
        let (name, clock) = mapped(pt).or_else(|| well_known(pt))?;
        Some(Format { payload_type: pt, name, clock, fmtp: fmtp(pt) })
    };
    let numbers = media.fmt.split_whitespace().filter_map(|f| f.parse::<u8>().ok());
    numbers.filter(|pt| *pt < 128).take(64).filter_map(read).collect()
}

/// Static payload types (RFC 3551 table 4) of the codecs the gateway knows.
fn well_known(pt: u8) -> Option<(String, u32)> {
    let name = match pt {
        0 => "PCMU",
        8 => "PCMA",
        9 => "G722",
        13 => "CN",
        _ => return None,
    };
    Some((name.to_owned(), 8000))
}

impl Direction {
    /// `0.0.0.0` is hold as RFC 2543 put it: the far end takes nothing.
    fn on_address(self, address: Option<IpAddr>) -> Self {
        match (address, self) {
            (Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), Self::SendRecv) => Self::SendOnly,
            (Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), Self::RecvOnly) => Self::Inactive,
            _ => self,
        }
    }
}
