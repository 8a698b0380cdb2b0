//! If the system creates no more threads, work that needs one waits or fails individually, and calls
//! continue.
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

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use caller::{Caller, packet};
use common::Gateway;
use hook::Hook;
use serde_json::{Value, json};

/// The library, compiled by the C compiler that builds need anyway.
fn library(dir: &Path) -> PathBuf {
    let library = dir.join("nothreads.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/nothreads.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).args([source, "-ldl"]);
    assert!(cc.status().unwrap().success());
    library
}

/// A sound server: `/short` returns a sound, everything else stalls.
fn sounds() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 2048];
            let n = stream.read(&mut head).unwrap_or(0);
            if head[..n].starts_with(b"GET /short") {
                let sound = [0xffu8; 1600];
                let said = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    sound.len()
                );
                drop(stream.write_all(said.as_bytes()).and_then(|()| stream.write_all(&sound)));
            } else {
                held.push(stream);
            }
        }
    });
    port
}

#[test]
fn without_further_threads_calls_events_and_recordings_continue() {
    let base = std::env::temp_dir().join(format!("branchline-threads-{}", std::process::id()));
    std::fs::create_dir_all(&base).unwrap();
    let (library, none) = (library(&base), base.join("none"));
    let hook = Hook::start();
    // By name: a blocking address look-up is needed.
    let url = hook.url.replace("127.0.0.1", "localhost");
    let env = [
        ("WEBHOOK_URL", url.as_str()),
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("NOTHREADS", none.to_str().unwrap()),
    ];
    let gw = Gateway::start(&env);
    let c = Caller::call_as(&gw, "before");
    std::fs::write(&none, "").unwrap();
    let started = |leg: &str| {
        let leg = leg.to_owned();
        move |events: &[Value]| {
            events.iter().any(|e| e["type"] == "leg.connected" && e["leg_id"] == leg.as_str())
        }
    };
    hook.wait("the first call", 10, started(&c.leg));
    let at = |what: &str| format!("/v1/legs/{}/{what}", c.leg);
    let upload = json!({"storage": "s3", "s3_bucket": "bkt", "s3_endpoint": "http://localhost:9",
        "s3_access_key": "a", "s3_secret_key": "k"});
    assert_eq!(gw.post(&at("record"), &upload.to_string()).status, 200);
    // Look-ups, fetches and requests, more of each than there are threads.
    let port = sounds();
    for n in 0..12 {
        let stalls = json!({"url": format!("http://localhost:{port}/stalls/{n}")});
        assert_eq!(gw.post(&at("play"), &stalls.to_string()).status, 200, "playback {n}");
        let call = json!({"type": "sip", "uri": format!("sip:x@nobody{n}.local"), "webhook_url": url});
        let placed = gw.post("/v1/legs", &call.to_string()).status;
        assert!(placed < 300, "{placed}");
    }
    let mut k = 0;
    let mut talk = |ticks: u16| {
        for _ in 0..ticks {
            k += 1;
            c.rtp.send_to(&packet(0, k, 9, true), c.media).unwrap();
            std::thread::park_timeout(Duration::from_millis(20));
        }
    };
    talk(50);
    let stopped = gw.delete(&at("record"));
    assert_eq!(stopped.status, 200, "{stopped:?}");
    let all = gw.get("/v1/recordings").json();
    let recording = &all["recordings"][0];
    assert!(recording["duration_ms"].as_u64().unwrap() > 500, "{all}");
    let file = gw.get(&format!("/v1/recordings/{}/file", recording["id"].as_str().unwrap()));
    assert_eq!((file.status, file.body.len() as u64), (200, recording["bytes"].as_u64().unwrap()));
    // New calls, and all events are delivered.
    let second = Caller::call_as(&gw, "meanwhile");
    hook.wait("the second call", 10, started(&second.leg));
    let trunk = r#"{"type":"ip_ip","ip_ip":{"peer_uri":"sip:127.0.0.1:6"}}"#;
    assert_eq!(gw.post("/v1/sip/trunks", trunk).status, 202);
    hook.wait("the end of calls to nobody", 30, |events| {
        events.iter().filter(|e| e["type"] == "leg.disconnected").count() == 12
    });
    assert_eq!(gw.get(&format!("/v1/legs/{}", c.leg)).json()["state"], "connected");
    gw.assert_never_stood_still();
    // Threads are available again: stalled work delays nothing.
    std::fs::remove_file(&none).unwrap();
    let short = json!({"url": format!("http://localhost:{port}/short"), "mime_type": "audio/pcm;rate=8000"});
    let played = gw.post(&format!("/v1/legs/{}/play", second.leg), &short.to_string());
    assert_eq!(played.status, 200, "{played:?}");
    hook.wait("a sound", 10, |events| {
        events.iter().any(|e| e["type"] == "playback.finished" && e["leg_id"] == second.leg.as_str())
    });
    drop(gw);
    std::fs::remove_dir_all(base).unwrap();
}

#[test]
fn a_start_without_threads_says_so() {
    let base = std::env::temp_dir().join(format!("branchline-no-threads-{}", std::process::id()));
    std::fs::create_dir_all(&base).unwrap();
    let none = base.join("none");
    std::fs::write(&none, "").unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_branchline"))
        .env_clear()
        .envs([("HTTP_ADDR", "127.0.0.1:0"), ("SIP_PORT", "0")])
        .env("STATE_DIR", base.join("state"))
        .env("LD_PRELOAD", library(&base))
        .env("NOTHREADS", &none)
        .output()
        .unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!((out.status.code(), said.contains("threads: ")), (Some(1), true), "{said}");
    std::fs::remove_dir_all(base).unwrap();
}
