//! Strict parser of request heads (RFC 9112) in front of picoserve: whatever it accepts is unambiguous.

use percent_encoding::percent_decode_str;

use super::conditional::Conditions;

/// Largest request head, bytes.
pub const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// A checked request head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Method as sent; methods are case-sensitive.
    pub method: String,
    /// Decoded path segments.
    pub path: Vec<String>,
    /// Query string, still encoded.
    pub query: Option<String>,
    /// Length of the body, bytes; `u64::MAX` if the given number was larger.
    pub body_len: u64,
    /// The client wants to keep the connection open.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before sending the body.
    pub expects_continue: bool,
    /// `Authorization`.
    pub authorization: Option<String>,
    /// Host and port from the request; `None`: an HTTP/1.0 client gave none.
    pub host: Option<String>,
    /// `Origin`.
    pub origin: Option<String>,
    /// `Sec-Fetch-Site`: relation of the requesting page, according to the browser.
    pub fetch_site: Option<String>,
    /// It contains `Access-Control-Request-Method`.
    pub preflight: bool,
    /// `If-Match`, `If-None-Match`, `If-Range` and `Range`.
    pub conditions: Box<Conditions>,
}

/// Result of parsing the bytes received so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The head is incomplete.
    More,
    /// A valid head and its length in bytes.
    Good(Head, usize),
    /// Refused: status code and reason. The connection must be closed.
    Bad(u16, &'static str),
}

/// Parses the bytes of a connection, starting at a request.
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
    let method = request.method.unwrap_or_default();
    let target = request.path.unwrap_or_default();
    let (path, query) = split_target(target)?;
    not_encoded(version, list(request, "transfer-encoding").as_deref())?;
    // Several are an error in every version, none only in HTTP/1.1 (RFC 9112 §3.2).
    let host = one(request, "host", "there may be one Host field only")?;
    // An absolute-form target replaces the field (RFC 9112 §3.2.2).
    let named = authority(target);
    match host {
        None if version == 1 => return Err((400, "an HTTP/1.1 request needs one Host header")),
        Some(host) if !is_host(host) => return Err((400, "Host is not a name or address and a port")),
        _ => {}
    }
    if named.is_some_and(|named| !is_host(named)) {
        return Err((400, "the request target names no host"));
    }
    let connection = list(request, "connection").unwrap_or_default();
    let says = |word: &str| members(&connection).any(|t| t.eq_ignore_ascii_case(word));
    let body_len = body_len(one(request, "content-length", "there may be one Content-Length field only")?)?;
    let once = |name: &str, twice: &'static str| Ok(one(request, name, twice)?.map(str::to_owned));
    Ok(Head {
        method: method.to_owned(),
        path,
        query,
        body_len,
        keep_alive: !says("close") && (version == 1 || says("keep-alive")),
        // Ignored without content and in HTTP/1.0 (RFC 9110 §10.1.1).
        expects_continue: version == 1 && expects(list(request, "expect").as_deref())? && body_len > 0,
        authorization: once("authorization", "there may be one Authorization field only")?,
        host: named.or(host).map(str::to_owned),
        origin: once("origin", "there may be one Origin field only")?,
        fetch_site: list(request, "sec-fetch-site"),
        preflight: lines(request, "access-control-request-method").next().is_some(),
        conditions: Box::new(conditions(request, method == "GET")),
    })
}

/// Refuses bodies with a transfer coding; the error depends on the kind of coding (RFC 9112 §6.1, §6.3).
fn not_encoded(version: u8, codings: Option<&str>) -> Result<(), Refusal> {
    let Some(codings) = codings else { return Ok(()) };
    let chunked = |c: &str| c.eq_ignore_ascii_case("chunked");
    if version == 0 {
        return Err((400, "HTTP/1.0 has no Transfer-Encoding: send Content-Length"));
    }
    match members(codings).collect::<Vec<_>>().as_slice() {
        [only] if chunked(only) => Err((411, "Transfer-Encoding is not accepted: send Content-Length")),
        [before @ .., last] if chunked(last) && !before.iter().any(|c| chunked(c)) => {
            Err((501, "these transfer codings are not known here: send Content-Length"))
        }
        _ => Err((400, "the last transfer coding, and no other, has to be chunked")),
    }
}

/// True if `100 Continue` is expected. Other expectations are refused.
fn expects(expectations: Option<&str>) -> Result<bool, Refusal> {
    let Some(expectations) = expectations else { return Ok(false) };
    if members(expectations).all(|e| e.eq_ignore_ascii_case("100-continue")) {
        return Ok(members(expectations).next().is_some());
    }
    Err((417, "nothing but 100-continue can be expected here"))
}

/// Conditional and range headers: never a reason to refuse a request.
fn conditions(request: &httparse::Request<'_, '_>, is_get: bool) -> Conditions {
    let single = |name: &str| {
        let mut lines = lines(request, name);
        let first = lines.next()?;
        Some(if lines.next().is_some() { String::new() } else { first.into_owned() })
    };
    Conditions {
        if_match: list(request, "if-match"),
        if_none_match: list(request, "if-none-match"),
        if_range: single("if-range"),
        range: single("range").filter(|range| is_get && !range.is_empty()),
    }
}

fn lines<'r>(
    request: &'r httparse::Request<'_, '_>,
    name: &'r str,
) -> impl Iterator<Item = std::borrow::Cow<'r, str>> {
    let lines = request.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name));
    lines.map(|h| String::from_utf8_lossy(h.value.trim_ascii()))
}

/// The lines of a list field, joined (RFC 9110 §5.3).
fn list(request: &httparse::Request<'_, '_>, name: &str) -> Option<String> {
    lines(request, name).map(std::borrow::Cow::into_owned).reduce(|all, line| format!("{all}, {line}"))
}

/// Elements of a list; empty ones are ignored (RFC 9110 §5.6.1).
fn members(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(|m| m.trim_matches([' ', '\t'])).filter(|m| !m.is_empty())
}

/// The value of a singleton field, which must be text.
fn one<'a>(
    request: &httparse::Request<'_, 'a>,
    name: &str,
    twice: &'static str,
) -> Result<Option<&'a str>, Refusal> {
    let mut found = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
    let Some(first) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err((400, twice));
    }
    std::str::from_utf8(first.value).map(|v| Some(v.trim())).map_err(|_| (400, "a header field is not UTF-8"))
}

/// True for `uri-host [":" port]` (RFC 9110 §7.2), which may be empty.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("", rest),
        Some(_) => return false,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let in_name = |b: u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&b);
    let digits = |p: &str| p.bytes().all(|b| b.is_ascii_digit());
    name.bytes().all(in_name) && (port.is_empty() || port.strip_prefix(':').is_some_and(digits))
}

fn body_len(value: Option<&str>) -> Result<u64, Refusal> {
    let Some(value) = value else { return Ok(0) };
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err((400, "Content-Length is not a number of bytes"));
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

/// Host and port of an absolute-form request target.
fn authority(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    let http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    http.then(|| rest.split(['/', '?', '#']).next().unwrap_or_default())
}

fn split_target(target: &str) -> Result<(Vec<String>, Option<String>), Refusal> {
    // In absolute form (RFC 9112 §3.2.2) the path may be missing, and the scheme is case-insensitive.
    let absolute = target
        .split_once("://")
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"));
    let rooted;
    let rest = match absolute {
        Some((_, at)) => {
            let rest = at.find(['/', '?', '#']).and_then(|end| at.get(end..)).unwrap_or_default();
            rooted = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
            &rooted
        }
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
    /// Result for a head: a status, or its relevant parts as `method body_len keep_alive expects_continue
    /// range if_range`.
    fn outcome(version: &str, method: &str, lines: &str) -> String {
        let text = format!("{method} / HTTP/{version}\r\n{lines}\r\n\r\n");
        match judge(text.as_bytes()) {
            Verdict::Bad(status, why) => {
                assert!(!why.is_empty());
                status.to_string()
            }
            Verdict::More => panic!("{text:?}"),
            Verdict::Good(h, _) => {
                let flag = |on: bool, name: &str| if on { format!(" {name}") } else { String::new() };
                let c = &h.conditions;
                let field = |name: &str, f: &Option<String>| {
                    f.as_ref().map_or_else(String::new, |f| format!(" {name}={f}"))
                };
                [
                    if h.keep_alive { "keep".to_owned() } else { "close".to_owned() },
                    if h.body_len > 0 { format!(" {}", h.body_len) } else { String::new() },
                    flag(h.expects_continue, "continue"),
                    field("range", &c.range),
                    field("if-range", &c.if_range),
                    field("if-match", &c.if_match),
                    field("if-none-match", &c.if_none_match),
                ]
                .concat()
            }
        }
    }

    /// Each field the parser uses: repeated, as list, with HTTP/1.0, HEAD, and methods for which it has no
    /// meaning.
    #[test]
    fn fields_mean_what_their_definition_says() {
        let table: &[(&str, &str, &str, &str)] = &[
            // Connection is a list (RFC 9110 §7.6.1); `close` takes precedence (RFC 9112 §9.3).
            ("1.1", "GET", "Connection: keep-alive\r\nConnection: TE", "keep"),
            ("1.1", "GET", "Connection: TE\r\nConnection: close", "close"),
            ("1.1", "GET", "Connection: close\r\nconnection: CLOSE", "close"),
            ("1.1", "GET", "Connection: keep-alive, close", "close"),
            ("1.1", "GET", "Connection: ,, TE ,", "keep"),
            ("1.1", "GET", "Connection: closed", "keep"),
            ("1.1", "GET", "Connection: \u{e4}", "keep"),
            ("1.1", "HEAD", "Connection: TE\r\nConnection: close", "close"),
            ("1.0", "GET", "Connection: TE\r\nConnection: Keep-Alive", "keep"),
            ("1.0", "GET", "Connection: keep-alive\r\nConnection: close", "close"),
            ("1.0", "GET", "Connection: TE", "close"),
            // Expect is a list; it is ignored in HTTP/1.0 and without content (RFC 9110 §10.1.1).
            ("1.1", "POST", "Content-Length: 2\r\nExpect: 100-Continue", "keep 2 continue"),
            (
                "1.1",
                "POST",
                "Content-Length: 2\r\nExpect: 100-continue\r\nExpect: 100-continue",
                "keep 2 continue",
            ),
            ("1.1", "POST", "Content-Length: 2\r\nExpect: 100-continue, 100-continue", "keep 2 continue"),
            ("1.1", "POST", "Content-Length: 2\r\nExpect:", "keep 2"),
            ("1.1", "POST", "Content-Length: 2\r\nExpect: 200-ok", "417"),
            ("1.1", "POST", "Content-Length: 2\r\nExpect: 100-continue\r\nExpect: a=b", "417"),
            ("1.1", "POST", "Expect: 100-continue", "keep"),
            ("1.1", "GET", "Expect: 100-continue", "keep"),
            ("1.1", "HEAD", "Expect: 100-continue", "keep"),
            ("1.0", "POST", "Content-Length: 2\r\nExpect: 100-continue", "close 2"),
            ("1.0", "POST", "Content-Length: 2\r\nExpect: 200-ok", "close 2"),
            // Content-Length: once, digits only (RFC 9110 §8.6; a list of equal values may be refused).
            ("1.1", "POST", "Content-Length: 2\r\nContent-Length: 3", "400"),
            ("1.1", "POST", "Content-Length: 2, 2", "400"),
            ("1.0", "POST", "Content-Length: 2\r\nContent-Length: 2", "400"),
            ("1.1", "GET", "Content-Length: 2", "keep 2"),
            ("1.1", "HEAD", "Content-Length: 0", "keep"),
            // Transfer-Encoding is a list (RFC 9112 §6.1, §6.3).
            ("1.1", "POST", "Transfer-Encoding: Chunked", "411"),
            ("1.1", "GET", "Transfer-Encoding: chunked", "411"),
            ("1.1", "POST", "Transfer-Encoding: chunked\r\nContent-Length: 2", "411"),
            ("1.1", "POST", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", "501"),
            ("1.1", "POST", "Transfer-Encoding: gzip, chunked", "501"),
            ("1.1", "POST", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "400"),
            ("1.1", "POST", "Transfer-Encoding: chunked, gzip", "400"),
            ("1.1", "POST", "Transfer-Encoding: identity", "400"),
            ("1.1", "POST", "Transfer-Encoding:", "400"),
            ("1.0", "POST", "Transfer-Encoding: chunked\r\nContent-Length: 2", "400"),
            // Range applies to GET only (RFC 9110 §14.2), and is not a list field.
            ("1.1", "GET", "Range: bytes=0-1", "keep range=bytes=0-1"),
            ("1.0", "GET", "Range: bytes=0-1", "close range=bytes=0-1"),
            ("1.1", "HEAD", "Range: bytes=0-1", "keep"),
            ("1.1", "POST", "Range: bytes=0-1", "keep"),
            ("1.1", "GET", "Range: bytes=0-1\r\nRange: bytes=5-6", "keep"),
            ("1.1", "DELETE", "Range: bytes=0-1\r\nRange: bytes=5-6", "keep"),
            ("1.1", "GET", "Range: \u{e4}", "keep range=\u{e4}"),
            // A repeated If-Range never matches; If-Match and If-None-Match are lists (RFC 9110 §13.1).
            ("1.1", "GET", "If-Range: \"a\"", "keep if-range=\"a\""),
            ("1.1", "GET", "If-Range: \"a\"\r\nIf-Range: \"a\"", "keep if-range="),
            ("1.1", "GET", "If-Match: \"a\"\r\nIf-Match: \"b\"", "keep if-match=\"a\", \"b\""),
            ("1.1", "HEAD", "If-None-Match: W/\"a\"\r\nIf-None-Match: *", "keep if-none-match=W/\"a\", *"),
            ("1.1", "GET", "If-Modified-Since: yesterday\r\nIf-Modified-Since: today", "keep"),
            // Fields that are not used may be repeated.
            ("1.1", "GET", "Accept: a\r\nAccept: b\r\nContent-Type: x\r\nContent-Type: y", "keep"),
            ("1.1", "GET", "Authorization: Bearer a\r\nAuthorization: Bearer b", "400"),
            ("1.1", "GET", "Origin: http://a\r\nOrigin: http://b", "400"),
        ];
        for (version, method, lines, want) in table {
            let got = outcome(version, method, &format!("Host: h\r\n{lines}"));
            assert_eq!(got, *want, "HTTP/{version} {method} {lines:?}");
        }
    }

    #[test]
    fn one_host_and_a_good_one() {
        for good in ["h", "h:80", "h:", "", "[::1]", "[::1]:8080", "127.0.0.1:9", "a_b.example", "%41"] {
            assert_eq!(outcome("1.1", "GET", &format!("Host: {good}")), "keep", "{good}");
        }
        for bad in ["a b", "u@h", "h/p", "h?x", "http://h", "[::1", "[h]", "h:80:1", "h:x", "[::1]x", "::1"] {
            assert_eq!(outcome("1.1", "GET", &format!("Host: {bad}")), "400", "{bad}");
            assert_eq!(outcome("1.0", "GET", &format!("Host: {bad}")), "400", "{bad}");
        }
        assert_eq!(outcome("1.1", "GET", "Accept: x"), "400");
        assert_eq!(outcome("1.0", "GET", "Accept: x"), "close");
        for version in ["1.0", "1.1"] {
            assert_eq!(outcome(version, "GET", "Host: h\r\nHost: h"), "400", "HTTP/{version}");
        }
    }

    #[test]
    fn targets_in_absolute_form() {
        let of = |target: &str| {
            let h = head(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
            (h.path.join("/"), h.query)
        };
        assert_eq!(of("HTTP://h:80/v1/legs?a=/b"), ("v1/legs".to_owned(), Some("a=/b".to_owned())));
        assert_eq!(of("https://h?a=/b"), (String::new(), Some("a=/b".to_owned())));
        assert_eq!(of("http://h"), (String::new(), None));
        assert_eq!(bad("GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
    }
}
