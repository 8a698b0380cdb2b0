//! One signed HTTP request.

use std::io::Read;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use ureq::http::Response;
use ureq::{Agent, Body, SendBody};

use super::s3_response::{Answer, bare};
use super::sigv4::{Keys, Unsigned, sign};
use super::way::Way;
use crate::base::time::Utc;
use crate::io::system::clock;

/// Longest response read, bytes.
const MAX_ANSWER: u64 = 1024 * 1024;

/// Request body.
pub enum Content<'a> {
    /// Empty.
    Nothing,
    /// Text.
    Text(&'a str),
    /// This many bytes of a reader, with this SHA-256, and a time-out.
    Sound(&'a mut dyn Read, u64, [u8; 32], Duration),
}

/// A request.
pub struct Request<'a> {
    /// `GET`, `PUT` and so on.
    pub method: &'static str,
    /// Object key.
    pub key: &'a str,
    /// Query parameters, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// Body.
    pub content: Content<'a>,
}

/// Carries out a request.
///
/// # Errors
/// The server is unreachable or does not respond.
pub fn send(agent: &Agent, way: &Way, keys: &Keys, request: Request<'_>) -> Result<Answer, String> {
    let (length, digest) = match &request.content {
        Content::Nothing => (0, Sha256::digest([]).into()),
        Content::Text(text) => (text.len() as u64, Sha256::digest(text).into()),
        Content::Sound(_, length, digest, _) => (*length, *digest),
    };
    let sound = matches!(request.content, Content::Sound(..));
    let plain = "application/xml";
    let kind = if sound || request.query.iter().any(|(k, _)| *k == "uploads") { "audio/wav" } else { plain };
    let server = &way.server;
    let has_body = matches!(request.method, "PUT" | "POST");
    let headers = [("content-type", kind)];
    let unsigned = Unsigned {
        method: request.method,
        host: &server.host,
        path: &format!("{}{}", server.root, request.key),
        query: request.query,
        headers: if has_body { &headers } else { &[] },
        body: digest,
    };
    let signed = sign(&unsigned, keys, &way.region, &stamp(way.time(clock::now().utc)));
    let mut out = ureq::http::Request::builder()
        .method(request.method)
        .uri(format!("{}{}", server.base, signed.path_and_query));
    for (name, value) in &signed.headers {
        out = out.header(*name, value);
    }
    if has_body {
        out = out.header("content-type", kind).header("content-length", length);
    }
    if sound && way.expect {
        // If the server rejects the request, the body is not sent.
        out = out.header("expect", "100-continue");
    }
    let reply = match request.content {
        Content::Nothing => out.body(()).map(|out| agent.run(out)),
        Content::Text(text) => out.body(text).map(|out| agent.run(out)),
        Content::Sound(reader, _, _, patience) => out.body(SendBody::from_reader(reader)).map(|out| {
            let out = agent.configure_request(out).timeout_send_body(Some(patience)).build();
            agent.run(out)
        }),
    };
    let reply = reply.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    answer(reply)
}

fn answer(mut reply: Response<Body>) -> Result<Answer, String> {
    let header = |name: &str| reply.headers().get(name).and_then(|v| v.to_str().ok());
    let text_of = |name: &str| header(name).map(str::to_owned);
    let told = Answer {
        status: reply.status().as_u16(),
        etag: header("etag").map(bare).filter(|etag| !etag.is_empty()),
        length: header("content-length").and_then(|l| l.parse().ok()),
        location: text_of("location"),
        region: text_of("x-amz-bucket-region"),
        date: text_of("date"),
        retry_after: text_of("retry-after"),
        text: String::new(),
    };
    let text = reply.body_mut().with_config().limit(MAX_ANSWER).lossy_utf8(true).read_to_string();
    let text = text.map_err(|e| format!("it answered {} and broke off: {e}", told.status))?;
    Ok(Answer { text, ..told })
}

/// Time stamp as used in signatures.
fn stamp(at: Utc) -> String {
    format!("{}Z", at.compact().replace('_', "T"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_signatures_have_them() {
        assert_eq!(stamp(Utc::from_millis(1_776_330_000_120)), "20260416T090000Z");
    }
}
