//! A disk of 64 MiB is filled completely while ten calls are recorded: the calls continue unaffected, the
//! recordings end with an error, and everything recovers when there is space.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::caller::{Caller, packet};
use crate::common::Gateway;
use crate::hook::Hook;

const CALLS: usize = 10;

/// A file system in memory, unmounted with the test.
struct Disk(std::path::PathBuf);

impl Disk {
    fn make(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("branchline-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let made = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(&dir).status();
        assert!(made.unwrap().success(), "mount: this test makes a file system, which takes root");
        Self(dir)
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let full = self.0.join("full");
        let zeros = vec![0u8; 4096];
        let mut file = std::fs::File::create(full).unwrap();
        while std::io::Write::write_all(&mut file, &zeros).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("full")).unwrap();
    }

    /// Remounts it read-only, as ext4 does after errors (`ro`), or writable (`rw`).
    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
        drop(std::fs::remove_dir(&self.0));
    }
}

#[test]
fn a_full_disk_ends_recordings_and_nothing_else() {
    let disk = Disk::make("full-disk");
    let dir = disk.0.join("state");
    std::fs::create_dir_all(&dir).unwrap();
    let hook = Hook::start();
    // Completely: no space is reserved.
    let gw = Gateway::start_release_configured(
        "[recording]\nmin_free_mb = 0\n[outbox]\nmax_mb = 8\n",
        &[("STATE_DIR", dir.to_str().unwrap()), ("WEBHOOK_URL", &hook.url)],
    );
    let callers: Vec<Caller> = (0..CALLS).map(|n| Caller::call_as(&gw, &format!("full-{n}"))).collect();
    let mut n = 0u16;
    let mut talk = |ms: u64| {
        let end = Instant::now() + Duration::from_millis(ms);
        while Instant::now() < end {
            n += 1;
            callers.iter().for_each(|c| drop(c.rtp.send_to(&packet(0, n, 9, true), c.media)));
            std::thread::park_timeout(Duration::from_millis(20));
        }
    };
    for c in &callers {
        assert_eq!(gw.post(&format!("/v1/legs/{}/record", c.leg), "").status, 200);
    }
    talk(2000);
    disk.fill();
    talk(4000);
    let finished = |events: &[Value]| {
        events.iter().filter(|e| e["type"] == "recording.finished" && e["error"].is_string()).count()
    };
    hook.wait("end of all recordings", 20, |events| finished(events) == CALLS);
    for e in hook.events().iter().filter(|e| e["type"] == "recording.finished") {
        let file = e["file"].as_str().unwrap();
        let wav = hound::WavReader::open(file).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(wav.duration() > 8000, "{file}: {} frames", wav.duration());
    }
    // Events are still sent, though they cannot be stored; a new recording is refused.
    let c = &callers[0];
    let refused = gw.post(&format!("/v1/legs/{}/record", c.leg), "");
    assert_eq!(refused.status, 500, "{refused:?}");
    assert_eq!(gw.post(&format!("/v1/legs/{}/mute", c.leg), "").status, 200);
    hook.wait("an event", 10, |events| events.iter().any(|e| e["type"] == "leg.muted"));
    for c in &callers {
        let quality = gw.get(&format!("/v1/legs/{}/quality", c.leg)).json();
        let (got, bad) = (
            quality["rtp_packets_received"].as_u64().unwrap(),
            quality["rtp_packets_lost"].as_u64().unwrap(),
        );
        assert!(got > 200 && bad == 0, "{quality}");
    }
    gw.assert_never_stood_still();
    disk.free();
    talk(1500);
    // There is space again: the outbox writes its backlog, recordings run.
    let again = gw.post(&format!("/v1/legs/{}/record", c.leg), "");
    assert_eq!(again.status, 200, "{again:?}");
    talk(1000);
    assert_eq!(gw.delete(&format!("/v1/legs/{}/record", c.leg)).status, 200);
    callers.iter().for_each(|c| assert_eq!(gw.delete(&format!("/v1/legs/{}", c.leg)).status, 200));
    hook.wait("end of all legs", 20, |events| {
        events.iter().filter(|e| e["type"] == "leg.disconnected").count() == CALLS
    });
    assert_eq!(gw.figure("voiceblender_webhook_dropped_total"), 0);
    let size = |p: &Path| std::fs::metadata(p).map_or(0, |m| m.len());
    let outbox = size(&dir.join("outbox.db")) + size(&dir.join("outbox.db-wal"));
    assert!(outbox < 12 << 20, "the outbox keeps to its room: {outbox}");
    drop(gw);
}

fn ends(events: &[Value], leg: &str) -> usize {
    let ids: BTreeSet<&str> = events
        .iter()
        .filter(|e| e["type"] == "leg.disconnected" && e["leg_id"] == leg)
        .filter_map(|e| e["event_id"].as_str())
        .collect();
    ids.len()
}

/// Calls, receives the events of its call, and hangs up.
fn call_and_hang_up(gw: &Gateway, hook: &Hook, name: &str) {
    let c = Caller::call_as(gw, name);
    let refused = gw.post(&format!("/v1/legs/{}/record", c.leg), "");
    assert_eq!(refused.status, 500, "{refused:?}");
    assert_eq!(gw.get(&format!("/v1/legs/{}", c.leg)).json()["state"], "connected");
    assert_eq!(gw.delete(&format!("/v1/legs/{}", c.leg)).status, 200);
    hook.wait("end of the call", 10, |events| ends(events, &c.leg) == 1);
}

#[test]
fn a_gateway_starts_on_a_full_or_read_only_disk() {
    let disk = Disk::make("start-disk");
    let dir = disk.0.join("state");
    std::fs::create_dir_all(&dir).unwrap();
    let hook = Hook::start();
    let start = |dir: &Path| {
        let env = [("STATE_DIR", dir.to_str().unwrap()), ("WEBHOOK_URL", hook.url.as_str())];
        Gateway::start_release_configured("", &env)
    };
    let told = |what: &str, leg: &str| hook.wait(what, 10, |events| ends(events, leg) == 1);

    // A recorded call is interrupted, and the disk is full at the next start: calls work, and terminal events
    // are sent.
    let mut gw = start(&dir);
    let instance = gw.get("/v1/legs/none").json()["instance_id"].clone();
    let cut = Caller::call_as(&gw, "cut").leg;
    assert_eq!(gw.post(&format!("/v1/legs/{cut}/record"), "").status, 200);
    hook.wait("the recording", 10, |events| events.iter().any(|e| e["type"] == "recording.started"));
    gw.kill();
    std::fs::remove_file(dir.join("listen.json")).unwrap();
    disk.fill();
    let mut gw = start(&dir);
    told("end of the call that was cut", &cut);
    hook.wait("end of its recording", 10, |events| {
        events.iter().any(|e| e["type"] == "recording.finished" && e["recovered"] == true)
    });
    call_and_hang_up(&gw, &hook, "full");

    // Still full at the next start: repeated events have the same id.
    gw.kill();
    let times = |events: &[Value]| {
        events.iter().filter(|e| e["type"] == "leg.disconnected" && e["leg_id"] == cut.as_str()).count()
    };
    let before = times(&hook.events());
    let mut gw = start(&dir);
    hook.wait("the same again", 10, |events| times(events) > before);
    told("end of the call, once", &cut);

    // A new gateway on a full disk accepts calls, too.
    std::fs::create_dir(disk.0.join("new")).unwrap();
    let new = start(&disk.0.join("new"));
    call_and_hang_up(&new, &hook, "new");
    drop(new);

    // Space again: the events are stored, and not sent once more.
    disk.free();
    let kept = || std::fs::metadata(dir.join("outbox.db-wal")).unwrap().modified().unwrap();
    let before = kept();
    let until = Instant::now() + Duration::from_secs(10);
    while kept() == before {
        assert!(Instant::now() < until, "the outbox is not written");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let late = Caller::call_as(&gw, "late").leg;
    hook.wait("the next call", 10, |events| {
        events.iter().any(|e| e["type"] == "leg.connected" && e["leg_id"] == late.as_str())
    });
    gw.kill();

    // Read-only: events of the last run cannot be sent, but are not lost.
    disk.remount("ro");
    let mut gw = start(&dir);
    call_and_hang_up(&gw, &hook, "read-only");
    assert_eq!(ends(&hook.events(), &late), 0);
    gw.kill();
    disk.remount("rw");
    let gw = start(&dir);
    told("end of the call before", &late);
    assert_eq!(ends(&hook.events(), &cut), 1, "it had been told");
    assert_eq!(gw.get("/v1/legs/none").json()["instance_id"], instance);
}

#[test]
fn a_recording_that_cannot_be_repaired_is_reported_with_its_properties() {
    let disk = Disk::make("kept-disk");
    let hook = Hook::start();
    let state = disk.0.with_extension("state");
    let start = || {
        let env = [
            ("STATE_DIR", state.to_str().unwrap()),
            ("RECORDING_DIR", disk.0.to_str().unwrap()),
            ("WEBHOOK_URL", hook.url.as_str()),
        ];
        Gateway::start_release_configured("", &env)
    };
    let mut gw = start();
    let c = Caller::call_as(&gw, "kept");
    assert_eq!(gw.post(&format!("/v1/legs/{}/record", c.leg), "").status, 200);
    for n in 0..100 {
        c.rtp.send_to(&packet(0, n, 9, true), c.media).unwrap();
        std::thread::park_timeout(Duration::from_millis(20));
    }
    gw.kill();
    disk.remount("ro");
    let _gw = start();
    hook.wait("end of the recording", 10, |events| events.iter().any(|e| e["type"] == "recording.finished"));
    let last = hook.events().into_iter().rfind(|e| e["type"] == "recording.finished").unwrap();
    assert!(last["error"].as_str().unwrap().contains("Read-only"), "{last}");
    assert!(last["duration_ms"].as_u64().unwrap() > 500, "{last}");
    std::fs::remove_dir_all(state).unwrap();
}
