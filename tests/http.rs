//! HTTP as seen by clients: order of checks, malformed heads, slow and invalid clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_lossless,
    clippy::too_many_lines,
    unreachable_pub,
    missing_docs,
    reason = "a test may fail loudly"
)]

#[path = "common/caller.rs"]
mod caller;
mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use branchline::base::http_date;
use branchline::base::time::Utc;
use caller::{Caller, packet};
use common::{Gateway, Reply};

#[test]
fn health_needs_no_token_and_everything_else_does() {
    let gw = Gateway::start(&[("API_TOKEN", "alpha,beta")]);
    assert_eq!(gw.get("/health").json()["status"], "ok");
    assert_eq!(gw.get("/metrics").status, 200);
    for path in ["/v1/capacity", "/v1/nothing", "/v1/legs/x/tts"] {
        let r = gw.get(path);
        assert_eq!((r.status, r.header("WWW-Authenticate").as_deref()), (401, Some("Bearer")), "{path}");
        assert!(r.error().contains("bearer token"));
    }
    let with =
        |token: &str| gw.request("GET", "/v1/capacity", &format!("Authorization: Bearer {token}\r\n"), b"");
    assert_eq!(with("beta").status, 200);
    assert_eq!(with("gamma").status, 401);
}

#[test]
fn route_method_size_then_not_implemented() {
    let gw = Gateway::start(&[]);
    assert_eq!(gw.get("/v1/nothing").status, 404);
    let r = gw.request("PUT", "/v1/legs/x/stt", "", b"");
    assert_eq!((r.status, r.header("Allow").as_deref()), (405, Some("POST, DELETE, OPTIONS")));
    let r = gw.request("OPTIONS", "/capacity", "", b"");
    assert_eq!((r.status, r.header("Allow").as_deref()), (204, Some("GET, HEAD, OPTIONS")));
    assert_eq!(gw.post("/v1/legs/x/transfer", &"x".repeat(70_000)).status, 413);
    let r = gw.post("/v1/legs/x/stt", "nonsense");
    assert_eq!((r.status, r.error().as_str()), (501, "not implemented in this version: speech recognition"));
    let r = gw.request("HEAD", "/health", "", b"");
    assert_eq!((r.status, r.body.len()), (200, 0));
    assert!(r.header("Content-Length").unwrap().parse::<usize>().unwrap() > 50);
    assert!(gw.get("/health").header("Access-Control-Allow-Origin").is_none());
}

#[test]
fn absurd_heads_are_refused_and_the_gateway_lives() {
    let gw = Gateway::start(&[]);
    let post = |l: &str| {
        gw.raw(format!("POST /v1/capacity HTTP/1.1\r\nHost: localhost\r\n{l}\r\n\r\nbody").as_bytes())
    };
    for (line, status) in [
        ("Content-Length: -5", "400"),
        ("Content-Length: 4\r\nContent-Length: 4", "400"),
        ("Content-Length: 4\r\nContent-Length: 5", "400"),
        ("Content-Length: four", "400"),
        ("Transfer-Encoding: chunked", "411"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", "411"),
    ] {
        let got = post(line);
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {got}");
        assert!(got.contains("\"error\":"), "{line}: {got}");
        assert_eq!(got.matches("HTTP/1.1").count(), 1, "the rest of the connection is not read: {got}");
    }
    // A Content-Length beyond all limits is still valid: route and method are checked first.
    for length in ["18446744073709551615", "99999999999999999999"] {
        assert!(post(&format!("Content-Length: {length}")).starts_with("HTTP/1.1 405 "));
        let got = gw.raw(
            format!("POST /v1/legs/x/tts HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
                .as_bytes(),
        );
        assert!(got.starts_with("HTTP/1.1 413 "), "{got}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(20_000));
    assert!(gw.raw(long.as_bytes()).starts_with("HTTP/1.1 431 "));
    assert!(gw.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert!(gw.raw(b"GET /health HTTP/2.0\r\n\r\n").starts_with("HTTP/1.1 505 "));
    assert_eq!(gw.get("/health").status, 200);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let gw = Gateway::start(&[]);
    let got = gw.raw(
        b"POST /v1/legs/x/tts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc\
          GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n\
          GET /v1/nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    let codes: Vec<&str> = got.split("HTTP/1.1 ").skip(1).map(|r| &r[..3]).collect();
    assert_eq!(codes, ["501", "200", "404"], "{got}");
}

#[test]
fn continue_is_answered_before_the_body_comes() {
    let gw = Gateway::start(&[]);
    let mut s = TcpStream::connect(gw.http()).unwrap();
    s.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    s.write_all(
        b"POST /v1/legs/x/tts HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    )
    .unwrap();
    let mut buf = [0u8; 25];
    s.read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn slow_and_idle_clients_are_cut_off() {
    let gw = Gateway::start(&[]);
    let started = Instant::now();
    // A head that never ends: time-out after five seconds.
    assert_eq!(gw.raw(b"GET /health HTTP/1.1\r\nHos"), "");
    assert!(started.elapsed() >= Duration::from_secs(4));
    // The same for a head after a valid request: the idle time-out ends with its first byte.
    let started = Instant::now();
    let two = gw.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health HTTP/1.1\r\nHos");
    assert_eq!(two.matches("HTTP/1.1 ").count(), 1, "{two}");
    assert!((4..15).contains(&started.elapsed().as_secs()));
    assert_eq!(gw.get("/health").status, 200);
}

#[test]
fn idle_connections_are_closed_for_new_ones() {
    let gw = Gateway::start(&[]);
    let ask = |close: &str| {
        let mut s = TcpStream::connect(gw.http()).unwrap();
        s.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        s.write_all(format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{close}\r\n").as_bytes()).unwrap();
        // After a reply, the connection is counted.
        let mut first = [0u8; 12];
        s.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        s
    };
    // All 64 slots are idle: loopback gets 8 more, then each new connection replaces the oldest.
    let mut held: Vec<TcpStream> = (0..80).map(|_| ask("")).collect();
    for s in held.iter_mut().take(8) {
        let mut rest = Vec::new();
        s.read_to_end(&mut rest).unwrap();
        assert!(rest.windows(2).any(|w| w == b"{\""), "it was answered and then closed");
    }
    ask("Connection: close\r\n");
    let metrics = String::from_utf8(gw.get("/metrics").body).unwrap();
    let gave_way = metrics.lines().find_map(|l| l.strip_prefix("branchline_http_gave_way_total "));
    assert!(gave_way.unwrap().parse::<u32>().unwrap() >= 8, "{gave_way:?}");
}

#[test]
fn clients_outside_the_allow_list_get_403() {
    let gw = Gateway::start(&[("ALLOWED_IPS", "10.0.0.0/8")]);
    assert!(gw.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").starts_with("HTTP/1.1 403 "));
}

#[test]
fn sigterm_ends_it_cleanly() {
    let mut gw = Gateway::start(&[]);
    assert_eq!(gw.stop(), Some(0));
    assert!(!gw.dir().join("listen.json").exists());
    assert!(gw.dir().join("instance_id").exists());
}

/// The status of each answer on one connection, and whether it is closed at once.
fn spoken(gw: &Gateway, text: &str) -> (Vec<String>, bool) {
    let started = Instant::now();
    let got = gw.raw(text.as_bytes());
    let codes = got.split("HTTP/1.1 ").skip(1).map(|r| r[..3].to_owned()).collect();
    // An idle connection is kept for 30 s; the client times out after 20.
    (codes, started.elapsed() < Duration::from_secs(4))
}

#[test]
fn connection_lines_are_one_list() {
    let gw = Gateway::start(&[]);
    let two = |version: &str, lines: &str| {
        let request = format!("GET /health HTTP/{version}\r\nHost: localhost\r\n{lines}\r\n\r\n");
        let last = "GET /v1/nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        spoken(&gw, &(request + last))
    };
    let both = (vec!["200".to_owned(), "404".to_owned()], true);
    let first = (vec!["200".to_owned()], true);
    assert_eq!(two("1.1", "Connection: keep-alive\r\nConnection: TE\r\nTE: trailers"), both);
    assert_eq!(two("1.1", "Connection: TE\r\nConnection: close"), first);
    assert_eq!(two("1.1", "Connection: close\r\nConnection: close"), first);
    assert_eq!(two("1.0", "Connection: TE\r\nConnection: keep-alive"), both);
    assert_eq!(two("1.0", "Connection: TE"), first);
    // An HTTP/1.0 client with keep-alive gets the corresponding header.
    let got = gw.raw(
        b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /health HTTP/1.0\r\nConnection: x\r\n\r\n",
    );
    let told = |what: &str| got.matches(&format!("\r\nConnection: {what}\r\n")).count();
    assert_eq!((told("keep-alive"), told("close")), (1, 1), "{got}");
}

#[test]
fn expectations_are_met_or_refused() {
    let gw = Gateway::start(&[]);
    let post = |version: &str, lines: &str, body: &str| {
        let text = format!(
            "POST /v1/rooms HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{lines}\r\n\r\n",
            body.len()
        );
        let mut s = TcpStream::connect(gw.http()).unwrap();
        s.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        s.write_all(text.as_bytes()).unwrap();
        let mut got = Vec::new();
        let mut start = [0u8; 12];
        if version == "1.1" && !body.is_empty() {
            s.read_exact(&mut start).unwrap();
            got.extend(start);
        }
        // The body is sent after the answer to the head.
        drop(s.write_all(body.as_bytes()));
        s.read_to_end(&mut got).unwrap();
        let got = String::from_utf8(got).unwrap();
        got.split("HTTP/1.1 ").skip(1).map(|r| r[..3].to_owned()).collect::<Vec<_>>()
    };
    let room = |id: &str| format!("{{\"id\":\"{id}\"}}");
    assert_eq!(post("1.1", "Expect: 100-continue", &room("a")), ["100", "201"]);
    assert_eq!(post("1.1", "Expect: 100-continue\r\nExpect: 100-continue", &room("b")), ["100", "201"]);
    assert_eq!(post("1.1", "Expect: 100-continue, 100-Continue", &room("c")), ["100", "201"]);
    assert_eq!(post("1.1", "Expect: 100-continue\r\nExpect: payment", &room("d")), ["417"]);
    assert_eq!(post("1.0", "Expect: 100-continue", &room("e")), ["201"]);
    assert_eq!(post("1.1", "Expect: 100-continue", ""), ["201"], "nothing is waited for");
    assert_eq!(gw.get("/v1/rooms").json().as_array().map_or(0, Vec::len), 5, "{:?}", gw.get("/v1/rooms"));
}

#[test]
fn every_answer_is_dated() {
    let gw = Gateway::start(&[("API_TOKEN", "t")]);
    let token = "Authorization: Bearer t\r\n";
    for (request, status) in [
        ("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), "200"),
        ("HEAD /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), "200"),
        ("GET /v1/legs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), "401"),
        (format!("OPTIONS /v1/legs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}\r\n"), "204"),
        (format!("PUT /v1/legs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}\r\n"), "405"),
        (format!("GET /v1/legs/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}\r\n"), "404"),
        ("GET /health HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("POST /v1/legs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), "411"),
        ("HEAD /health HTTP/3.1\r\n\r\n".to_owned(), "505"),
    ] {
        let got = gw.raw(request.as_bytes());
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {got}");
        let dates: Vec<&str> = got.lines().filter_map(|l| l.strip_prefix("Date: ")).collect();
        let now = Utc(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
        let [date] = dates[..] else { panic!("{request}: {got}") };
        let said = http_date::parse(date, now).unwrap().secs();
        assert!(
            now.secs() - said <= 5 && http_date::imf_fixdate(Utc::from_millis(said * 1000)) == date,
            "{got}"
        );
        let (_, content) = got.split_once("\r\n\r\n").unwrap();
        assert_eq!(content.is_empty(), request.starts_with("HEAD") || status == "204", "{got}");
    }
}

#[test]
fn parts_of_a_recording_are_of_one_version() {
    let gw = Gateway::start(&[]);
    let c = Caller::call(&gw);
    let at = format!("/v1/legs/{}/record", c.leg);
    assert_eq!(gw.post(&at, "").status, 200);
    let mut sent = 0;
    let mut talk = |packets: u16| {
        for _ in 0..packets {
            c.rtp.send_to(&packet(0, sent, 9, true), c.media).unwrap();
            sent += 1;
            std::thread::park_timeout(Duration::from_millis(20));
        }
    };
    talk(25);
    let id = gw.get("/v1/recordings").json()["recordings"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/recordings/{id}/file");
    let ask = |method: &str, headers: &str| gw.request(method, &path, headers, b"");
    let tag = |r: &Reply| r.header("ETag").unwrap();

    // While it is growing, two answers are never guaranteed to match.
    let early = ask("GET", "");
    assert_eq!(early.status, 200);
    assert!(tag(&early).starts_with('"'), "a strong one: {early:?}");
    let next = ask("GET", &format!("Range: bytes=10-19\r\nIf-Range: {}\r\n", tag(&early)));
    assert_eq!((next.status, next.header("Content-Range")), (200, None));
    assert!(next.body.len() >= early.body.len() && tag(&next) != tag(&early));
    assert_eq!(ask("GET", "Range: bytes=10-19\r\n").status, 206, "who asks for a part only gets it");
    assert_eq!(ask("GET", &format!("If-None-Match: {}\r\n", tag(&early))).status, 200);

    talk(25);
    assert_eq!(gw.delete(&at).status, 200);
    while gw.get(&format!("/v1/recordings/{id}")).json()["state"] != "finished" {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let whole = ask("GET", "");
    let (n, own) = (whole.body.len(), tag(&whole));
    let other = tag(&early);
    for (method, headers, status, content) in [
        ("GET", String::new(), 200, &whole.body[..]),
        ("GET", "Range: bytes=10-19\r\n".to_owned(), 206, &whole.body[10..20]),
        ("GET", "Range: BYTES=-7,\r\n".to_owned(), 206, &whole.body[n - 7..]),
        ("GET", format!("Range: bytes=10-19\r\nIf-Range: {own}\r\n"), 206, &whole.body[10..20]),
        ("GET", format!("Range: bytes=10-19\r\nIf-Range: {other}\r\n"), 200, &whole.body[..]),
        ("GET", format!("Range: bytes=10-19\r\nIf-Range: W/{own}\r\n"), 200, &whole.body[..]),
        (
            "GET",
            "Range: bytes=10-19\r\nIf-Range: Tue, 21 Nov 2017 14:43:11 GMT\r\n".to_owned(),
            200,
            &whole.body,
        ),
        ("GET", format!("Range: bytes=10-19\r\nIf-Range: {own}\r\nIf-Range: {own}\r\n"), 200, &whole.body),
        ("GET", "Range: bytes=0-1\r\nRange: bytes=5-6\r\n".to_owned(), 200, &whole.body),
        ("GET", format!("If-None-Match: \"x\"\r\nIf-None-Match: W/{own}\r\n"), 304, b""),
        ("GET", format!("If-Match: {other}\r\nRange: bytes=10-19\r\n"), 412, b"?"),
        ("GET", format!("If-Match: \"x\", {own}\r\n"), 200, &whole.body),
        ("GET", "Range: bytes=99999999999999999999999-\r\n".to_owned(), 416, b"?"),
        ("HEAD", "Range: bytes=0-9\r\n".to_owned(), 200, b""),
        ("HEAD", format!("If-None-Match: {own}\r\n"), 304, b""),
        ("HEAD", "If-Match: \"x\"\r\n".to_owned(), 412, b""),
        ("GET", "If-Modified-Since: Tue, 21 Nov 2017 14:43:11 GMT\r\n".to_owned(), 200, &whole.body),
        ("GET", "If-Unmodified-Since: Tue, 21 Nov 2017 14:43:11 GMT\r\n".to_owned(), 200, &whole.body),
    ] {
        let got = ask(method, &headers);
        assert_eq!(got.status, status, "{method} {headers}: {}", got.head);
        assert!(content == b"?" || got.body == content, "{method} {headers}: {} bytes", got.body.len());
        assert_eq!(
            got.header("Content-Range").is_some(),
            status == 206 || status == 416,
            "{method} {headers}"
        );
        assert!(status >= 400 || tag(&got) == own, "{method} {headers}: {}", got.head);
        let length = got.header("Content-Length");
        match status {
            304 => assert_eq!(length, None, "{}", got.head),
            200 => assert_eq!(length, Some(n.to_string()), "{method} {headers}"),
            _ => assert!(length.is_some()),
        }
    }
    assert_eq!(ask("DELETE", "Range: bytes=0-1\r\n").status, 405);
}
