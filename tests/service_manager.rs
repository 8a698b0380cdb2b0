//! Notifications to systemd (sd_notify(3)), and that the watchdog is fed only while both control and media
//! threads run.
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

#[path = "common/notify.rs"]
mod notify;

use std::time::Duration;

use common::Gateway;
use notify::{Held, Manager, thread_of};

#[test]
fn ready_status_and_stopping_are_reported() {
    let manager = Manager::new("ready");
    let gw = Gateway::start(&[("NOTIFY_SOCKET", manager.path.to_str().unwrap())]);
    assert_eq!(manager.expect("STATUS="), "STATUS=0 legs, 0 rooms, 0 phones");
    assert_eq!(manager.next(Duration::from_secs(10)).unwrap(), "READY=1");
    assert_eq!(gw.get("/health").status, 200, "what is told ready answers");
    assert_eq!(gw.post("/v1/rooms", "{}").status, 201);
    assert_eq!(manager.expect("STATUS="), "STATUS=0 legs, 1 room, 0 phones");
    gw.signal("HUP");
    let reloading = manager.expect("RELOADING=1");
    let us = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(us.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.expect("READY"), "READY=1");
    gw.terminate();
    assert_eq!(manager.expect("STOPPING"), "STOPPING=1\nEXTEND_TIMEOUT_USEC=50000000");
}

#[test]
fn the_watchdog_is_fed_while_control_and_media_run() {
    let manager = Manager::new("watchdog");
    let gw =
        Gateway::start(&[("NOTIFY_SOCKET", manager.path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")]);
    let second = Duration::from_secs(1);
    for thread in ["media", "branchline"] {
        assert!(manager.beats(second) >= 4, "four in the time that there is");
        {
            let _held = Held::hold(thread_of(gw.pid(), thread));
            // One message may be in flight.
            let on_its_way = manager.beats(Duration::from_millis(200));
            assert!(on_its_way <= 2, "{on_its_way}");
            assert_eq!(manager.beats(second), 0, "{thread} stands still");
        }
        assert!(manager.beats(2 * second) >= 4, "{thread} goes on");
    }
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let manager = Manager::new("other");
    let _gw = Gateway::start(&[
        ("NOTIFY_SOCKET", manager.path.to_str().unwrap()),
        ("WATCHDOG_USEC", "400000"),
        ("WATCHDOG_PID", "1"),
    ]);
    assert_eq!(manager.beats(Duration::from_secs(1)), 0);
}
