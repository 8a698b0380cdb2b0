//! The HTTP side as a client meets it: order of checks, hostile heads, slow and wrong clients.
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

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::Gateway;

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
    let post =
        |l: &str| gw.raw(format!("POST /v1/capacity HTTP/1.1\r\nHost: t\r\n{l}\r\n\r\nbody").as_bytes());
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
    // A number of bytes beyond all measure is still a number: route and method are judged first.
    for length in ["18446744073709551615", "99999999999999999999"] {
        assert!(post(&format!("Content-Length: {length}")).starts_with("HTTP/1.1 405 "));
        let got = gw.raw(
            format!("POST /v1/legs/x/tts HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
        );
        assert!(got.starts_with("HTTP/1.1 413 "), "{got}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "a".repeat(20_000));
    assert!(gw.raw(long.as_bytes()).starts_with("HTTP/1.1 431 "));
    assert!(gw.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert!(gw.raw(b"GET /health HTTP/2.0\r\n\r\n").starts_with("HTTP/1.1 505 "));
    assert_eq!(gw.get("/health").status, 200);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let gw = Gateway::start(&[]);
    let got = gw.raw(
        b"POST /v1/legs/x/tts HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc\
          GET /health HTTP/1.1\r\nHost: t\r\n\r\n\
          GET /v1/nothing HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
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
        b"POST /v1/legs/x/tts HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
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
    // A head that never ends: five seconds.
    assert_eq!(gw.raw(b"GET /health HTTP/1.1\r\nHos"), "");
    assert!(started.elapsed() >= Duration::from_secs(4));
    // Nor does one that comes after a good one have longer: the idle time is over with its first byte.
    let started = Instant::now();
    let two = gw.raw(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\nGET /health HTTP/1.1\r\nHos");
    assert_eq!(two.matches("HTTP/1.1 ").count(), 1, "{two}");
    assert!((4..15).contains(&started.elapsed().as_secs()));
    assert_eq!(gw.get("/health").status, 200);
}

#[test]
fn the_sixty_fifth_connection_is_told_so() {
    let gw = Gateway::start(&[]);
    let held: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut s = TcpStream::connect(gw.http()).unwrap();
            s.write_all(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
            // A reply means the connection is counted.
            let mut first = [0u8; 12];
            s.read_exact(&mut first).unwrap();
            s
        })
        .collect();
    let got = gw.raw(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 503 ") && got.contains("Retry-After"), "{got}");
    drop(held);
}

#[test]
fn clients_outside_the_allow_list_get_403() {
    let gw = Gateway::start(&[("ALLOWED_IPS", "10.0.0.0/8")]);
    assert!(gw.raw(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n").starts_with("HTTP/1.1 403 "));
}

#[test]
fn sigterm_ends_it_cleanly() {
    let mut gw = Gateway::start(&[]);
    assert_eq!(gw.stop(), Some(0));
    assert!(!gw.dir().join("listen.json").exists());
    assert!(gw.dir().join("instance_id").exists());
}
