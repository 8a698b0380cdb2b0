//! Received requests and responses.

use std::net::SocketAddr;

use super::error::WireError;
use super::headers::{Headers, same};
use super::method::Method;
use super::name_addr::NameAddr;
use super::uri::Uri;
use super::via::Via;

/// A valid message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Box<Request>),
    /// A response.
    Response(Box<Response>),
}

/// Fields common to requests and responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// First Via.
    pub via: Via,
    /// All further Via values, as written.
    pub more_vias: Vec<String>,
    /// From.
    pub from: NameAddr,
    /// To.
    pub to: NameAddr,
    /// Call-ID.
    pub call_id: String,
    /// Number of CSeq, below 2³¹.
    pub cseq: u32,
    /// Method of CSeq.
    pub cseq_method: Method,
    /// Contact values; empty for `*` too.
    pub contacts: Vec<NameAddr>,
    /// All fields as written.
    pub headers: Headers,
    /// Body.
    pub body: Vec<u8>,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Method, the same as in CSeq.
    pub method: Method,
    /// Request-URI.
    pub uri: Uri,
    /// Max-Forwards, if given.
    pub max_forwards: Option<u8>,
    /// Everything else.
    pub common: Common,
}

impl Request {
    /// Adds the source address to the first Via.
    pub fn stamp(&mut self, source: SocketAddr) {
        self.common.via.stamp(source);
    }

    /// True if it was sent to a SIPS URI, so that the Contact in its response must be one, too (RFC 3261
    /// §12.1.1).
    #[must_use]
    pub fn is_secure(&self) -> bool {
        let back = match self.common.route("Record-Route") {
            Ok(route) if !route.is_empty() => route.first().map(|r| r.uri.is_secure()),
            Ok(_) | Err(_) => self.common.contacts.first().map(|c| c.uri.is_secure()),
        };
        self.uri.is_secure() || back == Some(true)
    }

    /// A copy with these header fields only (full names), without body.
    #[must_use]
    pub fn reduced(&self, names: &[&str]) -> Self {
        let mut headers = Headers::default();
        for (name, value) in self.common.headers.iter().filter(|(n, _)| names.iter().any(|m| same(n, m))) {
            headers.push(name, value);
        }
        let c = &self.common;
        Self {
            method: self.method.clone(),
            uri: self.uri.clone(),
            max_forwards: self.max_forwards,
            common: Common {
                via: c.via.clone(),
                more_vias: c.more_vias.clone(),
                from: c.from.clone(),
                to: c.to.clone(),
                call_id: c.call_id.clone(),
                cseq: c.cseq,
                cseq_method: c.cseq_method.clone(),
                contacts: c.contacts.clone(),
                headers,
                body: Vec::new(),
            },
        }
    }

    /// Approximate memory, bytes: each field is stored once as written, some a second time as parsed parts.
    #[must_use]
    pub fn size(&self) -> usize {
        let fields: usize = self.common.headers.iter().map(|(n, v)| n.len() + v.len() + 48).sum();
        let vias: usize = self.common.more_vias.iter().map(|v| v.len() + 24).sum();
        fields + vias + self.common.body.len()
    }
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code, 100 to 699.
    pub code: u16,
    /// Reason phrase.
    pub reason: String,
    /// Everything else.
    pub common: Common,
}

impl Common {
    /// The addresses of all Route or Record-Route fields, in order.
    ///
    /// # Errors
    /// A malformed address.
    pub fn route(&self, name: &'static str) -> Result<Vec<NameAddr>, WireError> {
        let lists: Result<Vec<_>, _> = self.headers.all(name).map(NameAddr::parse_list).collect();
        Ok(lists?.into_iter().flatten().collect())
    }
}
