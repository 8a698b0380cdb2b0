//! The process is killed while calls are recorded: every leg gets its terminal event, every recording is
//! playable and reported, and event numbers are neither reused nor skipped.
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

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use branchline::base::rng::Rng;
use caller::{Caller, packet};
use common::Gateway;
use hook::Hook;
use serde_json::Value;

/// Concurrent calls.
const CALLS: usize = 20;

/// Number of kills; `make soak` uses more.
fn rounds() -> u64 {
    std::env::var("CRASH_ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10)
}

/// Start and end of a recording as known by the test.
type Clock = BTreeMap<String, Duration>;

/// Starts calls and recordings, waits, and kills the process.
fn run_and_kill(gw: &mut Gateway, round: u64, ms: u64, clock: &mut Clock) {
    let callers: Vec<Caller> =
        (0..CALLS).map(|n| Caller::call_as(gw, &format!("crash-{round}-{n}"))).collect();
    let mut begun = Vec::new();
    for c in &callers {
        let reply = gw.post(&format!("/v1/legs/{}/record", c.leg), "");
        assert_eq!(reply.status, 200, "{reply:?}");
        begun.push((reply.json()["file"].as_str().unwrap().to_owned(), Instant::now()));
    }
    let end = Instant::now() + Duration::from_millis(ms);
    let mut n = 0u16;
    while Instant::now() < end {
        n += 1;
        callers.iter().for_each(|c| drop(c.rtp.send_to(&packet(0, n, 9, true), c.media)));
        std::thread::park_timeout(Duration::from_millis(20));
        // One recording is stopped normally, one call is hung up.
        if n == 8 {
            let stopped = gw.delete(&format!("/v1/legs/{}/record", callers[0].leg));
            assert_eq!(stopped.status, 200, "{stopped:?}");
            clock.insert(begun[0].0.clone(), begun[0].1.elapsed());
            assert_eq!(gw.delete(&format!("/v1/legs/{}", callers[1].leg)).status, 200);
            clock.insert(begun[1].0.clone(), begun[1].1.elapsed());
        }
    }
    gw.kill();
    for (file, at) in begun {
        clock.entry(file).or_insert_with(|| at.elapsed());
    }
}

/// Invariants of all events: no gap, no duplicate number, one terminal event per leg and recording.
fn check(events: &[Value], clock: &Clock, gaps: bool) {
    let mut legs: BTreeMap<&str, BTreeMap<u64, &Value>> = BTreeMap::new();
    let mut recordings: BTreeMap<&str, [BTreeMap<&str, &Value>; 2]> = BTreeMap::new();
    for e in events {
        if let Some(leg) = e["leg_id"].as_str() {
            let before = legs.entry(leg).or_default().insert(e["leg_seq"].as_u64().unwrap(), e);
            assert!(
                before.is_none_or(|b| b["event_id"] == e["event_id"]),
                "a number twice: {before:?} and {e}"
            );
        }
        let place = match e["type"].as_str().unwrap() {
            "recording.started" => 0,
            "recording.finished" => 1,
            _ => continue,
        };
        let of = recordings.entry(e["file"].as_str().unwrap()).or_default();
        of[place].insert(e["event_id"].as_str().unwrap(), e);
    }
    for (leg, events) in &legs {
        let numbers: Vec<u64> = events.keys().copied().collect();
        assert!(gaps || numbers.iter().copied().eq(1..=numbers.len() as u64), "{leg}: {numbers:?}");
        let ends = events.values().filter(|e| e["type"] == "leg.disconnected").count();
        let last = events.values().last().unwrap();
        assert_eq!((ends, &last["type"]), (1, &"leg.disconnected".into()), "{leg}: {events:#?}");
    }
    let mut recovered = 0;
    for (file, [started, finished]) in &recordings {
        assert_eq!((started.len(), finished.len()), (1, 1), "{file}");
        let finished = finished.values().next().unwrap();
        let wav = hound::WavReader::open(file).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!((wav.spec().channels, wav.spec().sample_rate), (2, 8000));
        let length = Duration::from_secs_f64(f64::from(wav.duration()) / 8000.0);
        let want = clock.get(*file).unwrap_or_else(|| panic!("{file} is none of ours"));
        assert!(want.abs_diff(length) <= Duration::from_secs(2), "{file}: {length:?} of {want:?}");
        assert_eq!(finished["duration_ms"].as_u64().unwrap(), length.as_millis() as u64, "{finished}");
        assert_eq!(finished["bytes"].as_u64().unwrap(), std::fs::metadata(file).unwrap().len(), "{finished}");
        recovered += u64::from(finished["recovered"] == true);
    }
    println!("{} legs, {} recordings, {recovered} of them recovered", legs.len(), recordings.len());
    assert!(recovered > 0);
    assert_eq!(recordings.len(), clock.len(), "every recording was told of");
}

fn everything_is_told(events: &[Value], legs: usize) -> bool {
    let ended: std::collections::BTreeSet<&str> = events
        .iter()
        .filter(|e| e["type"] == "leg.disconnected")
        .map(|e| e["leg_id"].as_str().unwrap())
        .collect();
    ended.len() == legs
}

fn environment<'a>(dir: &'a Path, hook: &'a Hook) -> [(&'static str, &'a str); 2] {
    [("STATE_DIR", dir.to_str().unwrap()), ("WEBHOOK_URL", &hook.url)]
}

#[test]
fn after_a_kill_every_terminal_event_is_sent() {
    let dir = std::env::temp_dir().join(format!("branchline-crash-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let hook = Hook::start();
    let mut rng = Rng::from_number(7);
    let mut clock = Clock::new();
    for round in 0..rounds() {
        // Every third time the target is down at the kill, and comes back during the next run.
        hook.set_away(round % 3 == 2);
        let mut gw = Gateway::start(&environment(&dir, &hook));
        run_and_kill(&mut gw, round, 300 + u64::from(rng.below(2500)), &mut clock);
    }
    hook.set_away(false);
    let gw = Gateway::start(&environment(&dir, &hook));
    let legs = CALLS * rounds() as usize;
    hook.wait("end of all legs", 90, |events| everything_is_told(events, legs));
    check(&hook.events(), &clock, false);
    let figures = String::from_utf8(gw.get("/metrics").body).unwrap();
    assert!(figures.contains("voiceblender_webhook_dropped_total 0\n"), "nothing was lost");
    drop(gw);
    std::fs::remove_dir_all(dir).unwrap();
}

/// Restores the directory as it would be after a power cut, from the copy kept by the preloaded library.
fn cut_the_power(dir: &Path, shadow: &Path) {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut lists: Vec<_> = std::fs::read_dir(shadow).unwrap().map(|e| e.unwrap().path()).collect();
    lists.sort();
    for list in lists.iter().filter(|p| p.file_name().unwrap().to_str().unwrap().starts_with("names-")) {
        for line in std::fs::read_to_string(list).unwrap().lines() {
            let (inode, path) = line.split_once(' ').unwrap();
            files.insert(path.to_owned(), inode.to_owned());
        }
    }
    let saved: Vec<(String, Vec<u8>)> = files
        .into_iter()
        .map(|(path, inode)| (path, std::fs::read(shadow.join(inode)).unwrap_or_default()))
        .collect();
    for entry in [dir.to_owned(), dir.join("recordings")].iter().flat_map(|d| std::fs::read_dir(d).unwrap()) {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::remove_file(path).unwrap();
        }
    }
    for (path, bytes) in saved {
        std::fs::write(path, bytes).unwrap();
    }
    for entry in std::fs::read_dir(shadow).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    // A new boot id.
    let db = rusqlite::Connection::open(dir.join("outbox.db")).unwrap();
    db.execute("UPDATE meta SET value = 'another' WHERE key = 'boot'", []).unwrap();
}

/// Marks the current state as synced.
fn settle(dir: &Path, shadow: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    for dir in [dir.to_owned(), dir.join("recordings")].iter().filter(|d| d.exists()) {
        let mut names = String::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let inode = std::fs::metadata(&path).unwrap().ino();
                std::fs::copy(&path, shadow.join(inode.to_string())).unwrap();
                names += &format!("{inode} {}\n", path.display());
            }
        }
        let inode = std::fs::metadata(dir).unwrap().ino();
        std::fs::write(shadow.join(format!("names-{inode}")), names).unwrap();
    }
}

/// The library, compiled by the C compiler that builds need anyway.
fn powercut_library(dir: &Path) -> String {
    let library = dir.join("powercut.so").display().to_string();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/powercut.c");
    let made = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o", &library, source, "-ldl"])
        .status();
    assert!(made.unwrap().success());
    library
}

#[test]
fn a_power_cut_loses_at_most_two_seconds() {
    let base = std::env::temp_dir().join(format!("branchline-power-{}", std::process::id()));
    let (dir, shadow) = (base.join("state"), base.join("shadow"));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::create_dir_all(&shadow).unwrap();
    let library = powercut_library(&base);
    let hook = Hook::start();
    let mut clock = Clock::new();
    let mut env = environment(&dir, &hook).to_vec();
    env.extend([
        ("LD_PRELOAD", library.as_str()),
        ("POWERCUT_DIR", dir.to_str().unwrap()),
        ("POWERCUT_SHADOW", shadow.to_str().unwrap()),
    ]);
    const ROUNDS: u64 = 3;
    for round in 0..ROUNDS {
        settle(&dir, &shadow);
        let mut gw = Gateway::start(&env);
        run_and_kill(&mut gw, round, 3000 + 217 * round, &mut clock);
        cut_the_power(&dir, &shadow);
    }
    let _gw = Gateway::start(&environment(&dir, &hook));
    hook.wait("end of all legs", 60, |events| everything_is_told(events, CALLS * ROUNDS as usize));
    check(&hook.events(), &clock, true);
    std::fs::remove_dir_all(base).unwrap();
}

#[test]
fn a_disk_that_fails_ends_recordings_and_nothing_else() {
    let base = std::env::temp_dir().join(format!("branchline-fault-{}", std::process::id()));
    let dir = base.join("state");
    std::fs::create_dir_all(&dir).unwrap();
    let library = powercut_library(&base);
    let hook = Hook::start();
    let mut env = environment(&dir, &hook).to_vec();
    env.extend([("LD_PRELOAD", library.as_str()), ("POWERCUT_DIR", dir.to_str().unwrap())]);
    let gw = Gateway::start(&env);
    let c = Caller::call_as(&gw, "fault");
    let record = format!("/v1/legs/{}/record", c.leg);
    let finished = |n: usize| {
        move |events: &[Value]| events.iter().filter(|e| e["type"] == "recording.finished").count() == n
    };
    for (n, (code, says)) in [("5", "Input/output error"), ("28", "No space left")].into_iter().enumerate() {
        let file = gw.post(&record, "").json()["file"].as_str().unwrap().to_owned();
        let mut k = 0u16;
        let mut talk = |ticks: u16| {
            for _ in 0..ticks {
                k += 1;
                c.rtp.send_to(&packet(0, n as u16 * 1000 + k, 9, true), c.media).unwrap();
                std::thread::park_timeout(Duration::from_millis(20));
            }
        };
        talk(90);
        std::fs::write(dir.join("fault"), code).unwrap();
        talk(60);
        hook.wait("end of the recording", 10, finished(n + 1));
        std::fs::remove_file(dir.join("fault")).unwrap();
        let last = hook.events().into_iter().rfind(|e| e["type"] == "recording.finished").unwrap();
        assert!(last["error"].as_str().unwrap().contains(says), "{last}");
        // Audio written before is in the file, and its header is valid.
        let wav = hound::WavReader::open(&file).unwrap();
        assert!(wav.duration() > 8000 / 2, "{} frames", wav.duration());
        let told = last["duration_ms"].as_u64().unwrap();
        assert!(told.abs_diff(u64::from(wav.duration()) / 8) < 1000, "{last}");
        let shown =
            gw.get(&format!("/v1/recordings/{}", last["file"].as_str().unwrap().rsplit('/').next().unwrap()));
        assert_eq!(shown.json()["state"], "failed", "{shown:?}");
        assert_eq!(gw.get(&format!("/v1/legs/{}", c.leg)).json()["state"], "connected");
        assert_eq!(gw.delete(&record).status, 404, "it is over");
    }
    assert_eq!(gw.post(&record, "").status, 200, "and the next one runs");
    assert_eq!(gw.delete(&record).status, 200);
    gw.assert_never_stood_still();
    drop(gw);
    std::fs::remove_dir_all(base).unwrap();
}

#[test]
fn recordings_are_listed_downloaded_and_deleted() {
    let hook = Hook::start();
    let gw = Gateway::start(&[("WEBHOOK_URL", &hook.url)]);
    let c = Caller::call_as(&gw, "listed");
    let record = format!("/v1/legs/{}/record", c.leg);
    let asked = Instant::now();
    let file = gw.post(&record, "").json()["file"].as_str().unwrap().to_owned();
    let id = file.rsplit('/').next().unwrap();
    let at = format!("/v1/recordings/{id}");
    let begun = Instant::now();
    for n in 0..80 {
        c.rtp.send_to(&packet(0, n, 9, true), c.media).unwrap();
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let running = gw.get(&at).json();
    assert_eq!(
        (&running["state"], &running["leg_id"]),
        (&"recording".into(), &c.leg.as_str().into()),
        "{running}"
    );
    assert!(running["duration_ms"].as_u64().unwrap() > 400 && running["sample_rate"] == 8000, "{running}");
    assert_eq!(gw.delete(&at).status, 409, "it runs");
    let least = begun.elapsed().as_millis() as u64;
    assert_eq!(gw.delete(&record).status, 200);
    let most = asked.elapsed().as_millis() as u64;
    let shown = gw.get(&at).json();
    assert_eq!(
        (&shown["state"], &shown["id"], &shown["channels"]),
        (&"finished".into(), &id.into(), &2.into())
    );
    // Start and end are aligned to 20 ms ticks.
    let length = shown["duration_ms"].as_u64().unwrap();
    assert!((least.saturating_sub(100)..=most + 100).contains(&length), "{least} to {most} ms, and {shown}");
    assert_eq!(gw.get("/v1/recordings").json()["recordings"].as_array().unwrap().len(), 1);
    let whole = std::fs::read(&file).unwrap();
    let all = gw.get(&format!("{at}/file"));
    assert_eq!((all.status, all.header("Content-Type").as_deref()), (200, Some("audio/wav")));
    assert!(all.body == whole);
    let part = gw.request("GET", &format!("{at}/file"), "Range: bytes=44-143\r\n", b"");
    assert_eq!((part.status, &part.body[..]), (206, &whole[44..144]));
    assert_eq!(part.header("Content-Range"), Some(format!("bytes 44-143/{}", whole.len())));
    let none = gw.request("GET", &format!("{at}/file"), "Range: bytes=99999999-\r\n", b"");
    assert_eq!((none.status, none.header("Content-Range")), (416, Some(format!("bytes */{}", whole.len()))));
    for bad in ["..", "%2e%2e%2fstate", "a%00b", "outbox.db", &"x".repeat(2000), "%C3%A4.wav"] {
        for path in [format!("/v1/recordings/{bad}"), format!("/v1/recordings/{bad}/file")] {
            assert!(matches!(gw.get(&path).status, 400 | 404), "{path}");
        }
    }
    assert_eq!(gw.delete(&at).json()["status"], "deleted");
    assert!(!Path::new(&file).exists() && gw.get(&at).status == 404);
    let webhooks = gw.get("/v1/webhooks").json();
    assert_eq!(
        (&webhooks["webhooks"][0]["state"], &webhooks["webhooks"][0]["global"]),
        (&"ok".into(), &true.into())
    );
}
