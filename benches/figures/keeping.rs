//! What is kept costs: recordings in CPU time and writes, events in time and memory.

use std::time::{Duration, Instant};

use crate::calls;
use crate::common::Gateway;
use crate::far_end::{CONFIG, Calls, LEGS};
use crate::floor::measure;
use crate::hook::Hook;
use crate::{median, resident_kb};

const PAIRS: usize = 3;
/// Channels × bytes of a sample × samples of a second of a leg's recording.
const BYTES_A_SECOND: f64 = 2.0 * 2.0 * 16_000.0;
const SECONDS: u64 = 10;
const QUEUED: u64 = 100_000;

/// Alternating pairs: the same calls without and with a recording of each.
pub fn recording() {
    let calls = Calls::new(LEGS, 2);
    let pid = calls.gateway.pid();
    let reply = calls.gateway.get("/v1/legs").json();
    let legs: Vec<&str> = reply["legs"]
        .as_array()
        .unwrap_or_else(|| reply.as_array().expect("legs"))
        .iter()
        .map(|l| l["id"].as_str().unwrap())
        .collect();
    let (mut shares, mut ratios, mut own) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let without = measure(pid, calls.ports.clone());
        let (written, began) = (written(pid), Instant::now());
        for id in &legs {
            let reply = calls.gateway.post(&format!("/v1/legs/{id}/record"), "{}");
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        let before = by_recorders(pid);
        let with = measure(pid, calls.ports.clone());
        let after = by_recorders(pid);
        own.push((after.0 - before.0) / (after.1 - before.1));
        // At once: far ends that have fallen silent are hung up on.
        let gateway = &calls.gateway;
        // The API takes 64 connections.
        std::thread::scope(|scope| {
            for some in legs.chunks(legs.len().div_ceil(32)) {
                scope.spawn(move || {
                    for id in some {
                        let reply = gateway.delete(&format!("/v1/legs/{id}/record"));
                        assert_eq!(reply.status, 200, "{reply:?}");
                    }
                });
            }
        });
        let audio = began.elapsed().as_secs_f64() * BYTES_A_SECOND * f64::from(LEGS);
        println!("  {without:.2} µs a leg-frame, {with:.2} while it is recorded");
        shares.push(with / without);
        ratios.push((self::written(pid) - written) as f64 / audio);
    }
    println!("CPU of {LEGS} G.711 legs, each recorded, over the same not recorded: {:.2}", median(shares));
    println!("the threads that record, over all others meanwhile: {:.2}", median(own));
    println!("bytes written over bytes of recorded sound: {:.3}", median(ratios));
}

/// CPU time of the threads that record and of all others, seconds.
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

/// Bytes that a process gave to write to files.
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

/// Memory that events take while their target is away.
fn queued() {
    let hook = Hook::counting();
    let gateway = gateway(&hook.url);
    let depth = || gateway.get("/v1/webhooks").json()["webhooks"][0]["queued"].as_u64().unwrap_or(0);
    hook.set_away(true);
    // So many calls leave SIP transactions behind for half a minute: all there may be are there before the count begins.
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
