//! Builder for outgoing messages: start line, header fields in order, body; Content-Length is always correct.

use super::message::Request;
use super::method::Method;
use super::uri::Uri;

/// A message being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    start: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Draft {
    /// Starts a request.
    #[must_use]
    pub fn request(method: &Method, uri: &Uri) -> Self {
        Self { start: format!("{method} {uri} SIP/2.0"), headers: Vec::new(), body: Vec::new() }
    }

    /// Starts a response.
    #[must_use]
    pub fn status(code: u16, reason: &str) -> Self {
        let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
        Self { start: format!("SIP/2.0 {code} {reason}"), headers: Vec::new(), body: Vec::new() }
    }

    /// A response to `request` with the fields it must copy (RFC 3261 §8.2.6.2). `tag` is added to To if it
    /// has none.
    #[must_use]
    pub fn response(request: &Request, code: u16, reason: &str, tag: Option<&str>) -> Self {
        let c = &request.common;
        let mut draft = Self::status(code, reason);
        draft.push("Via", c.via.to_string());
        for via in &c.more_vias {
            draft.push("Via", via.as_str());
        }
        draft.push("From", c.headers.get("From").unwrap_or_default());
        let to = c.headers.get("To").unwrap_or_default();
        match tag {
            Some(tag) if c.to.tag().is_none() => draft.push("To", format!("{to};tag={tag}")),
            _ => draft.push("To", to),
        }
        draft.push("Call-ID", c.call_id.as_str());
        draft.push("CSeq", format!("{} {}", c.cseq, c.cseq_method));
        draft
    }

    /// Appends a field. Line breaks, which would end the field early, are removed; everything else is sent
    /// unchanged, including NUL in a quoted string.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let mut value = value.into();
        value.retain(|c| !matches!(c, '\r' | '\n'));
        self.headers.push((name.into(), value));
    }

    /// A request derived from this one: same Request-URI, Via, From, Call-ID, Route and CSeq number, for
    /// CANCEL and the ACK to a final error (RFC 3261 §9.1, §17.1.1.3). The caller adds To.
    #[must_use]
    pub fn derive(&self, method: &Method) -> Self {
        let uri = self.request_uri();
        let mut out =
            Self { start: format!("{method} {uri} SIP/2.0"), headers: Vec::new(), body: Vec::new() };
        for (name, value) in &self.headers {
            match name.as_str() {
                "Via" | "From" | "Call-ID" | "Route" | "Max-Forwards" => {
                    out.push(name.as_str(), value.as_str())
                }
                "CSeq" => {
                    let number = value.split(' ').next().unwrap_or_default();
                    out.push("CSeq", format!("{number} {method}"));
                }
                _ => {}
            }
        }
        out
    }

    /// Inserts a field before all others, e.g. the Via of a client transaction.
    pub fn push_front(&mut self, name: &str, value: String) {
        self.headers.insert(0, (name.to_owned(), value));
    }

    /// Replaces the first value of a field, if present.
    pub fn set_first(&mut self, name: &str, value: String) {
        if let Some((_, v)) = self.headers.iter_mut().find(|(n, _)| n == name) {
            *v = value;
        }
    }

    /// The Request-URI.
    #[must_use]
    pub fn request_uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// All values of a field, by its exact name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The first value of a field, by its exact name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Sets the body and its type.
    pub fn set_body(&mut self, content_type: &str, body: Vec<u8>) {
        self.push("Content-Type", content_type);
        self.body = body;
    }

    /// The serialized message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 + self.body.len());
        let mut line = |parts: &[&str]| {
            for p in parts {
                out.extend_from_slice(p.as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        };
        line(&[&self.start]);
        for (name, value) in &self.headers {
            line(&[name, ": ", value]);
        }
        line(&["Content-Length: ", &self.body.len().to_string()]);
        line(&[]);
        out.extend_from_slice(&self.body);
        out
    }
}
