//! DTMF from far ends: by INFO, as RFC 4733 events, and by both.
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

#[path = "common/caller.rs"]
mod caller;
mod common;
#[path = "common/hook.rs"]
mod hook;

use branchline::rtp::packet::{Packet, header};
use branchline::rtp::telephone_event::{Event, code_of};
use serde_json::Value;

use crate::caller::Caller;
use crate::common::Gateway;
use crate::hook::Hook;

/// A key press as an event: 60 ms long, with three end packets.
fn press(c: &Caller, sequence: &mut u16, digit: char) {
    let stamp = u32::from(*sequence) * 160;
    for step in 0..6u16 {
        let code = code_of(digit).unwrap();
        let e = Event { code, end: step >= 3, volume: 10, duration: 160 * (step.min(2) + 1) };
        let mut p = header(step == 0, 101, *sequence, stamp, 7).to_vec();
        p.extend(e.to_bytes());
        c.rtp.send_to(&p, c.media).unwrap();
        *sequence += 1;
    }
}

/// Digits reported so far.
fn told(events: &[Value]) -> String {
    events.iter().filter(|e| e["type"] == "leg.dtmf").filter_map(|e| e["digit"].as_str()).collect()
}

#[test]
fn a_key_received_by_info_and_rtp_is_reported_once() {
    let hook = Hook::start();
    let gw = Gateway::start(&[("WEBHOOK_URL", &hook.url)]);
    let c = Caller::call_in(&gw, "digits", "0 101\r\na=rtpmap:101 telephone-event/8000");
    let mut sequence = 0;
    let wait = |all: &str| hook.wait(all, 10, |events| told(events) == all);
    let info = |cseq: u32, kind: &str, body: &str, reply: &str| {
        c.request("INFO", cseq, kind, body);
        c.hears(reply);
    };
    info(2, "application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", "SIP/2.0 200");
    wait("5");
    // The other transport follows; then another key, first by RTP.
    press(&c, &mut sequence, '5');
    press(&c, &mut sequence, '#');
    wait("5#");
    info(3, "application/dtmf", "11", "SIP/2.0 200");
    // Twice by INFO is two key presses.
    info(4, "application/dtmf", "8", "SIP/2.0 200");
    info(5, "application/dtmf", "8", "SIP/2.0 200");
    wait("5#88");
    info(6, "application/dtmf-relay", "Signal=X", "SIP/2.0 400");
    info(7, "text/plain", "8", "SIP/2.0 415");
    press(&c, &mut sequence, '9');
    wait("5#889");
}

/// The keys in received packets, until `sound` audio packets were received.
fn keys(c: &Caller, sound: usize) -> Vec<u8> {
    let mut buffer = [0u8; 2048];
    let (mut keys, mut heard) = (Vec::new(), 0);
    while heard < sound {
        let n = c.rtp.recv(&mut buffer).unwrap();
        let p = Packet::parse(&buffer[..n]).unwrap();
        match Event::parse(p.payload).filter(|_| p.payload_type == 101) {
            Some(e) if p.marker => keys.push(e.code),
            Some(_) => {}
            None => heard += 1,
        }
    }
    keys
}

#[test]
fn no_digits_are_sent_during_remote_hold_or_delayed_until_resume() {
    let gw = Gateway::start(&[]);
    let events = "0 101\r\na=rtpmap:101 telephone-event/8000";
    let c = Caller::call_in(&gw, "held", events);
    let dtmf = format!("/v1/legs/{}/dtmf", c.leg);
    assert_eq!(gw.post(&dtmf, r#"{"digits":"1"}"#).status, 200);
    assert_eq!(keys(&c, 25), [1]);
    for (cseq, direction) in [(2, "sendonly"), (4, "inactive")] {
        // Many digits are queued when the hold is received.
        assert_eq!(gw.post(&dtmf, r#"{"digits":"2345678"}"#).status, 200);
        let change = |cseq: u32, direction: &str| {
            let port = c.rtp.local_addr().unwrap().port();
            let sdp = format!(
                "v=0\r\no=- 1 {cseq} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                 m=audio {port} RTP/AVP {events}\r\na={direction}\r\n"
            );
            c.request("INVITE", cseq, "application/sdp", &sdp);
            c.hears("SIP/2.0 200");
            c.request("ACK", cseq, "", "");
        };
        change(cseq, direction);
        let refused = gw.post(&dtmf, r#"{"digits":"9"}"#);
        assert_eq!(refused.status, 409);
        assert!(refused.error().contains("far end holds"), "{refused:?}");
        c.rtp.set_nonblocking(true).unwrap();
        let mut buffer = [0u8; 2048];
        while c.rtp.recv(&mut buffer).is_ok() {}
        c.rtp.set_nonblocking(false).unwrap();
        change(cseq + 1, "sendrecv");
        assert_eq!(keys(&c, 50), [0u8; 0], "{direction}: what waited then does not come now");
        assert_eq!(gw.post(&dtmf, r#"{"digits":"D"}"#).status, 200);
        assert_eq!(keys(&c, 25), [15]);
    }
}

#[test]
fn digits_use_the_configured_transport() {
    let events = "0 101\r\na=rtpmap:101 telephone-event/8000";
    for (mode, format, by_info, by_event, status) in [
        ("info", events, "Signal=5\r\n", vec![], 200),
        ("info", "0", "Signal=5\r\n", vec![], 200),
        ("auto", events, "", vec![5], 200),
        ("rfc4733", events, "", vec![5], 200),
        ("rfc4733", "0", "", vec![], 409),
        ("inband", events, "", vec![], 200),
        ("auto", "0", "", vec![], 200),
    ] {
        let gw = Gateway::start_configured(&format!("[sip]\ndtmf = \"{mode}\"\n"), &[]);
        let c = Caller::call_in(&gw, mode, format);
        let reply = gw.post(&format!("/v1/legs/{}/dtmf", c.leg), r#"{"digits":"5"}"#);
        assert_eq!(reply.status, status, "{mode}: {reply:?}");
        if !by_info.is_empty() {
            let info = c.hears("INFO ");
            assert!(info.contains("Content-Type: application/dtmf-relay\r\n"), "{info}");
            assert!(info.ends_with(&format!("{by_info}Duration=160\r\n")), "{info}");
        }
        assert_eq!(keys(&c, 20), by_event, "{mode}");
    }
}

#[test]
fn the_digit_transport_can_be_set_per_trunk() {
    let trunk = "[sip]\ndtmf = \"rfc4733\"\n[[sip.trunk]]\nid = \"pbx\"\ntype = \"ip_ip\"\npeer_uri = \"sip:127.0.0.1\"\ndtmf = \"info\"\n";
    let gw = Gateway::start_configured(trunk, &[]);
    let c = Caller::call_in(&gw, "trunk", "0 101\r\na=rtpmap:101 telephone-event/8000");
    assert_eq!(gw.post(&format!("/v1/legs/{}/dtmf", c.leg), r#"{"digits":"5"}"#).status, 200);
    assert!(c.hears("INFO ").contains("Signal=5\r\n"));
    assert!(keys(&c, 20).is_empty(), "and no events");
}
