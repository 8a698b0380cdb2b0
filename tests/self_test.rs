//! The gateway's call to itself: over the API and as a command, with and without a running gateway, at full
//! load, and without events.
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

use std::process::{Command, Output};

use caller::Caller;
use common::Gateway;
use hook::Hook;
use serde_json::Value;

fn command(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_branchline")).env_clear().args(arguments).output().unwrap()
}

/// All checks passed, with values of a loopback call.
fn assert_passed(view: &Value) {
    assert_eq!((&view["passed"], &view["failures"]), (&true.into(), &serde_json::json!([])), "{view}");
    let number = |key: &str| view[key].as_f64().unwrap_or_else(|| panic!("{key}: {view}"));
    // A frame is sent in one tick and received in a later one, plus the jitter buffer delay.
    assert!((10.0..150.0).contains(&number("latency_ms")), "{view}");
    assert!(number("mos") > 4.0 && number("loss_percent") <= 1.0 && number("level_db").abs() < 1.0, "{view}");
}

#[test]
fn it_passes_during_calls_and_leaves_no_state_and_events() {
    let hook = Hook::start();
    // Although calls from its own address are not allowed, and calls are not encrypted.
    let text = format!(
        "[webhook]\nurl = \"{}\"\n[sip]\naccept_from = [\"127.0.0.0/8\"]\nsrtp = \"off\"\ncodecs = [\"opus\", \"G722\"]\n",
        hook.url
    );
    let gw = Gateway::start_configured(&text, &[]);
    let _call = Caller::call_in(&gw, "beside", "9");
    assert_passed(&gw.post("/v1/self-test", "").json());
    assert_eq!(gw.get("/v1/self-test").json()["step"], "");
    let recordings = gw.dir().join("recordings");
    let left = || (gw.used(), std::fs::read_dir(&recordings).map_or(0, Iterator::count));
    // Its legs and files are removed after the reply.
    for _ in 0..200 {
        if left() != (vec![1, 0, 1, 0, 0], 0) {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }
    assert_eq!(left(), (vec![1, 0, 1, 0, 0], 0));
    assert_eq!(gw.post("/v1/rooms", r#"{"id":"the end"}"#).status, 201);
    hook.wait("the room's event", 10, |all| all.iter().any(|e| e["type"] == "room.created"));
    let told: Vec<String> = hook.events().iter().map(|e| e["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, ["leg.ringing", "leg.connected", "room.created"], "of the call and the room");
}

#[test]
fn two_at_once_and_a_full_gateway_are_refused() {
    let gw = Gateway::start_configured("[limits]\nlegs = 3\n", &[]);
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| gw.post("/v1/self-test", ""));
        let busy = || !gw.get("/v1/self-test").json()["step"].as_str().unwrap().is_empty();
        while !busy() {}
        (gw.post("/v1/self-test", ""), first.join().unwrap())
    });
    assert_eq!((first.status, first.error().as_str()), (409, "a self-test runs already"));
    assert_passed(&second.json());
    while gw.used()[0] > 0 {
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }

    let _calls: Vec<Caller> = (0..2).map(|n| Caller::call_as(&gw, &format!("full-{n}"))).collect();
    let full = gw.post("/v1/self-test", "");
    assert_eq!((full.status, full.header("Retry-After").as_deref()), (503, Some("5")));
    assert!(full.error().contains("takes two legs"), "{full:?}");
    let url = format!("http://{}", gw.http());
    let told = command(&["self-test", "--url", &url]);
    assert_eq!(told.status.code(), Some(3), "{told:?}");
    assert!(String::from_utf8_lossy(&told.stderr).contains("takes two legs"), "{told:?}");
}

#[test]
fn the_command_uses_the_running_gateway_or_starts_one() {
    let gw = Gateway::start(&[]);
    let url = format!("http://{}", gw.http());
    let told = command(&["self-test", "--url", &url]);
    let (out, progress) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    assert!(out.starts_with("self-test passed\nset-up ") && out.contains("\nMOS       4."), "{out}");
    assert!(progress.contains("a tone through SRTP, mixer and recorder …"), "{progress}");

    let alone = std::env::temp_dir().join(format!("branchline-self-test-config-{}.toml", std::process::id()));
    std::fs::write(&alone, "board = \"small\"\n[http]\nlisten = \"127.0.0.1:1\"\n[sip]\nport = 1\n").unwrap();
    let told = command(&["self-test", "--json", "--config", alone.to_str().unwrap()]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    assert_passed(&serde_json::from_slice(&told.stdout).unwrap());
    std::fs::write(&alone, "board = \"toaster\"\n").unwrap();
    let told = command(&["self-test", "--config", alone.to_str().unwrap()]);
    assert_eq!(told.status.code(), Some(1), "a configuration that is wrong is no pass: {told:?}");
    std::fs::remove_file(alone).unwrap();
}

#[test]
fn a_test_call_reports_its_quality_or_failure() {
    let gw = Gateway::start(&[]);
    let url = format!("http://{}", gw.http());
    let nobody = command(&["call", "--url", &url, "sip:x@127.0.0.1:9;transport=tcp"]);
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("ended without an answer"), "{nobody:?}");
    let wrong = command(&["call", "--url", &url, "tel:1"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("400"), "{wrong:?}");

    // Called through the gateway itself: the other leg plays a tone, too.
    let to = format!("sip:desk@{}", gw.listen["sip"].as_str().unwrap());
    let called = std::thread::spawn(move || command(&["call", "--url", &url, "--seconds", "1", &to]));
    let ringing = loop {
        let legs = gw.get("/v1/legs").json();
        let leg =
            legs.as_array().unwrap().iter().find(|l| l["state"] == "ringing" && l["type"] == "sip_inbound");
        if let Some(leg) = leg {
            break leg["id"].as_str().unwrap().to_owned();
        }
    };
    assert_eq!(gw.post(&format!("/v1/legs/{ringing}/answer"), "").status, 200);
    let told = called.join().unwrap();
    let out = String::from_utf8_lossy(&told.stdout);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    assert!(out.contains("loss      0.0 %") && out.contains("\nMOS       4."), "{out}");
}
