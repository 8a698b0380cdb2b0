//! Requests of web pages through a browser, over sockets: rejected unless configured.
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

use std::net::UdpSocket;
use std::time::Duration;

use common::{Gateway, Reply};

/// One request with this `Host`.
fn ask(gw: &Gateway, method: &str, path: &str, fields: &str, body: &str) -> Reply {
    let head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    let all = gw.raw(format!("{head}{fields}\r\n{body}").as_bytes());
    let (head, body) = all.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: {all:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_owned(), body: body.as_bytes().to_vec() }
}

#[test]
fn a_page_of_another_origin_places_no_call() {
    let gw = Gateway::start(&[]);
    let ear = UdpSocket::bind("127.0.0.1:0").unwrap();
    let call = format!("{{\"type\":\"sip\",\"uri\":\"sip:premium@{}\"}}", ear.local_addr().unwrap());
    let host = format!("Host: {}\r\n", gw.http());
    for page in [
        "Origin: http://evil.example\r\nContent-Type: text/plain\r\nSec-Fetch-Site: cross-site\r\n"
            .to_owned(),
        "Origin: null\r\nContent-Type: text/plain\r\n".to_owned(),
        format!("Origin: http://127.0.0.1:{}\r\n", gw.http().port() ^ 1),
        "Sec-Fetch-Site: same-site\r\n".to_owned(),
    ] {
        let refused = ask(&gw, "POST", "/v1/legs", &format!("{host}{page}"), &call);
        assert_eq!(refused.status, 403, "{page}: {refused:?}");
        assert!(refused.error().contains("http.cors_origins"), "{refused:?}");
        for path in ["/v1/legs", "/legs", "/metrics", "/v1/openapi.json", "/v1/vsi", "/v1/nothing"] {
            assert_eq!(ask(&gw, "GET", path, &format!("{host}{page}"), "").status, 403, "{path} {page}");
        }
        assert_eq!(ask(&gw, "GET", "/health", &format!("{host}{page}"), "").status, 200);
    }
    ear.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(ear.recv(&mut [0; 2000]).is_err(), "nobody is called");
    // Programs, and the API's own pages, are not affected.
    for own in [
        "Content-Type: application/x-www-form-urlencoded\r\n".to_owned(),
        format!("Origin: http://{}\r\n", gw.http()),
    ] {
        assert_eq!(ask(&gw, "POST", "/v1/legs", &format!("{host}{own}"), &call).status, 201, "{own}");
        assert!(ear.recv(&mut [0; 2000]).is_ok());
    }
}

#[test]
fn a_foreign_host_name_is_rejected_without_tokens() {
    let text = "[http]\nhosts = [\"gw.office.example\"]\n";
    let gw = Gateway::start_configured(text, &[]);
    let port = gw.http().port();
    for (method, path) in
        [("GET", "/v1/legs"), ("DELETE", "/v1/legs/x"), ("POST", "/v1/rooms"), ("GET", "/metrics")]
    {
        let refused = ask(&gw, method, path, &format!("Host: evil.example:{port}\r\n"), "");
        assert_eq!(refused.status, 421, "{method} {path}: {refused:?}");
        assert!(refused.error().contains("http.hosts"), "{refused:?}");
    }
    // The host of an absolute-form target has precedence.
    let absolute = format!("http://evil.example:{port}/v1/legs");
    assert_eq!(ask(&gw, "GET", &absolute, "Host: 127.0.0.1\r\n", "").status, 421);
    assert_eq!(ask(&gw, "GET", "http://u@h@/v1/legs", "Host: 127.0.0.1\r\n", "").status, 400);
    assert_eq!(ask(&gw, "GET", "/health", "Host: evil.example\r\n", "").status, 200);
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for host in ["127.0.0.1:1", "[::1]", "localhost:8080", "gw.office.example", own.trim()] {
        assert_eq!(ask(&gw, "GET", "/v1/legs", &format!("Host: {host}\r\n"), "").status, 200, "{host}");
    }
    drop(gw);
    // A page has no token.
    let gw = Gateway::start(&[("API_TOKEN", "t")]);
    let host = "Host: proxy.example\r\n";
    assert_eq!(ask(&gw, "GET", "/v1/legs", host, "").status, 401);
    assert_eq!(ask(&gw, "GET", "/v1/legs", &format!("{host}Authorization: Bearer t\r\n"), "").status, 200);
    let page = format!("{host}Authorization: Bearer t\r\nOrigin: http://evil.example\r\n");
    assert_eq!(ask(&gw, "GET", "/v1/legs", &page, "").status, 403);
}

#[test]
fn a_preflight_of_a_listed_origin_needs_no_token() {
    let text = "[http]\ntokens = [\"tok\"]\ncors_origins = [\"https://panel.example\"]\n";
    let gw = Gateway::start_configured(text, &[]);
    let preflight = |origin: &str| {
        let fields = "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: authorization,content-type\r\n";
        ask(&gw, "OPTIONS", "/v1/legs", &format!("Host: localhost\r\nOrigin: {origin}\r\n{fields}"), "")
    };
    let told = preflight("https://panel.example");
    assert_eq!(told.status, 204, "{told:?}");
    assert_eq!(told.header("Access-Control-Allow-Origin").as_deref(), Some("https://panel.example"));
    let methods = told.header("Access-Control-Allow-Methods").unwrap();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        assert!(methods.split(", ").any(|m| m == method), "{methods}");
    }
    assert!(told.header("Access-Control-Allow-Headers").unwrap().contains("Authorization"));
    let other = preflight("https://evil.example");
    assert_eq!((other.status, other.header("Access-Control-Allow-Origin")), (403, None));
    // The request itself needs its token, and so does an OPTIONS that is not a preflight.
    let page = "Host: localhost\r\nOrigin: https://panel.example\r\nSec-Fetch-Site: cross-site\r\n";
    assert_eq!(ask(&gw, "GET", "/v1/legs", page, "").status, 401);
    assert_eq!(ask(&gw, "OPTIONS", "/v1/legs", page, "").status, 401);
    let got = ask(&gw, "GET", "/v1/legs", &format!("{page}Authorization: Bearer tok\r\n"), "");
    assert_eq!(
        (got.status, got.header("Access-Control-Allow-Origin").as_deref()),
        (200, Some("https://panel.example"))
    );
}
