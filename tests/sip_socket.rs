//! SIP at real sockets: framing on TCP, garbage on UDP.
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
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use branchline::base::rng::Rng;
use common::Gateway;

fn sip(gw: &Gateway) -> SocketAddr {
    gw.listen["sip"].as_str().unwrap().parse().unwrap()
}

fn options(n: u32, transport: &str, lengths: &str, body: &str) -> String {
    format!(
        "OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} 127.0.0.1:9;branch=z9hG4bKs{n};rport\r\n\
         From: <sip:t@x>;tag=1\r\nTo: <sip:x@x>\r\nCall-ID: s{n}\r\nCSeq: {n} OPTIONS\r\n{lengths}\r\n{body}"
    )
}

fn connect(gw: &Gateway) -> TcpStream {
    let s = TcpStream::connect(sip(gw)).unwrap();
    s.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    s
}

/// Reads until `done` was received, or the far end closes.
fn read_until(s: &mut TcpStream, done: &str) -> String {
    let mut out = Vec::new();
    let mut chunk = [0u8; 4096];
    while !String::from_utf8_lossy(&out).contains(done) {
        match s.read(&mut chunk).unwrap() {
            0 => break,
            n => out.extend_from_slice(&chunk[..n]),
        }
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn messages_on_a_stream_are_found_however_they_are_segmented() {
    let gw = Gateway::start(&[]);
    let mut s = connect(&gw);
    // Two in one segment with a ping between them, then byte by byte.
    let two =
        options(1, "TCP", "Content-Length: 3\r\n", "abc") + "\r\n\r\n" + &options(2, "TCP", "l: 0\r\n", "");
    s.write_all(two.as_bytes()).unwrap();
    let got = read_until(&mut s, "CSeq: 2 OPTIONS");
    assert!(got.contains("CSeq: 1 OPTIONS") && got.matches("SIP/2.0 200 OK").count() == 2, "{got}");
    s.set_nodelay(true).unwrap();
    for b in options(3, "TCP", "Content-Length: 0\r\n", "").bytes() {
        s.write_all(&[b]).unwrap();
    }
    assert!(read_until(&mut s, "CSeq: 3 OPTIONS").contains("SIP/2.0 200 OK"));
}

#[test]
fn an_endless_stream_of_keep_alives_does_not_delay_others() {
    let gw = Gateway::start(&[]);
    let mut s = connect(&gw);
    s.set_nonblocking(false).unwrap();
    let writer = std::thread::spawn(move || {
        let piece = [b'\n'; 65_536];
        let pings = b"\r\n".repeat(32_768);
        // Closed meanwhile, or read to its end: either is acceptable.
        (0..400).all(|n| s.write_all(if n % 2 == 0 { &piece } else { &pings }).is_ok())
    });
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut n = 0;
    while !writer.is_finished() || n == 0 {
        n += 1;
        udp.send_to(options(n, "UDP", "l: 0\r\n", "").as_bytes(), sip(&gw)).unwrap();
        let mut answer = [0u8; 2048];
        udp.recv(&mut answer).expect("OPTIONS over UDP is answered all the while");
        assert_eq!(gw.get("/health").status, 200);
    }
}

#[test]
fn an_invalid_length_is_refused_and_the_connection_closed() {
    let gw = Gateway::start(&[]);
    let mut other = connect(&gw);
    for (n, lengths) in [
        "Content-Length: -1\r\n",
        "Content-Length: x\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 70000\r\n",
        "Content-Length: 1\r\nl: 1\r\n",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        let mut s = connect(&gw);
        s.write_all(options(n as u32 + 1, "TCP", lengths, "abc").as_bytes()).unwrap();
        let got = read_until(&mut s, "never said");
        assert!(got.starts_with("SIP/2.0 4") || got.starts_with("SIP/2.0 5"), "{lengths:?}: {got:?}");
        assert_eq!(got.matches("SIP/2.0 ").count(), 1, "{lengths:?}: {got}");
    }
    // Endless bytes without a message.
    let mut s = connect(&gw);
    let _cut_off = s.write_all(&[b'a'; 200_000]);
    assert_eq!(s.read(&mut [0u8; 16]).unwrap_or(0), 0);
    other.write_all(options(9, "TCP", "Content-Length: 0\r\n", "").as_bytes()).unwrap();
    assert!(read_until(&mut other, "CSeq: 9 OPTIONS").contains("200 OK"), "others go on");
}

#[test]
fn truncated_and_random_datagrams_harm_nobody() {
    let gw = Gateway::start(&[]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut rng = Rng::from_number(7);
    let whole = options(1, "UDP", "Content-Length: 0\r\n", "").replace("OPTIONS", "INVITE");
    for cut in 0..whole.len() {
        socket.send_to(&whole.as_bytes()[..cut], sip(&gw)).unwrap();
    }
    for _ in 0..2000 {
        let mut bytes = whole.clone().into_bytes();
        for _ in 0..=rng.below(8) {
            let at = rng.below(bytes.len() as u32) as usize;
            bytes[at] = rng.below(256) as u8;
        }
        if rng.chance(50) {
            bytes = (0..rng.below(1400)).map(|_| rng.below(256) as u8).collect();
        }
        socket.send_to(&bytes, sip(&gw)).unwrap();
    }
    // Some of it is answered first; the last request is answered too.
    let mut got = String::new();
    for n in 0..20 {
        socket.send_to(options(100 + n, "UDP", "Content-Length: 0\r\n", "").as_bytes(), sip(&gw)).unwrap();
        let mut buffer = [0u8; 4096];
        while let Ok(len) = socket.recv(&mut buffer) {
            got = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if got.contains(" OPTIONS\r\n") {
                break;
            }
        }
        if got.contains(" OPTIONS\r\n") {
            break;
        }
    }
    assert!(got.starts_with("SIP/2.0 200 OK") && got.contains("\r\nAllow: INVITE"), "{got}");
    assert_eq!(gw.get("/health").status, 200);
    let counted = String::from_utf8(gw.get("/metrics").body).unwrap();
    let malformed = counted.lines().find(|l| l.contains("malformed") && !l.starts_with('#')).unwrap();
    assert!(malformed.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 100.0, "{malformed}");
}

/// An in-dialog request over TCP by a phone that listens at `at`; `to` is its To.
fn in_call(method: &str, n: u32, at: SocketAddr, to: &str, body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{method} sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP {at};branch=z9hG4bK{method}{n}\r\nMax-Forwards: 70\r\n\
         From: <sip:t@{at}>;tag=1\r\nTo: {to}\r\nCall-ID: cut\r\nCSeq: {n} {method}\r\n\
         Contact: <sip:t@{at};transport=tcp>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_call_survives_its_connection_with_and_without_a_new_one() {
    let gw = Gateway::start(&[]);
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sdp = |direction: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na={direction}\r\n"
        )
    };
    let mut s = connect(&gw);
    s.write_all(in_call("INVITE", 1, at, "<sip:x@127.0.0.1>", &sdp("sendrecv")).as_bytes()).unwrap();
    read_until(&mut s, "SIP/2.0 180");
    let leg = gw.get("/v1/legs").json()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(gw.post(&format!("/v1/legs/{leg}/answer"), "").status, 200);
    let ok = read_until(&mut s, "m=audio ");
    let to = ok.lines().rfind(|l| l.starts_with("To: ")).unwrap().trim_start_matches("To: ").to_owned();
    s.write_all(in_call("ACK", 1, at, &to, "").as_bytes()).unwrap();
    let state = || gw.get(&format!("/v1/legs/{leg}")).json()["state"].as_str().map(str::to_owned);
    while state().as_deref() != Some("connected") {
        std::thread::yield_now();
    }
    drop(s);
    // No listener at the Contact address.
    let begun = std::time::Instant::now();
    let refused = gw.post(&format!("/v1/legs/{leg}/hold"), "");
    assert_eq!(refused.status, 409);
    assert!(refused.error().contains("cannot be reached"), "{}", refused.error());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(state().as_deref(), Some("connected"));
    // Now there is one.
    let listener = TcpListener::bind(at).unwrap();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| gw.post(&format!("/v1/legs/{leg}/hold"), "").status);
        let mut s = listener.accept().unwrap().0;
        s.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let invite = read_until(&mut s, "a=sendonly");
        assert!(invite.starts_with("INVITE sip:t@") && invite.contains("a=sendonly"), "{invite}");
        let same = |l: &&str| ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|n| l.starts_with(n));
        let fields: Vec<&str> = invite.lines().filter(same).collect();
        let body = sdp("recvonly");
        let answer = format!(
            "SIP/2.0 200 OK\r\n{}\r\nContact: <sip:t@{at};transport=tcp>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            fields.join("\r\n"),
            body.len()
        );
        s.write_all(answer.as_bytes()).unwrap();
        read_until(&mut s, "ACK sip:t@");
        assert_eq!(held.join().unwrap(), 200);
    });
    assert_eq!(state().as_deref(), Some("held"));
}

/// Datagrams dropped on a UDP port according to the kernel.
fn dropped_at(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let local = format!(":{port:04X}");
    let line = table.lines().find(|l| l.split_whitespace().nth(1).is_some_and(|at| at.ends_with(&local)));
    line.unwrap().split_whitespace().last().unwrap().parse().unwrap()
}

#[test]
fn datagrams_dropped_by_the_kernel_are_counted() {
    let gw = Gateway::start(&[]);
    let name = "branchline_sip_udp_dropped_total";
    assert_eq!(gw.figure(name), 0);
    // The receiver is stopped: the socket buffer holds only some of them.
    gw.signal("STOP");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let body = "x".repeat(1000);
    let ask = options(1, "UDP", &format!("Content-Length: {}\r\n", body.len()), &body);
    for _ in 0..2000 {
        socket.send_to(ask.as_bytes(), sip(&gw)).unwrap();
    }
    gw.signal("CONT");
    let dropped = gw.figure(name);
    assert!((1000..2000).contains(&dropped), "{dropped}");
    assert_eq!(dropped, dropped_at(sip(&gw).port()));
}
