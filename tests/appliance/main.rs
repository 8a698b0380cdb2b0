//! The Debian package: installed in a bare system, started by its unit's commands with a test service
//! manager, called, killed, upgraded during a call, and purged. `make test` builds the package; needs root.
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

#[path = "../common/caller.rs"]
mod caller;
#[path = "../common/mod.rs"]
mod common;
mod debian;
mod guide;
#[path = "../common/notify.rs"]
mod notify;

use std::time::Duration;

use caller::{Caller, packet};
use debian::{Debian, Service};
use notify::{Held, thread_of};

/// A file of the system, as text.
fn read(root: &Debian, path: &str) -> String {
    std::fs::read_to_string(root.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Uses free ports instead of the default ones, which may be in use on the test machine.
fn edit(root: &Debian) {
    let path = "/etc/branchline/branchline.toml";
    let text = read(root, path);
    let edited = text
        .replace("#listen = \"127.0.0.1:8080\"", "listen = \"127.0.0.1:0\"")
        .replace("#port = 5060", "port = 0");
    assert_ne!(text, edited);
    std::fs::write(root.path(path), edited).unwrap();
}

/// Sends this many packets of 20 ms.
fn talk(call: &Caller, packets: u16) {
    for n in 0..packets {
        call.rtp.send_to(&packet(0, n, 7, true), call.media).unwrap();
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn the_package_is_installed_called_killed_upgraded_and_purged() {
    let root = Debian::new("life");
    root.install(&debian::package());
    // The installation creates a random token, readable by the group only.
    let token = read(&root, "/etc/branchline/api.token").trim().to_owned();
    assert!(token.len() == 32 && token.bytes().all(|b| b.is_ascii_hexdigit()), "{} characters", token.len());
    assert_eq!(root.mode("/etc/branchline/api.token"), "640 root branchline-secrets");
    assert_eq!(root.mode("/usr/bin/branchline"), "755 root root");
    assert_eq!(root.run(&["branchline", "--check"]).trim(), "the configuration is good");
    edit(&root);

    let mut service = Service::start(&root, &token);
    assert_eq!(common::request(service.gateway.http(), "GET", "/v1/legs", "", b"").status, 401);
    let call = Caller::call(&service.gateway);
    let recorded = service.gateway.post(&format!("/v1/legs/{}/record", call.leg), "").json();
    let file = recorded["file"].as_str().unwrap().to_owned();
    assert!(file.starts_with("/var/lib/branchline/recordings/"), "{file}");
    talk(&call, 100);
    // The commands find the service by its settings.
    let status = root.run(&["branchline", "status"]);
    assert!(
        status.contains("\nlegs      1\n") && status.contains("in /var/lib/branchline/recordings"),
        "{status}"
    );

    // A stall of the media or the control thread is detected.
    let (second, pid) = (Duration::from_secs(1), service.gateway.pid());
    for thread in ["media", "branchline"] {
        assert!(service.manager.beats(second) >= 3, "{thread}: it lives");
        let held = Held::hold(thread_of(pid, thread));
        let _on_their_way = service.manager.beats(second / 4);
        assert_eq!(service.manager.beats(second), 0, "{thread} stands still");
        drop(held);
        assert!(service.manager.beats(2 * second) >= 3, "{thread} goes on");
    }

    // Killed: the recording is repaired, and the interrupted legs are reported.
    service.gateway.kill();
    drop(service);
    assert_eq!(root.run(&["branchline", "outbox", "list"]), "", "it can be looked at while nothing runs");
    let mut service = Service::start(&root, &token);
    let recordings = service.gateway.get("/v1/recordings").json();
    assert_eq!(recordings["recordings"][0]["state"], "finished", "{recordings}");
    let wav = hound::WavReader::open(root.path(&file)).unwrap();
    assert!(wav.duration() > wav.spec().sample_rate, "{} frames", wav.duration());

    // An upgrade during a call: the old program runs until the call ends.
    let call = Caller::call_as(&service.gateway, "upgrade");
    let settings = read(&root, "/etc/branchline/branchline.toml");
    root.install(&debian::newer(&debian::package()));
    assert_eq!(read(&root, "/etc/branchline/branchline.toml"), settings, "settings are kept");
    assert_eq!(read(&root, "/etc/branchline/api.token").trim(), token);
    service.gateway.terminate();
    assert!(service.manager.expect("STOPPING=1").contains("EXTEND_TIMEOUT_USEC="));
    talk(&call, 50);
    assert!(service.gateway.is_running(), "the call has its time");
    call.request("BYE", 9, "", "");
    call.hears("SIP/2.0 200");
    assert_eq!(service.gateway.wait(), Some(0), "it ends with the last call");
    drop(service);
    let service = Service::start(&root, &token);
    assert_eq!(service.gateway.get("/v1/recordings").json()["recordings"].as_array().unwrap().len(), 1);
    drop(service);

    let exists = |path: &str| root.path(path).exists();
    root.run(&["dpkg", "--remove", "branchline"]);
    assert!(!exists("/usr/bin/branchline") && exists("/etc/branchline/api.token"));
    let told = root.run(&["dpkg", "--purge", "branchline"]);
    assert!(told.contains("recordings are left in /var/lib/branchline/recordings"), "{told}");
    assert!(!exists("/etc/branchline"), "nothing of the settings is left");
    assert!(exists(&file) && !exists("/var/lib/branchline/outbox.db"), "recordings are somebody's");
}

#[test]
fn lintian_finds_no_error() {
    let out = std::process::Command::new("lintian")
        .args(["--fail-on", "error", "--tag-display-limit", "0", "--allow-root"])
        .arg(debian::package())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
}
