//! The strict reader in front of the HTTP engine (RFC 9112): what it lets through has one meaning only.

use percent_encoding::percent_decode_str;

/// Largest request head, bytes.
pub const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// A judged request head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Method as sent; methods are case-sensitive.
    pub method: String,
    /// Decoded path segments.
    pub path: Vec<String>,
    /// Query, still encoded.
    pub query: Option<String>,
    /// Bytes of body that follow; `u64::MAX` when the number given was larger.
    pub body_len: u64,
    /// The client wants the connection kept.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// `Authorization`.
    pub authorization: Option<String>,
    /// `Origin`.
    pub origin: Option<String>,
    /// `Range`.
    pub range: Option<String>,
}

/// What the bytes read so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The head has not ended yet.
    More,
    /// A good head and its length in bytes.
    Good(Head, usize),
    /// Refused: status code and reason. The connection cannot be used further.
    Bad(u16, &'static str),
}

/// Judges the bytes of a connection from the start of a request on.
#[must_use]
pub fn judge(bytes: &[u8]) -> Verdict {
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut slots);
    let window = bytes.get(..bytes.len().min(MAX_HEAD)).unwrap_or_default();
    match request.parse(window) {
        Ok(httparse::Status::Complete(len)) => match good(&request) {
            Ok(head) => Verdict::Good(head, len),
            Err((status, why)) => Verdict::Bad(status, why),
        },
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_HEAD => {
            Verdict::Bad(431, "the request head is larger than 16 KiB")
        }
        Ok(httparse::Status::Partial) => Verdict::More,
        Err(httparse::Error::TooManyHeaders) => Verdict::Bad(431, "more than 64 header fields"),
        Err(httparse::Error::Version) => Verdict::Bad(505, "only HTTP/1.0 and HTTP/1.1 are spoken here"),
        Err(_) => Verdict::Bad(400, "malformed HTTP request head"),
    }
}

type Refusal = (u16, &'static str);

fn good(request: &httparse::Request<'_, '_>) -> Result<Head, Refusal> {
    let version = request.version.unwrap_or(0);
    let target = request.path.unwrap_or_default();
    let (path, query) = split_target(target)?;
    if one(request, "transfer-encoding")?.is_some() {
        return Err((411, "Transfer-Encoding is not accepted: send Content-Length"));
    }
    if version == 1 && one(request, "host")?.is_none() {
        return Err((400, "an HTTP/1.1 request needs one Host header"));
    }
    let connection = one(request, "connection")?.unwrap_or_default().to_ascii_lowercase();
    let says = |word: &str| connection.split(',').any(|t| t.trim() == word);
    Ok(Head {
        method: request.method.unwrap_or_default().to_owned(),
        path,
        query,
        body_len: body_len(one(request, "content-length")?)?,
        keep_alive: !says("close") && (version == 1 || says("keep-alive")),
        expects_continue: one(request, "expect")?.is_some_and(|v| v.eq_ignore_ascii_case("100-continue")),
        authorization: one(request, "authorization")?.map(str::to_owned),
        origin: one(request, "origin")?.map(str::to_owned),
        range: one(request, "range")?.map(str::to_owned),
    })
}

/// The value of a header that may stand at most once, and must be text.
fn one<'a>(request: &httparse::Request<'_, 'a>, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut found = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
    let Some(first) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err((400, "a header field that decides how the request is read stands twice"));
    }
    std::str::from_utf8(first.value).map(|v| Some(v.trim())).map_err(|_| (400, "a header field is not UTF-8"))
}

fn body_len(value: Option<&str>) -> Result<u64, Refusal> {
    let Some(value) = value else { return Ok(0) };
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err((400, "Content-Length is not a number of bytes"));
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

fn split_target(target: &str) -> Result<(Vec<String>, Option<String>), Refusal> {
    let rest = match target.strip_prefix("http://") {
        Some(absolute) => absolute.find('/').and_then(|at| absolute.get(at..)).unwrap_or("/"),
        None => target,
    };
    if rest == "*" {
        return Ok((Vec::new(), None));
    }
    let Some(rest) = rest.strip_prefix('/') else {
        return Err((400, "the request target does not start with /"));
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = rest.split_once('?').map_or((rest, None), |(p, q)| (p, Some(q.to_owned())));
    let decode = |s: &str| percent_decode_str(s).decode_utf8().map(|s| s.into_owned());
    let segments: Result<Vec<String>, _> =
        if path.is_empty() { Ok(Vec::new()) } else { path.split('/').map(decode).collect() };
    Ok((segments.map_err(|_| (400, "the path is not UTF-8"))?, query))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        let Verdict::Good(h, len) = judge(text.as_bytes()) else { panic!("{text:?} is not good") };
        assert_eq!(len, text.len());
        h
    }

    fn bad(text: &str) -> u16 {
        let Verdict::Bad(status, _) = judge(text.as_bytes()) else { panic!("{text:?} is not bad") };
        status
    }

    #[test]
    fn a_plain_request() {
        let h = head("POST /v1/legs/a%20b/dtmf?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\n");
        assert_eq!((h.method.as_str(), h.body_len, h.keep_alive), ("POST", 12, true));
        assert_eq!(h.path, ["v1", "legs", "a b", "dtmf"]);
        assert_eq!(h.query.as_deref(), Some("x=1"));
    }

    #[test]
    fn keep_alive_follows_version_and_header() {
        assert!(!head("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(head("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
        assert!(!head("GET / HTTP/1.1\r\nHost: h\r\nConnection: foo, close\r\n\r\n").keep_alive);
    }

    #[test]
    fn absurd_lengths_have_one_meaning() {
        let with = |l: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{l}\r\n\r\n");
        assert_eq!(head(&with("Content-Length: 18446744073709551615")).body_len, u64::MAX);
        assert_eq!(head(&with("Content-Length: 99999999999999999999999")).body_len, u64::MAX);
        for l in [
            "Content-Length: -5",
            "Content-Length: +5",
            "Content-Length: 0x5",
            "Content-Length: 5 5",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5\r\ncontent-length: 6",
            "Content-Length:",
        ] {
            assert_eq!(bad(&with(l)), 400, "{l}");
        }
        assert_eq!(bad(&with("Transfer-Encoding: chunked")), 411);
    }

    #[test]
    fn oversize_truncated_and_garbage() {
        assert_eq!(judge(b"GET / HTTP/1.1\r\nHost"), Verdict::More);
        assert_eq!(bad(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_HEAD))), 431);
        let many: String = (0..80).map(|i| format!("H{i}: x\r\n")).collect();
        assert_eq!(bad(&format!("GET / HTTP/1.1\r\n{many}\r\n")), 431);
        assert_eq!(bad("GET / HTTP/7.0\r\n\r\n"), 505);
        assert_eq!(bad("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(bad("GET foo HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
        assert_eq!(bad("GET /%ff HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
        assert_eq!(bad("\u{1}\u{2}\r\n\r\n"), 400);
    }
}
