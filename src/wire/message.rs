//! Whole messages: bytes in, typed requests and responses out, or the reason and the cheapest right answer.

use std::net::SocketAddr;

use super::draft::Draft;
use super::headers::{Headers, same};
use super::method::Method;
use super::name_addr::NameAddr;
use super::params::split;
use super::start_line::{StartError, StartLine};
use super::uri::Uri;
use super::via::Via;
use super::{MAX_HEADERS, MAX_MESSAGE};

/// What is wrong with bytes from the network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A part that does not follow its grammar.
    #[error("malformed {0}")]
    Value(&'static str),
    /// A header every message needs is not there.
    #[error("missing {0}")]
    Missing(&'static str),
    /// A header that may stand once stands twice.
    #[error("more than one {0}")]
    Twice(&'static str),
    /// Another version of SIP than 2.0.
    #[error("another version of SIP")]
    Version,
    /// A limit of ours.
    #[error("too large: {0}")]
    TooLarge(&'static str),
}

/// A message that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing may be answered (a response, an ACK, or not SIP at all); why, for the counters.
    Drop(&'static str),
    /// A request that gets this response, complete, if its first Via says where to.
    Answer(Box<Answer>),
}

/// A ready refusal of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The response.
    pub draft: Draft,
    /// First Via of the request, not yet stamped.
    pub via: Via,
    /// Status code, for the counters.
    pub code: u16,
}

/// A usable message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Box<Request>),
    /// A response.
    Response(Box<Response>),
}

/// What both kinds of message carry.
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
    /// True when it came by a SIPS URI, so that the Contact in its response has to be one (RFC 3261 §12.1.1).
    #[must_use]
    pub fn is_secure(&self) -> bool {
        let back = match self.common.route("Record-Route") {
            Ok(route) if !route.is_empty() => route.first().map(|r| r.uri.is_secure()),
            Ok(_) | Err(_) => self.common.contacts.first().map(|c| c.uri.is_secure()),
        };
        self.uri.is_secure() || back == Some(true)
    }

    /// The same with these header fields only (full names), and without its body.
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

    /// Bytes that it keeps, about: each field is held once as written, some a second time by their parts.
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

impl Answer {
    /// Notes in the first Via where the request came from.
    pub fn stamp(&mut self, source: SocketAddr) {
        self.via.stamp(source);
        self.draft.set_first("Via", self.via.to_string());
    }
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

impl Request {
    /// Notes in the first Via where the request came from.
    pub fn stamp(&mut self, source: SocketAddr) {
        self.common.via.stamp(source);
    }
}

/// Reads one complete message: a datagram, or what the stream framing cut out.
///
/// # Errors
/// See [`Refusal`].
pub fn parse(bytes: &[u8]) -> Result<Message, Refusal> {
    if bytes.len() > MAX_MESSAGE {
        return Err(Refusal::Drop("too large"));
    }
    let (head, body) = super::stream::split_head(bytes).ok_or(Refusal::Drop("no end of header"))?;
    let text = String::from_utf8_lossy(head);
    let mut lines = unfold(&text);
    let first = lines.next().unwrap_or_default();
    let start = StartLine::parse(&first);
    if matches!(start, Err(StartError::NotSip)) {
        return Err(Refusal::Drop("not SIP"));
    }
    let mut headers = Headers::default();
    let mut error = None;
    for line in lines {
        match line.split_once(':') {
            // A CR of its own is nothing (RFC 3261 §25.1), and would be lost on the way out.
            Some((name, value)) if is_name(name.trim_end()) && !value.contains('\r') => {
                headers.push(name.trim_end(), value.trim());
            }
            _ => error = error.or(Some(WireError::Value("header line"))),
        }
    }
    if headers.len() > MAX_HEADERS {
        error = error.or(Some(WireError::TooLarge("number of header fields")));
    }
    let is_ack = first.starts_with("ACK ");
    let refuse = |code: u16, e: &WireError| refusal(code, e, &headers, is_ack);
    let start = match start {
        Ok(start) => start,
        Err(StartError::Version) => return Err(refuse(505, &WireError::Version)),
        Err(StartError::BadRequest(e)) => return Err(refuse(400, &e)),
        Err(StartError::NotSip | StartError::BadResponse) => return Err(Refusal::Drop("bad status line")),
    };
    let is_request = matches!(start, StartLine::Request(..));
    let fail = |e: &WireError| match e {
        _ if !is_request => Refusal::Drop("malformed response"),
        WireError::Version => refuse(505, e),
        WireError::Value(_) | WireError::Missing(_) | WireError::Twice(_) | WireError::TooLarge(_) => {
            refuse(400, e)
        }
    };
    if let Some(e) = error {
        return Err(fail(&e));
    }
    let common = common(&headers, body).map_err(|e| fail(&e))?;
    match start {
        StartLine::Request(method, uri) => {
            if method != common.cseq_method {
                return Err(refuse(400, &WireError::Value("CSeq: its method is not the request's")));
            }
            let max_forwards = max_forwards(&headers).map_err(|e| refuse(400, &e))?;
            Ok(Message::Request(Box::new(Request { method, uri, max_forwards, common })))
        }
        StartLine::Response(code, reason) => {
            Ok(Message::Response(Box::new(Response { code, reason, common })))
        }
    }
}

/// Lines with their continuations joined to them.
pub(super) fn unfold(text: &str) -> impl Iterator<Item = String> {
    let mut out: Vec<String> = Vec::new();
    for line in text.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l)) {
        match out.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ if line.is_empty() => {}
            _ => out.push(line.to_owned()),
        }
    }
    out.into_iter()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(super::params::is_token)
}

fn single<'h>(headers: &'h Headers, name: &'static str) -> Result<Option<&'h str>, WireError> {
    let mut values = headers.all(name);
    let first = values.next();
    if values.next().is_some() {
        return Err(WireError::Twice(name));
    }
    Ok(first)
}

fn needed<'h>(headers: &'h Headers, name: &'static str) -> Result<&'h str, WireError> {
    single(headers, name)?.ok_or(WireError::Missing(name))
}

fn common(headers: &Headers, body: &[u8]) -> Result<Common, WireError> {
    let (via, more_vias) = vias(headers)?;
    let (cseq, cseq_method) = cseq(needed(headers, "CSeq")?)?;
    let call_id = needed(headers, "Call-ID")?;
    if call_id.is_empty() || call_id.contains(char::is_whitespace) {
        return Err(WireError::Value("Call-ID"));
    }
    let expires =
        headers.get("Expires").is_some_and(|v| v.len() > 10 && v.bytes().all(|b| b.is_ascii_digit()));
    if expires {
        return Err(WireError::Value("Expires"));
    }
    let mut contacts = Vec::new();
    for value in headers.all("Contact").filter(|v| v.trim() != "*") {
        contacts.extend(NameAddr::parse_list(value).map_err(|_| WireError::Value("Contact"))?);
    }
    Ok(Common {
        via,
        more_vias,
        from: NameAddr::parse(needed(headers, "From")?).map_err(|_| WireError::Value("From"))?,
        to: NameAddr::parse(needed(headers, "To")?).map_err(|_| WireError::Value("To"))?,
        call_id: call_id.to_owned(),
        cseq,
        cseq_method,
        contacts,
        headers: headers.clone(),
        body: cut_body(headers, body)?,
    })
}

fn vias(headers: &Headers) -> Result<(Via, Vec<String>), WireError> {
    let lists: Result<Vec<Vec<&str>>, _> = headers.all("Via").map(|v| split(v, ',')).collect();
    let mut all = lists.map_err(|_| WireError::Value("Via"))?.into_iter().flatten().map(str::trim);
    let top = Via::parse(all.next().ok_or(WireError::Missing("Via"))?)?;
    // What hops further away speak is for those who talk to them to judge.
    top.check_protocol()?;
    let more: Vec<String> = all.map(str::to_owned).collect();
    if more.iter().any(|v| Via::parse(v).is_err()) {
        return Err(WireError::Value("Via"));
    }
    Ok((top, more))
}

fn cseq(value: &str) -> Result<(u32, Method), WireError> {
    let bad = || WireError::Value("CSeq");
    let (number, method) = value.split_once(|c: char| c.is_ascii_whitespace()).ok_or_else(bad)?;
    let number: u32 = number.parse().map_err(|_| bad())?;
    if number >= 1 << 31 {
        return Err(bad());
    }
    Ok((number, Method::parse(method.trim()).ok_or_else(bad)?))
}

fn max_forwards(headers: &Headers) -> Result<Option<u8>, WireError> {
    let Some(value) = single(headers, "Max-Forwards")? else { return Ok(None) };
    value.parse().map(Some).map_err(|_| WireError::Value("Max-Forwards"))
}

/// The body: as long as Content-Length says; without it, to the end of the datagram.
fn cut_body(headers: &Headers, body: &[u8]) -> Result<Vec<u8>, WireError> {
    let Some(value) = single(headers, "Content-Length")? else { return Ok(body.to_vec()) };
    let length = super::stream::content_length(value)?;
    body.get(..length).map(<[u8]>::to_vec).ok_or(WireError::Value("Content-Length: the body is shorter"))
}

/// The refusal of a request, if enough of it can be read to answer at all.
fn refusal(code: u16, e: &WireError, headers: &Headers, is_ack: bool) -> Refusal {
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
    Refusal::Answer(Box::new(Answer { draft, via, code }))
}
