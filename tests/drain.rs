//! SIGTERM during a call: new calls are rejected, running ones may end, a second signal ends them.
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
use std::time::{Duration, Instant};

use common::Gateway;

/// A manual caller whose call was answered.
struct Caller {
    socket: UdpSocket,
    to_tag: String,
}

impl Caller {
    fn send(&self, method: &str, cseq: u32, fields: &str, body: &str) {
        let at = self.socket.local_addr().unwrap();
        let request = format!(
            "{method} sip:desk@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKd{cseq}{method}\r\nMax-Forwards: 70\r\n\
             From: <sip:c@{at}>;tag=c\r\nTo: <sip:desk@127.0.0.1>{}\r\nCall-ID: drain{}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:c@{at}>\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            self.to_tag,
            if self.to_tag.is_empty() { cseq } else { 1 },
            body.len()
        );
        self.socket.send(request.as_bytes()).unwrap();
    }

    /// The next message with this prefix.
    fn expect(&self, start: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let n = self.socket.recv(&mut buffer).unwrap_or_else(|e| panic!("no {start}: {e}"));
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text.starts_with(start) {
                return text;
            }
        }
    }

    fn call(gw: &Gateway) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(gw.listen["sip"].as_str().unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut caller = Self { socket, to_tag: String::new() };
        let offer = "v=0\r\no=c 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
        caller.send("INVITE", 1, "Content-Type: application/sdp\r\n", offer);
        caller.expect("SIP/2.0 180");
        let leg = gw.get("/v1/legs").json()[0]["id"].as_str().unwrap().to_owned();
        assert_eq!(gw.post(&format!("/v1/legs/{leg}/answer"), "").status, 200);
        let ok = caller.expect("SIP/2.0 200");
        let to = ok.lines().find(|l| l.starts_with("To:")).unwrap();
        caller.to_tag = format!(";tag={}", to.rsplit("tag=").next().unwrap());
        caller.send("ACK", 1, "", "");
        caller
    }
}

/// Sends SIGTERM, and waits until the gateway reports that it stops.
fn terminate(gw: &Gateway) {
    gw.terminate();
    let until = Instant::now() + Duration::from_secs(10);
    while gw.get("/health").status != 503 {
        assert!(Instant::now() < until, "/health tells that it stops");
    }
}

#[test]
fn running_calls_go_on_and_new_ones_are_refused() {
    let mut gw = Gateway::start(&[]);
    let caller = Caller::call(&gw);
    terminate(&gw);
    let new = Caller { socket: caller.socket.try_clone().unwrap(), to_tag: String::new() };
    new.send("INVITE", 7, "", "");
    let refused = new.expect("SIP/2.0 503");
    assert!(refused.contains("CSeq: 7 INVITE") && refused.contains("Retry-After:"), "{refused}");
    new.send("OPTIONS", 8, "", "");
    new.expect("SIP/2.0 503");
    let placed = gw.post("/v1/legs", r#"{"type":"sip","uri":"sip:x@127.0.0.1:9"}"#);
    assert!(placed.status == 503 && placed.error().contains("stopping"), "{placed:?}");
    assert_eq!(gw.get("/v1/legs").json()[0]["state"], "connected", "the call that runs is left alone");
    caller.send("BYE", 2, "", "");
    caller.expect("SIP/2.0 200");
    assert_eq!(gw.wait(), Some(0));
}

#[test]
fn a_second_signal_ends_the_calls() {
    let mut gw = Gateway::start(&[]);
    let caller = Caller::call(&gw);
    terminate(&gw);
    gw.terminate();
    assert!(caller.expect("BYE ").contains("Call-ID: drain1"));
    assert_eq!(gw.wait(), Some(0));
}
