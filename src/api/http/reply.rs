//! A complete reply: status, headers and body, independent of picoserve.

use std::fs::File;
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use super::error::{ApiError, ErrorBody};
use crate::base::http_date::date_field;
use crate::base::time::{Now, Utc};

/// A reply to be sent.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Body bytes; empty for 204.
    pub body: Vec<u8>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body is this part of a file instead.
    pub file: Option<FilePart>,
}

/// Part of a file, sent in pieces.
#[derive(Debug)]
pub struct FilePart {
    /// The file, positioned at the first byte to send; open, so that it may be deleted meanwhile.
    pub file: File,
    /// Number of bytes.
    pub len: u64,
}

/// A JSON object with the gateway's name as its first key.
#[derive(Serialize, JsonSchema)]
pub struct Named<'a, T> {
    /// Name of the gateway instance.
    pub instance_id: &'a str,
    /// The object.
    #[serde(flatten)]
    pub body: T,
}

impl Reply {
    /// A JSON object with `instance_id`.
    pub fn object<T: Serialize>(status: u16, instance_id: &str, body: T) -> Self {
        Self::json(status, &Named { instance_id, body })
    }

    /// Any JSON value without `instance_id`, e.g. arrays and documents.
    pub fn json<T: Serialize>(status: u16, value: &T) -> Self {
        // Serialization of our own types cannot fail; an empty body would reveal it.
        let mut body = serde_json::to_vec(value).unwrap_or_default();
        body.push(b'\n');
        Self { status, content_type: "application/json", body, headers: Vec::new(), file: None }
    }

    /// Plain text of this media type.
    #[must_use]
    pub fn text(content_type: &'static str, body: String) -> Self {
        Self { status: 200, content_type, body: body.into_bytes(), headers: Vec::new(), file: None }
    }

    /// No content.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            status: 204,
            content_type: "application/json",
            body: Vec::new(),
            headers: Vec::new(),
            file: None,
        }
    }

    /// Status and body of an error.
    #[must_use]
    pub fn error(instance_id: &str, e: &ApiError) -> Self {
        let mut reply = Self::object(e.status(), instance_id, ErrorBody { error: e.to_string() });
        match e {
            ApiError::Unauthorized => reply.headers.push(("WWW-Authenticate", "Bearer".to_owned())),
            ApiError::MethodNotAllowed(allow) => reply.headers.push(("Allow", allow.clone())),
            ApiError::NoSuchPart(length) => {
                reply.headers.push(("Content-Range", format!("bytes */{length}")))
            }
            ApiError::Unavailable(_) => reply.headers.push(("Retry-After", "5".to_owned())),
            ApiError::BadRequest(_)
            | ApiError::Forbidden
            | ApiError::CrossOrigin
            | ApiError::Misdirected(_)
            | ApiError::NotFound(_)
            | ApiError::BodyTimeout
            | ApiError::PreconditionFailed
            | ApiError::TooLarge
            | ApiError::Conflict(_)
            | ApiError::Internal(_)
            | ApiError::NotImplemented(_) => {}
        }
        reply
    }

    /// Adds `Date`, unless the clock is not set.
    #[must_use]
    pub fn dated(mut self, now: Utc) -> Self {
        self.headers.extend(date_field(now).map(|date| ("Date", date)));
        self
    }

    /// The complete HTTP/1.1 response with `Connection: close`, for connections that picoserve never sees.
    #[must_use]
    pub fn to_bytes(&self, to_head: bool) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {} \r\nContent-Type: {}\r\n", self.status, self.content_type);
        for (name, value) in &self.headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", self.body.len()));
        let mut bytes = out.into_bytes();
        // A response to HEAD has no content (RFC 9110 §9.3.2).
        if !to_head {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// A future time as RFC 3339 text.
#[must_use]
pub fn timestamp(now: Now, at: Instant) -> String {
    now.after(at.saturating_duration_since(now.mono)).utc.rfc3339()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_comes_first() {
        let r = Reply::error("I", &ApiError::NotFound("leg not found".into()));
        assert_eq!(r.status, 404);
        assert_eq!(r.body, b"{\"instance_id\":\"I\",\"error\":\"leg not found\"}\n");
    }

    #[test]
    fn an_answer_is_dated_by_a_clock_that_was_set() {
        let bytes = |secs: u64, to_head| {
            let reply = Reply::error("I", &ApiError::Forbidden).dated(Utc::from_millis(secs * 1000));
            String::from_utf8(reply.to_bytes(to_head)).unwrap()
        };
        assert!(bytes(1_776_330_000, false).contains("\r\nDate: Thu, 16 Apr 2026 09:00:00 GMT\r\n"));
        assert!(!bytes(60, false).contains("Date"), "since 1970 it was never set");
        let (whole, head) = (bytes(60, false), bytes(60, true));
        assert!(head.ends_with("\r\n\r\n") && whole.starts_with(&head) && whole.ends_with("}\n"), "{whole}");
    }
}
