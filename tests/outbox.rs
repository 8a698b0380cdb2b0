//! The outbox while its target is down: a flood of one caller does not displace events of others, and
//! delivered events leave nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_lossless,
    clippy::too_many_lines,
    unreachable_pub,
    missing_docs,
    reason = "a test may fail loudly"
)]

mod common;
#[path = "common/hook.rs"]
mod hook;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use common::{Gateway, of_process};
use hook::Hook;
use rusqlite::Connection;
use serde_json::{Value, json};

/// A caller at a loopback address that hangs up before the answer.
struct Flooder {
    socket: UdpSocket,
    gateway: String,
    calls: u32,
}

impl Flooder {
    fn at(ip: &str, gw: &Gateway) -> Self {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let gateway = gw.listen["sip"].as_str().unwrap().replace("0.0.0.0", "127.0.0.1");
        Self { socket, gateway, calls: 0 }
    }

    fn send(&self, method: &str, to: &str, more: &str, body: &str) {
        let (at, n, gw) = (self.socket.local_addr().unwrap(), self.calls, &self.gateway);
        let text = format!(
            "{method} sip:x@{gw} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{n};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{from}@{at}>;tag={n}\r\nTo: {to}\r\nCall-ID: {n}@{at}\r\nCSeq: 1 {method}\r\n\
             Contact: <sip:t@{at}>\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len(),
            from = at.ip(),
        );
        self.socket.send_to(text.as_bytes(), gw.as_str()).unwrap();
    }

    fn hears(&self, start: &str) -> String {
        let mut buffer = [0u8; 65_535];
        loop {
            let n = self.socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{start}: {e}"));
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text.starts_with(start) {
                return text;
            }
        }
    }

    fn calls_and_hangs_up(&mut self, headers: &str) {
        self.calls += 1;
        let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
        let to = format!("<sip:x@{}>", self.gateway);
        self.send("INVITE", &to, &format!("{headers}Content-Type: application/sdp\r\n"), sdp);
        self.hears("SIP/2.0 180");
        self.send("CANCEL", &to, "", "");
        let refused = self.hears("SIP/2.0 487");
        let to = refused.lines().find(|l| l.starts_with("To: ")).unwrap()[4..].to_owned();
        self.send("ACK", &to, "", "");
    }
}

/// The longest headers that fit into a message.
fn padding() -> String {
    (0..30).map(|n| format!("X-P{n}: {}\r\n", "p".repeat(1800))).collect()
}

#[test]
fn a_flood_of_one_caller_does_not_displace_events_of_others() {
    let hook = Hook::start();
    hook.set_away(true);
    let gw = Gateway::start_configured("[outbox]\nmax_mb = 1\n", &[("WEBHOOK_URL", &hook.url)]);
    let mut honest = Flooder::at("127.0.0.2", &gw);
    (0..20).for_each(|_| honest.calls_and_hangs_up("X-Ticket: 7\r\n"));
    let mut flooder = Flooder::at("127.0.0.9", &gw);
    let (padding, end) = (padding(), Instant::now() + Duration::from_secs(60));
    while gw.figure("voiceblender_webhook_dropped_total") < 300 {
        assert!(Instant::now() < end, "the outbox holds all of {} calls", flooder.calls);
        (0..50).for_each(|_| flooder.calls_and_hangs_up(&padding));
    }
    let resident = of_process(gw.pid(), "VmRSS:") - gw.media_kb();
    assert!(resident < 96 * 1024, "{resident} kB");
    hook.set_away(false);
    let from = |events: &[Value], ip: &str| {
        let ringing = events.iter().filter(|e| e["type"] == "leg.ringing" && e["from"] == ip);
        ringing.cloned().collect::<Vec<_>>()
    };
    hook.wait("events of all honest calls", 90, |events| from(events, "127.0.0.2").len() == 20);
    for e in from(&hook.events(), "127.0.0.2") {
        assert_eq!((&e["sip_headers"]["X-Ticket"], &e["sip_headers_truncated"]), (&json!("7"), &Value::Null));
    }
    hook.wait("an event of the flood", 60, |events| !from(events, "127.0.0.9").is_empty());
    for e in from(&hook.events(), "127.0.0.9") {
        assert_eq!(e["sip_headers_truncated"], true);
        let kept = e["sip_headers"].to_string().len();
        assert!((4000..=8192 + 64).contains(&kept), "{kept} bytes");
    }
    // Terminal events are dropped last, so that no call is without one.
    let calls = (honest.calls + flooder.calls) as usize;
    hook.wait("all ends", 120, |events| {
        events.iter().filter(|e| e["type"] == "leg.disconnected").count() >= calls - 300
    });
}

#[test]
fn targets_are_deleted_with_their_last_event() {
    const CALLS: usize = 60;
    let hook = Hook::start();
    let dir = std::env::temp_dir().join(format!("branchline-targets-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut gw = Gateway::start(&[("STATE_DIR", dir.to_str().unwrap())]);
    for n in 0..CALLS {
        let call = json!({"type": "sip", "uri": "sip:x@127.0.0.1:9;transport=tcp", "webhook_secret": "hunter2",
            "webhook_url": format!("{}?call={n}", hook.url)});
        assert!(gw.post("/v1/legs", &call.to_string()).status < 300);
    }
    hook.wait("all ends", 60, |events| {
        events.iter().filter(|e| e["type"] == "leg.disconnected").count() == CALLS
    });
    while gw.figure("branchline_webhook_waiting") > 0 {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    // Deliveries are recorded after all queries before them.
    assert_eq!(gw.get("/v1/recordings").status, 200);
    gw.kill();
    let db = Connection::open(dir.join("outbox.db")).unwrap();
    let count = |table: &str| {
        db.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |r| r.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((count("event"), count("target"), count("leg")), (0, 0, 0));
    std::fs::remove_dir_all(dir).unwrap();
}
