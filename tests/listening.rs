//! Answering-machine detection and quality over REST: rejected parameters, with the reason.
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

use common::Gateway;

#[test]
fn wrong_parameters_are_refused_with_the_field_and_its_range() {
    let gw = Gateway::start(&[]);
    let leg = gw.post("/v1/legs", r#"{"type":"sip","uri":"sip:x@127.0.0.1:9"}"#).json()["leg_id"].clone();
    let id = leg
        .as_str()
        .map_or_else(|| gw.get("/v1/legs").json()[0]["id"].as_str().unwrap().to_owned(), str::to_owned);
    let path = format!("/v1/legs/{id}/amd");
    for (body, says) in [
        (
            r#"{"total_analysis_time":2000}"#,
            "total_analysis_time: 2000 ms is less than initial_silence_timeout, 2500 ms",
        ),
        (r#"{"greeting_duration":600001}"#, "greeting_duration: 600001 is out of range; at most 600000 ms"),
        (r#"{"beep_timeout":99999999999}"#, "beep_timeout"),
        (r#"{"beep_timeout":"5"}"#, "expected i64"),
        (r#"{"beep_timeout":1.5}"#, "expected i64"),
        ("[]", "the body must be a JSON object"),
        ("{", "invalid JSON"),
    ] {
        let reply = gw.post(&path, body);
        assert!(reply.status == 400 && reply.error().contains(says), "{body}: {reply:?}");
        let all = format!(r#"{{"type":"sip","uri":"sip:x@127.0.0.1:9","room_id":"made","amd":{body}}}"#);
        assert_eq!(gw.post("/v1/legs", &all).status, 400, "{body}");
    }
    assert_eq!(gw.get("/v1/rooms/made").status, 404, "a refused call makes no room");
    for body in ["", "{}", "null", r#"{"greeting_duration":-5,"beep_timeout":0}"#] {
        let reply = gw.post(&path, body);
        assert_eq!((reply.status, reply.error().as_str()), (409, "leg is not connected"), "{body}");
    }
    assert_eq!(gw.post("/v1/legs/none/amd", "{}").status, 404);
    assert_eq!(gw.get("/v1/legs/none/quality").status, 404);
    let early = gw.get(&format!("/v1/legs/{id}/quality"));
    assert_eq!((early.status, early.error().as_str()), (409, "the leg has no media yet"));
}
