//! Error responses to invalid messages, created without a transaction.

use std::net::SocketAddr;

use super::draft::Draft;
use super::error::WireError;
use super::headers::Headers;
use super::params::split;
use super::via::Via;

/// An invalid message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Must not be answered (a response, an ACK, or not SIP); the reason, for the counters.
    Drop(&'static str),
    /// A request to be answered with this complete response, to the address in its first Via.
    Answer(Box<ErrorResponse>),
}

/// The complete error response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse {
    /// The response.
    pub draft: Draft,
    /// First Via of the request, not yet stamped.
    pub via: Via,
    /// Status code, for the counters.
    pub code: u16,
}

impl ErrorResponse {
    /// Adds the source address to the first Via.
    pub fn stamp(&mut self, source: SocketAddr) {
        self.via.stamp(source);
        self.draft.set_first("Via", self.via.to_string());
    }
}

/// The error response to a request, if enough of it can be parsed to answer.
pub(super) fn refusal(code: u16, e: &WireError, headers: &Headers, is_ack: bool) -> Refusal {
    if is_ack {
        return Refusal::Drop("malformed ACK");
    }
    let first = headers.get("Via").map(|v| split(v, ',').unwrap_or_else(|_| vec![v])).unwrap_or_default();
    // Broken parameters of Via do not prevent an answer.
    let via = first.first().and_then(|v| {
        let bare = v.split([';', ',']).next().unwrap_or_default();
        Via::parse(v.trim()).or_else(|_| Via::parse(bare.trim())).ok()
    });
    let Some(via) = via else { return Refusal::Drop("request without a usable Via") };
    let reason = if code == 505 { "Version Not Supported".to_owned() } else { format!("Bad Request: {e}") };
    let mut draft = Draft::status(code, &reason);
    draft.push("Via", via.to_string());
    for rest in first.iter().skip(1) {
        draft.push("Via", rest.trim());
    }
    for value in headers.all("Via").skip(1) {
        draft.push("Via", value);
    }
    for name in ["From", "To", "Call-ID", "CSeq"] {
        if let Some(value) = headers.get(name) {
            draft.push(name, value);
        }
    }
    Refusal::Answer(Box::new(ErrorResponse { draft, via, code }))
}
