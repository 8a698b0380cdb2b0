//! Costs of persistence: recordings in CPU time and writes, events in time and memory.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use crate::calls;
use crate::common::Gateway;
use crate::far_end::{CONFIG, Calls, LEGS};
use crate::floor::{measure, seconds};
use crate::hook::Hook;
use crate::{median, resident_kb};

const PAIRS: usize = 3;
/// Channels × bytes of a sample × samples of a second of a recording of a leg in a room.
const BYTES_A_SECOND: usize = 2 * 2 * 16_000;
const SECONDS: u64 = 10;
const QUEUED: u64 = 100_000;

/// Cost of recordings: of legs in rooms and alone, and of rooms; and the cost of writing the same bytes.
pub fn recording() {
    let with_legs = recorded(&Calls::new(LEGS, 2), "legs", BYTES_A_SECOND);
    println!("  of {LEGS} legs in rooms, at 16 kHz and in stereo");
    recorded(&Calls::alone(LEGS), "legs", BYTES_A_SECOND / 2);
    println!("  of {LEGS} legs outside rooms, at 8 kHz and in stereo");
    recorded(&Calls::new(LEGS, 2), "rooms", BYTES_A_SECOND / 4);
    println!("  of {} rooms of 2, at 16 kHz", LEGS / 2);
    let bare = median((0..PAIRS).map(|_| bare()).collect());
    println!(
        "writing and syncing as many bytes and nothing else, from one warm buffer: {bare:.2} µs a leg-frame"
    );
    println!("the threads that record legs in rooms, over that: {:.2}", with_legs / bare);
}

/// Alternating runs of the same calls without and with a recording per leg or room, which has this many bytes
/// per second and leg; CPU time of the recording threads, µs per leg-frame.
fn recorded(calls: &Calls, what: &str, bytes_a_second: usize) -> f64 {
    let pid = calls.gateway.pid();
    let list = calls.gateway.get(&format!("/v1/{what}")).json();
    let list = list[what].as_array().unwrap_or_else(|| list.as_array().expect("a list"));
    let ids: Vec<&str> = list.iter().map(|l| l["id"].as_str().unwrap()).collect();
    let (mut shares, mut ratios, mut own, mut micros) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let without = measure(pid, calls.ports.clone());
        let (written, began) = (written(pid), Instant::now());
        for id in &ids {
            let reply = calls.gateway.post(&format!("/v1/{what}/{id}/record"), "{}");
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        let before = by_recorders(pid);
        let with = measure(pid, calls.ports.clone());
        let after = by_recorders(pid);
        let (recorders, others) = (after.0 - before.0, after.1 - before.1);
        own.push(recorders / others);
        micros.push(with * recorders / (recorders + others));
        stop(&calls.gateway, what, &ids);
        let audio = began.elapsed().as_secs_f64() * bytes_a_second as f64 * f64::from(LEGS);
        println!("  {without:.2} µs a leg-frame, {with:.2} while it is recorded");
        shares.push(with / without);
        ratios.push((self::written(pid) - written) as f64 / audio);
    }
    let micros = median(micros);
    println!("CPU of {LEGS} G.711 legs, recorded, over the same not recorded: {:.2}", median(shares));
    println!("the threads that record, over all others meanwhile: {:.2} ({micros:.2} µs)", median(own));
    println!("bytes written over bytes of recorded sound: {:.3}", median(ratios));
    micros
}

/// Stops all recordings at once, since far ends that send nothing are hung up.
fn stop(gateway: &Gateway, what: &str, ids: &[&str]) {
    // The API accepts 64 connections.
    std::thread::scope(|scope| {
        for some in ids.chunks(ids.len().div_ceil(32)) {
            scope.spawn(move || {
                for id in some {
                    let reply = gateway.delete(&format!("/v1/{what}/{id}/record"));
                    assert_eq!(reply.status, 200, "{reply:?}");
                }
            });
        }
    });
}

/// CPU time for writing the same amount of data in chunks of the same size with the same syncs, µs per
/// leg-frame.
fn bare() -> f64 {
    let dir = std::env::temp_dir().join(format!("branchline-bare-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = |n| std::fs::File::create(dir.join(format!("{n}.wav"))).unwrap();
    let mut files: Vec<_> = (0..LEGS).map(file).collect();
    let header = [7u8; 44];
    files.iter_mut().for_each(|f| f.write_all(&header).unwrap());
    let piece = vec![7u8; BYTES_A_SECOND * 3 / 4];
    let spent = || by_recorders(std::process::id()).0;
    let rounds = seconds() * 4 / 3;
    let spent = std::thread::scope(|scope| {
        let (sync, synced) = std::sync::mpsc::channel::<std::fs::File>();
        let syncer = std::thread::Builder::new().name("recorder-sync".to_owned());
        let bare = std::thread::Builder::new().name("recorder-bare".to_owned());
        let whole_disk = move || synced.iter().for_each(|f| rustix::fs::syncfs(f).unwrap());
        syncer.spawn_scoped(scope, whole_disk).unwrap();
        let write = move || {
            let mut due = Instant::now();
            for round in 0..rounds {
                for f in &mut files {
                    f.write_all(&piece).unwrap();
                    f.write_all_at(&header, 0).unwrap();
                }
                if round % 2 == 0 {
                    sync.send(files[0].try_clone().unwrap()).unwrap();
                }
                due += Duration::from_millis(750);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            // Both threads are here still.
            spent()
        };
        bare.spawn_scoped(scope, write).unwrap().join().unwrap()
    });
    std::fs::remove_dir_all(&dir).unwrap();
    spent * 1e6 / (rounds as f64 * 37.5 * f64::from(LEGS))
}

/// CPU time of the recording threads and of all others, seconds.
fn by_recorders(pid: u32) -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let read = |name: &str| std::fs::read_to_string(task.as_ref().unwrap().path().join(name));
        // A thread may end in between.
        let (Ok(name), Ok(times)) = (read("comm"), read("schedstat")) else { continue };
        let spent = times.split(' ').next().and_then(|t| t.parse::<f64>().ok()).unwrap() / 1e9;
        let sum = if name.starts_with("recorder") { &mut sums.0 } else { &mut sums.1 };
        *sum += spent;
    }
    sums
}

/// Bytes written to files by a process.
fn written(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find_map(|l| l.strip_prefix("wchar: ")).unwrap();
    line.parse().unwrap()
}

fn gateway(webhook: &str) -> Gateway {
    let text =
        format!("{CONFIG}[limits]\nlegs = 1024\n[outbox]\nmax_mb = 512\n[webhook]\nurl = \"{webhook}\"\n");
    Gateway::start_release_with(&text)
}

pub fn events() {
    for targets in [1, 20] {
        let hooks: Vec<Hook> = (0..targets).map(|_| Hook::start()).collect();
        let urls: Vec<String> = hooks.iter().map(|h| h.url.clone()).collect();
        let gateway = gateway("");
        let began = Instant::now();
        let calls = calls::make(&gateway, Duration::from_secs(SECONDS), &urls, u32::MAX);
        let ended = || -> usize {
            let last = |h: &Hook| h.events().iter().filter(|e| e["type"] == "leg.disconnected").count();
            hooks.iter().map(last).sum()
        };
        while ended() < calls as usize {
            assert!(began.elapsed() < Duration::from_secs(300), "{} of {calls} calls were told of", ended());
            std::thread::sleep(Duration::from_millis(100));
        }
        let took = began.elapsed().as_secs_f64();
        let told: usize = hooks.iter().map(|h| h.events().len()).sum();
        println!(
            "events a second delivered to {targets} targets: {:.0} ({told} in {took:.1} s)",
            told as f64 / took
        );
    }
    queued();
}

/// Memory used by events while their target is down.
fn queued() {
    let hook = Hook::counting();
    let gateway = gateway(&hook.url);
    let depth = || gateway.get("/v1/webhooks").json()["webhooks"][0]["queued"].as_u64().unwrap_or(0);
    hook.set_away(true);
    // Many calls leave SIP transactions for 32 s: the maximum is reached before the measurement starts.
    while depth() < QUEUED {
        calls::make(&gateway, Duration::from_secs(1), &[], u32::MAX);
    }
    let (before, already) = (resident_kb(gateway.pid()), depth());
    while depth() < already + QUEUED {
        calls::make(&gateway, Duration::from_secs(1), &[], 500);
    }
    let (after, queued) = (resident_kb(gateway.pid()), depth() - already);
    println!("memory of {queued} queued events: {:.1} MB", after.saturating_sub(before) as f64 / 1024.0);
}
