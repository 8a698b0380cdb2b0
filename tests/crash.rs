//! The process is killed while calls are recorded: every leg gets its last event, every recording is playable and told of,
//! and no number is used twice or left out.
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

/// Calls at once.
const CALLS: usize = 20;

/// Kills; `make soak` asks for more.
fn rounds() -> u64 {
    std::env::var("CRASH_ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10)
}

/// What the test itself knows of a recording: how long it ran.
type Clock = BTreeMap<String, Duration>;

/// Starts calls and their recordings, lets them run for a while, and kills the process.
fn run_and_kill(gw: &mut Gateway, round: u64, rng: &mut Rng, clock: &mut Clock) {
    let callers: Vec<Caller> =
        (0..CALLS).map(|n| Caller::call_as(gw, &format!("crash-{round}-{n}"))).collect();
    let mut begun = Vec::new();
    for c in &callers {
        let reply = gw.post(&format!("/v1/legs/{}/record", c.leg), "");
        assert_eq!(reply.status, 200, "{reply:?}");
        begun.push((reply.json()["file"].as_str().unwrap().to_owned(), Instant::now()));
    }
    let end = Instant::now() + Duration::from_millis(300 + u64::from(rng.below(2500)));
    let mut n = 0u16;
    while Instant::now() < end {
        n += 1;
        callers.iter().for_each(|c| drop(c.rtp.send_to(&packet(0, n, 9, true), c.media)));
        std::thread::park_timeout(Duration::from_millis(20));
        // One is stopped in the ordinary way, one call is hung up.
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

/// What holds for all that was told: no gap, no number twice, one end for each leg and each recording.
fn check(events: &[Value], clock: &Clock) {
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
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{leg}");
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
fn a_killed_process_leaves_nothing_untold() {
    let dir = std::env::temp_dir().join(format!("branchline-crash-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let hook = Hook::start();
    let mut rng = Rng::from_number(7);
    let mut clock = Clock::new();
    for round in 0..rounds() {
        // Every third time the target is away as the process dies, and comes back during the next life.
        hook.set_away(round % 3 == 2);
        let mut gw = Gateway::start(&environment(&dir, &hook));
        run_and_kill(&mut gw, round, &mut rng, &mut clock);
    }
    hook.set_away(false);
    let gw = Gateway::start(&environment(&dir, &hook));
    let legs = CALLS * rounds() as usize;
    hook.wait("end of all legs", 90, |events| everything_is_told(events, legs));
    check(&hook.events(), &clock);
    let figures = String::from_utf8(gw.get("/metrics").body).unwrap();
    assert!(figures.contains("voiceblender_webhook_dropped_total 0\n"), "nothing was lost");
    drop(gw);
    std::fs::remove_dir_all(dir).unwrap();
}
