//! RTP injected into a call by other sources, before and after its far end starts sending, at real sockets:
//! never played, never answered, counted.
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

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use branchline::base::rng::Rng;
use branchline::rtp::packet::header;
use caller::{Caller, packet, udp};
use common::Gateway;

#[test]
fn injected_packets_are_never_played_nor_answered_but_counted() {
    let gw = Gateway::start(&[]);
    let c = Caller::call(&gw);
    let record = gw.post(&format!("/v1/legs/{}/record", c.leg), "");
    assert_eq!(record.status, 200, "{record:?}");
    let (port, address) = (udp("127.0.0.1"), udp("127.0.0.2"));
    let mut thrown = 0u64;
    let throw = |from: &UdpSocket, p: &[u8]| {
        from.send_to(p, c.media).unwrap();
        1
    };
    let start = Instant::now();
    let pace = |n: u32| {
        std::thread::sleep((Duration::from_millis(20) * n).saturating_sub(start.elapsed()));
    };
    // Before the far end's first packet: another port, another address, wrong payload types, various sequence
    // numbers.
    for n in 0..60u16 {
        pace(n.into());
        // The right payload type and SSRC, consecutive, from another port of its address.
        thrown += throw(&port, &packet(0, n, 9, true));
        thrown += throw(&port, &packet(0, n, 7, true));
        thrown += throw(&port, &packet(96, n, 9, true));
        thrown += throw(&address, &packet(0, n * 1000, 9, true));
        thrown += throw(&address, &packet(8, n, 9, true));
    }
    // While it sends: right SSRC, payload type and sequence number from a wrong source; and wrong ones.
    for n in 60..110u16 {
        pace(n.into());
        c.rtp.send_to(&packet(0, n, 9, false), c.media).unwrap();
        thrown += throw(&port, &packet(0, n + 1, 9, true));
        thrown += throw(&address, &packet(0, n + 1, 9, true));
        thrown += throw(&address, &packet(0, n.wrapping_mul(999), 5, true));
        // From the far end itself, but with a payload type that was not negotiated.
        thrown += throw(&c.rtp, &packet(96, n + 1, 5, true));
    }
    let stopped = gw.delete(&format!("/v1/legs/{}/record", c.leg)).json();
    let mut file = hound::WavReader::open(stopped["file"].as_str().unwrap()).unwrap();
    let samples: Vec<i16> = file.samples().map(Result::unwrap).collect();
    assert!(samples.len() > 2 * 8000, "{} samples", samples.len());
    let loudest = samples.iter().map(|s| s.unsigned_abs()).max().unwrap();
    assert!(loudest < 50, "something was heard: {loudest}");
    // Our packets are sent only to the far end.
    for stranger in [&port, &address] {
        stranger.set_nonblocking(true).unwrap();
        assert!(stranger.recv(&mut [0u8; 1500]).is_err(), "a stranger got an answer");
    }
    assert!(c.rtp.recv(&mut [0u8; 1500]).is_ok());
    assert_eq!(gw.delete(&format!("/v1/legs/{}", c.leg)).status, 200);
    c.hears("BYE");
    let counted = || {
        let text = String::from_utf8(gw.get("/metrics").body).unwrap();
        let line = text.lines().find(|l| l.starts_with("branchline_rtp_foreign_total ")).unwrap().to_owned();
        line.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    };
    // The counters are updated a tick or two after the BYE.
    let until = Instant::now() + Duration::from_secs(5);
    while counted() < thrown && Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(counted(), thrown);
}

#[test]
fn random_payloads_affect_neither_the_call_nor_others() {
    let gw = Gateway::start(&[]);
    assert_eq!(gw.post("/v1/rooms", r#"{"id":"r"}"#).status, 201);
    let formats = ["0", "9", "111\r\na=rtpmap:111 opus/48000/2", "0"];
    let callers: Vec<Caller> =
        formats.iter().enumerate().map(|(n, f)| Caller::call_in(&gw, &format!("random-{n}"), f)).collect();
    for c in &callers {
        let body = format!(r#"{{"leg_id":"{}"}}"#, c.leg);
        assert_eq!(gw.post("/v1/rooms/r/legs", &body).status, 200);
    }
    let mut rng = Rng::from_number(5);
    let start = Instant::now();
    for n in 0..200u16 {
        std::thread::sleep((Duration::from_millis(10) * n.into()).saturating_sub(start.elapsed()));
        for (c, (kind, clock)) in callers.iter().zip([(0, 8), (9, 8), (111, 48)]) {
            let mut p = header(false, kind, n, u32::from(n) * 20 * clock, 9).to_vec();
            p.extend((0..rng.below(if n % 7 == 0 { 1400 } else { 200 })).map(|_| rng.u32() as u8));
            c.rtp.send_to(&p, c.media).unwrap();
        }
        callers[3].rtp.send_to(&packet(0, n, 9, false), callers[3].media).unwrap();
    }
    for c in &callers {
        let leg = gw.get(&format!("/v1/legs/{}", c.leg)).json();
        assert_eq!((&leg["state"], &leg["room_id"]), (&"connected".into(), &"r".into()), "{leg}");
        let quality = gw.get(&format!("/v1/legs/{}/quality", c.leg)).json();
        assert!(quality["rtp_packets_received"].as_u64().unwrap() >= 190, "{quality}");
    }
    gw.assert_never_stood_still();
    for c in &callers {
        assert_eq!(gw.delete(&format!("/v1/legs/{}", c.leg)).status, 200);
        c.hears("BYE");
    }
}
