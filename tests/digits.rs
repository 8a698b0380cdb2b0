//! Digits of a far end: by INFO, as events of RFC 4733, and both at once.
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

use branchline::rtp::packet::header;
use branchline::rtp::telephone_event::{Event, code_of};
use serde_json::Value;

use crate::caller::Caller;
use crate::common::Gateway;
use crate::hook::Hook;

/// A key as an event: pressed for 60 ms, its end in threefold.
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

/// The digits that were told so far.
fn told(events: &[Value]) -> String {
    events.iter().filter(|e| e["type"] == "leg.dtmf").filter_map(|e| e["digit"].as_str()).collect()
}

#[test]
fn a_key_that_comes_by_info_and_with_the_media_is_told_once() {
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
    // The other way follows; then another key, first with the media.
    press(&c, &mut sequence, '5');
    press(&c, &mut sequence, '#');
    wait("5#");
    info(3, "application/dtmf", "11", "SIP/2.0 200");
    // Twice by INFO is two keys.
    info(4, "application/dtmf", "8", "SIP/2.0 200");
    info(5, "application/dtmf", "8", "SIP/2.0 200");
    wait("5#88");
    info(6, "application/dtmf-relay", "Signal=X", "SIP/2.0 400");
    info(7, "text/plain", "8", "SIP/2.0 415");
    press(&c, &mut sequence, '9');
    wait("5#889");
}
