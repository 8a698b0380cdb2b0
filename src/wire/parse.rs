//! Message parser: returns typed requests and responses, or the reason and the error response to send.

use super::error::WireError;
use super::headers::{Headers, unfold};
use super::limits::{MAX_HEADERS, MAX_MESSAGE};
use super::message::{Common, Message, Request, Response};
use super::method::Method;
use super::name_addr::NameAddr;
use super::params::{is_token, split};
use super::refusal::{Refusal, refusal};
use super::start_line::{StartError, StartLine};
use super::stream::{content_length, split_head};
use super::via::Via;

/// Parses one complete message: a datagram, or a message extracted from a stream.
///
/// # Errors
/// See [`Refusal`].
pub fn parse(bytes: &[u8]) -> Result<Message, Refusal> {
    if bytes.len() > MAX_MESSAGE {
        return Err(Refusal::Drop("too large"));
    }
    let (head, body) = split_head(bytes).ok_or(Refusal::Drop("no end of header"))?;
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
            // A lone CR is not a line end (RFC 3261 §25.1), and would be lost when the field is sent.
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

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_token)
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
    // The protocol of further hops does not concern us.
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

/// The body: its length is given by Content-Length; without it, up to the end of the datagram.
fn cut_body(headers: &Headers, body: &[u8]) -> Result<Vec<u8>, WireError> {
    let Some(value) = single(headers, "Content-Length")? else { return Ok(body.to_vec()) };
    let length = content_length(value)?;
    body.get(..length).map(<[u8]>::to_vec).ok_or(WireError::Value("Content-Length: the body is shorter"))
}
