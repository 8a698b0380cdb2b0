//! Message bodies: multiparts (RFC 2046 §5.1) as used in SIP (RFC 5621), and the selection of the session
//! description.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::headers::{Headers, unfold};
use super::message::Common;
use super::params::split;

/// Maximum body parts per message, including multiparts.
pub const MAX_PARTS: usize = 32;
/// Maximum nesting of multiparts.
pub const MAX_DEPTH: usize = 4;
/// Maximum length of a boundary accepted; RFC 2046 §5.1.1 allows 70 bytes.
const MAX_BOUNDARY: usize = 200;
/// Maximum header fields read per part.
const MAX_FIELDS: usize = 32;
/// Maximum length kept of a media type, disposition or Content-ID, bytes.
const MAX_NAME: usize = 128;

/// Media type of session descriptions.
const SDP: &str = "application/sdp";

/// Errors of a multipart body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Its Content-Type has no boundary, or one that is too long.
    #[error("multipart without a usable boundary")]
    Boundary,
    /// The boundary does not occur in the body.
    #[error("multipart without parts")]
    NoParts,
    /// More than [`MAX_PARTS`].
    #[error("more than {} body parts", MAX_PARTS)]
    Parts,
    /// More than [`MAX_DEPTH`].
    #[error("multiparts nested more than {} deep", MAX_DEPTH)]
    Depth,
}

/// Content-Transfer-Encoding (RFC 2045 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transfer {
    Identity,
    Base64,
    QuotedPrintable,
    Unknown,
}

/// A leaf part; a body that is not a multipart is one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'m> {
    /// Media type, lower case, without parameters.
    pub media_type: String,
    /// Disposition type, lower case; if absent, the default for the media type (RFC 3261 §20.11).
    pub disposition: String,
    /// The `handling` parameter, if present: true for `required`.
    pub required: Option<bool>,
    /// Content-ID without its angle brackets (RFC 2392).
    pub content_id: Option<String>,
    /// The content as received, still encoded.
    pub data: &'m [u8],
    transfer: Transfer,
    /// It has a Content-Encoding other than identity.
    encoded: bool,
}

impl<'m> Part<'m> {
    fn new(headers: &Headers, media_type: String, data: &'m [u8]) -> Self {
        let given = headers.get("Content-Disposition").unwrap_or_default();
        let disposition = match first_word(given) {
            kind if !kind.is_empty() => kind,
            _ if media_type == SDP => "session".to_owned(),
            _ => "render".to_owned(),
        };
        let transfer = match headers.get("Content-Transfer-Encoding").map(first_word).as_deref() {
            None | Some("" | "7bit" | "8bit" | "binary") => Transfer::Identity,
            Some("base64") => Transfer::Base64,
            Some("quoted-printable") => Transfer::QuotedPrintable,
            Some(_) => Transfer::Unknown,
        };
        let id = headers.get("Content-ID").map(|v| v.trim().trim_start_matches('<').trim_end_matches('>'));
        Self {
            media_type,
            disposition,
            required: handling(given),
            content_id: id.filter(|id| !id.is_empty()).map(kept),
            data,
            transfer,
            encoded: is_encoded(headers),
        }
    }

    /// The content with its transfer encoding removed; `None` if the transfer or content encoding cannot be
    /// removed.
    #[must_use]
    pub fn content(&self) -> Option<Cow<'m, [u8]>> {
        match self.transfer {
            _ if self.encoded => None,
            Transfer::Identity => Some(Cow::Borrowed(self.data)),
            Transfer::Base64 => base64_content(self.data).map(Cow::Owned),
            Transfer::QuotedPrintable => Some(Cow::Owned(quoted_printable(self.data))),
            Transfer::Unknown => None,
        }
    }

    /// True if it describes the session, readable or not.
    #[must_use]
    pub fn is_session(&self) -> bool {
        self.media_type == SDP && self.disposition == "session"
    }
}

/// A message body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'m> {
    /// One part.
    Part(Part<'m>),
    /// A multipart of any kind; all but `alternative` are treated as `mixed` (RFC 2046 §5.1.7).
    Multi {
        /// Its parts are equivalent, the preferred one last (RFC 2046 §5.1.4).
        alternative: bool,
        /// Its own `handling` is `required`.
        required: bool,
        /// Its parts, in order.
        parts: Vec<Self>,
    },
}

impl<'m> Body<'m> {
    /// Parses the body of a message; `None` if it is empty. `media_type` is the default without Content-Type.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn of(message: &'m Common, media_type: &str) -> Result<Option<Self>, BodyError> {
        if message.body.is_empty() {
            return Ok(None);
        }
        let mut left = MAX_PARTS;
        Self::read(&message.headers, media_type, &message.body, 0, &mut left).map(Some)
    }

    fn read(
        headers: &Headers,
        default: &str,
        data: &'m [u8],
        depth: usize,
        left: &mut usize,
    ) -> Result<Self, BodyError> {
        *left = left.checked_sub(1).ok_or(BodyError::Parts)?;
        let written = headers.get("Content-Type").unwrap_or(default);
        let media_type = first_word(written);
        let Some(kind) = media_type.strip_prefix("multipart/") else {
            return Ok(Self::Part(Part::new(headers, media_type, data)));
        };
        if depth == MAX_DEPTH {
            return Err(BodyError::Depth);
        }
        let boundary = parameter(written, "boundary").filter(|b| (1..=MAX_BOUNDARY).contains(&b.len()));
        let cut = cut(data, boundary.ok_or(BodyError::Boundary)?.as_bytes(), *left)?;
        let mut parts = Vec::with_capacity(cut.len());
        for part in cut {
            let (fields, content) = head_of(part);
            parts.push(Self::read(&fields, "text/plain", content, depth + 1, left)?);
        }
        let given = headers.get("Content-Disposition").unwrap_or_default();
        let (alternative, required) = (kind == "alternative", handling(given) == Some(true));
        Ok(Self::Multi { alternative, required, parts })
    }

    /// All leaf parts, in order.
    #[must_use]
    pub fn leaves(&self) -> Vec<&Part<'m>> {
        match self {
            Self::Part(part) => vec![part],
            Self::Multi { parts, .. } => parts.iter().flat_map(Self::leaves).collect(),
        }
    }

    /// Parts that describe the session, best first: in order, but the last one first for alternatives.
    #[must_use]
    pub fn sessions(&self) -> Vec<&Part<'m>> {
        match self {
            Self::Part(part) => Some(part).filter(|p| p.is_session()).into_iter().collect(),
            Self::Multi { alternative: true, parts, .. } => {
                parts.iter().rev().flat_map(Self::sessions).collect()
            }
            Self::Multi { parts, .. } => parts.iter().flat_map(Self::sessions).collect(),
        }
    }

    /// The first readable part of one of these media types, with its type.
    #[must_use]
    pub fn find(&self, media_types: &[&str]) -> Option<(String, Cow<'m, [u8]>)> {
        let wanted = |p: &&Part<'m>| media_types.contains(&p.media_type.as_str());
        let content = |p: &Part<'m>| Some((p.media_type.clone(), p.content()?));
        self.leaves().into_iter().filter(wanted).find_map(content)
    }

    /// True if a part is required (RFC 5621 §3.3.1) and its media type is not accepted by `known`. Of
    /// alternatives, one known part is sufficient.
    #[must_use]
    pub fn is_beyond(&self, known: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Part(part) => part.required == Some(true) && !known(&part.media_type),
            Self::Multi { alternative: true, required, parts } => {
                let understood = |p: &Self| p.leaves().iter().any(|l| known(&l.media_type));
                let needed = *required || parts.iter().all(|p| p.is_beyond(known));
                needed && !parts.iter().any(understood)
            }
            Self::Multi { parts, .. } => parts.iter().any(|p| p.is_beyond(known)),
        }
    }
}

/// True if there is a Content-Encoding other than identity.
#[must_use]
pub fn is_encoded(headers: &Headers) -> bool {
    headers.tokens("Content-Encoding").any(|e| !e.eq_ignore_ascii_case("identity"))
}

fn kept(text: &str) -> String {
    text.chars().take(MAX_NAME).collect()
}

/// The value before the parameters, lower case.
fn first_word(value: &str) -> String {
    kept(value.split(';').next().unwrap_or_default().trim()).to_ascii_lowercase()
}

/// A parameter's value without quotes.
fn parameter(value: &str, name: &str) -> Option<String> {
    let parts = split(value, ';').unwrap_or_else(|_| value.split(';').collect());
    let mut pairs = parts.into_iter().skip(1).filter_map(|p| p.split_once('='));
    let (_, value) = pairs.find(|(n, _)| n.trim().eq_ignore_ascii_case(name))?;
    let value = value.trim();
    let Some(quoted) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
        return Some(value.to_owned());
    };
    let mut out = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Some(out)
}

fn handling(disposition: &str) -> Option<bool> {
    parameter(disposition, "handling").map(|h| h.eq_ignore_ascii_case("required"))
}

/// The lines of a text with their offsets, including line ends.
fn lines(data: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    data.split_inclusive(|b| *b == b'\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line))
    })
}

/// The bytes between the delimiters (RFC 2046 §5.1.1); the line end before a delimiter belongs to it. A
/// missing close delimiter is tolerated.
fn cut<'m>(data: &'m [u8], boundary: &[u8], most: usize) -> Result<Vec<&'m [u8]>, BodyError> {
    let mut parts = Vec::new();
    let mut begun = None;
    let mut add = |part: &'m [u8]| {
        parts.push(part);
        if parts.len() > most { Err(BodyError::Parts) } else { Ok(()) }
    };
    for (start, line) in lines(data) {
        let Some(rest) = line.strip_prefix(b"--").and_then(|l| l.strip_prefix(boundary)) else { continue };
        let rest = rest.trim_ascii_end();
        if !(rest.is_empty() || rest == b"--") {
            continue;
        }
        if let Some(from) = begun.take() {
            let part = data.get(from..start).unwrap_or_default();
            add(part.strip_suffix(b"\n").map_or(part, |p| p.strip_suffix(b"\r").unwrap_or(p)))?;
        }
        if rest == b"--" {
            break;
        }
        begun = Some(start + line.len());
    }
    if let Some(from) = begun {
        add(data.get(from..).unwrap_or_default())?;
    }
    if parts.is_empty() { Err(BodyError::NoParts) } else { Ok(parts) }
}

/// The header fields of a part, and its content.
fn head_of(part: &[u8]) -> (Headers, &[u8]) {
    let blank = lines(part).find(|(_, line)| matches!(*line, [b'\n'] | [b'\r', b'\n']));
    let (head, content) = match blank {
        Some((at, line)) => (part.get(..at), part.get(at + line.len()..)),
        None => (Some(part), None),
    };
    let mut headers = Headers::default();
    let text = String::from_utf8_lossy(head.unwrap_or_default());
    for line in unfold(&text).take(MAX_FIELDS) {
        if let Some((name, value)) = line.split_once(':') {
            headers.push(name.trim_end(), value.trim());
        }
    }
    (headers, content.unwrap_or_default())
}

fn base64_content(data: &[u8]) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text: Vec<u8> = data.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    GeneralPurpose::new(&STANDARD, config).decode(text).ok()
}

/// Decodes quoted-printable (RFC 2045 §6.7); invalid escapes are kept.
fn quoted_printable(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        match (*byte, after) {
            (b'=', [b'\r', b'\n', more @ ..] | [b'\n', more @ ..]) => rest = more,
            (b'=', [high, low, more @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = more;
                }
                _ => out.push(b'='),
            },
            (byte, _) => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
#[path = "body_test.rs"]
mod tests;
