//! Message bodies: session descriptions, bodies reported to the application, and unsupported ones.

use crate::gateway::events::{OtherBody, Text};
use crate::gateway::sip_messages::capabilities::ACCEPT;
use crate::sdp::{Able, Description, SdpError};
use crate::wire::body::is_encoded;
use crate::wire::message::Common;
use crate::wire::{Body, Request};

/// Types reported to the application but not used by the gateway: ISUP/QSIG (RFC 3204), locations (RFC 6442),
/// recording metadata (RFC 7866).
const NAMED: [&str; 5] = [
    "application/isup",
    "application/qsig",
    "application/pidf+xml",
    "application/rs-metadata",
    "application/rs-metadata+xml",
];
/// Emergency call data (RFC 7852).
const EMERGENCY: &str = "application/emergencycalldata.";

fn is_known(media_type: &str) -> bool {
    let used = ACCEPT.split(", ").any(|t| t == media_type);
    used || NAMED.contains(&media_type) || media_type.starts_with(EMERGENCY)
}

/// The SDP offer in a request; `None` without one.
pub(in crate::gateway) fn offer_of(
    request: &Request,
    able: &Able<'_>,
) -> Result<Option<Description>, SdpError> {
    description(&request.common, "", |sdp| Description::parse_for(sdp, able))
}

/// The SDP answer in a response or ACK; `None` without one. A missing Content-Type is tolerated.
pub(in crate::gateway) fn answer_of(message: &Common) -> Result<Option<Description>, SdpError> {
    description(message, "application/sdp", Description::parse)
}

/// The best readable session description; if none is, the error of the best one.
fn description(
    message: &Common,
    media_type: &str,
    read: impl Fn(&[u8]) -> Result<Description, SdpError>,
) -> Result<Option<Description>, SdpError> {
    let Some(body) = Body::of(message, media_type).map_err(|_| SdpError::Malformed)? else { return Ok(None) };
    let mut wrong = None;
    for part in body.sessions() {
        match part.content().ok_or(SdpError::Malformed).and_then(|sdp| read(&sdp)) {
            Ok(description) => return Ok(Some(description)),
            Err(e) => wrong = wrong.or(Some(e)),
        }
    }
    wrong.map_or(Ok(None), Err)
}

/// Error response if the body of a request that may change a session is unsupported (RFC 3261 §8.2.3, RFC
/// 5621), or our answer would not be acceptable.
pub(in crate::gateway) fn refusal_of_body(request: &Request) -> Option<(u16, &'static str)> {
    const UNSUPPORTED: Option<(u16, &str)> = Some((415, "Unsupported Media Type"));
    let c = &request.common;
    if is_encoded(&c.headers) {
        return UNSUPPORTED;
    }
    match Body::of(c, "") {
        Ok(None) => {}
        // Every part must be understood unless marked as optional (RFC 3261 §20.11).
        Ok(Some(Body::Part(part))) if part.required != Some(false) && !is_known(&part.media_type) => {
            return UNSUPPORTED;
        }
        Ok(Some(body)) if body.is_beyond(&is_known) => return UNSUPPORTED,
        Ok(Some(body)) => {
            let sessions = body.sessions();
            let unread =
                |p: &&crate::wire::body::Part<'_>| p.content().is_none() && p.required != Some(false);
            if !sessions.is_empty() && sessions.iter().all(unread) {
                return UNSUPPORTED;
            }
        }
        Err(_) => return Some((400, "Bad Request: malformed, or too deep or large, multipart body")),
    }
    let mut accepted =
        c.headers.tokens("Accept").map(|t| t.split(';').next().unwrap_or_default().trim()).peekable();
    let takes =
        |t: &str| ["application/sdp", "application/*", "*/*"].iter().any(|a| a.eq_ignore_ascii_case(t));
    if accepted.peek().is_some() && !accepted.any(takes) {
        return Some((406, "Not Acceptable"));
    }
    None
}

/// Bodies of a request other than the session description, for events: types and sizes only.
pub(in crate::gateway) fn other_bodies(request: &Request) -> Vec<OtherBody> {
    let Ok(Some(body)) = Body::of(&request.common, "") else { return Vec::new() };
    let others = body.leaves().into_iter().filter(|p| !p.is_session());
    others
        .map(|p| OtherBody {
            content_type: p.media_type.as_str().into(),
            disposition: p.disposition.as_str().into(),
            content_id: p.content_id.as_deref().map(Text::from),
            bytes: p.data.len(),
        })
        .collect()
}
