//! Refusals of messages that cannot be used, as cheap as they may be.

use std::net::SocketAddr;

use super::draft::Draft;
use super::error::WireError;
use super::headers::Headers;
use super::params::split;
use super::via::Via;

/// A message that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing may be answered (a response, an ACK, or not SIP at all); why, for the counters.
    Drop(&'static str),
    /// A request that gets this response, complete, if its first Via says where to.
    Answer(Box<ErrorResponse>),
}

/// The response that refuses a request, complete.
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
    /// Notes in the first Via where the request came from.
    pub fn stamp(&mut self, source: SocketAddr) {
        self.via.stamp(source);
        self.draft.set_first("Via", self.via.to_string());
    }
}

/// The refusal of a request, if enough of it can be read to answer at all.
pub(super) fn refusal(code: u16, e: &WireError, headers: &Headers, is_ack: bool) -> Refusal {
    if is_ack {
        return Refusal::Drop("malformed ACK");
    }
    let first = headers.get("Via").map(|v| split(v, ',').unwrap_or_else(|_| vec![v])).unwrap_or_default();
    // Broken parameters do not keep a refusal from finding its way.
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
