//! Multi-channel recordings of rooms: channel and position of each leg, and that channels contain no other
//! leg; also when interrupted by a crash.
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

use std::path::Path;
use std::time::Duration;

use branchline::codec::g711::ulaw_encode;
use branchline::rtp::packet::header;
use caller::Caller;
use common::Gateway;
use hook::Hook;
use serde_json::{Value, json};

/// Frequency of each caller, Hz.
const TONES: [f64; 3] = [500.0, 1100.0, 1900.0];

/// Callers that each send a continuous tone.
struct Choir {
    callers: Vec<Caller>,
    n: u16,
}

impl Choir {
    fn call(gw: &Gateway) -> Self {
        let callers = (0..TONES.len()).map(|n| Caller::call_as(gw, &format!("voice-{n}"))).collect();
        Self { callers, n: 0 }
    }

    fn leg(&self, n: usize) -> &str {
        &self.callers[n].leg
    }

    fn sing(&mut self, ms: u64) {
        for _ in 0..ms / 20 {
            for (c, tone) in self.callers.iter().zip(TONES) {
                let stamp = u32::from(self.n) * 160;
                let mut p = header(false, 0, self.n, stamp, 77).to_vec();
                let at = |k: u32| f64::from(stamp + k) * tone * std::f64::consts::TAU / 8000.0;
                p.extend((0..160).map(|k| ulaw_encode((at(k).sin() * 8000.0) as i16)));
                drop(c.rtp.send_to(&p, c.media));
            }
            self.n += 1;
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn join(&self, gw: &Gateway, n: usize) {
        let body = json!({"leg_id": self.leg(n)}).to_string();
        assert_eq!(gw.post("/v1/rooms/r/legs", &body).status, 200);
    }

    fn leave(&self, gw: &Gateway, n: usize) {
        assert_eq!(gw.delete(&format!("/v1/rooms/r/legs/{}", self.leg(n))).status, 200);
    }
}

/// Amplitude of a tone in some samples.
fn loudness(samples: &[i16], tone: f64, rate: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (k, s) in samples.iter().enumerate() {
        let at = k as f64 * tone * std::f64::consts::TAU / rate;
        re += f64::from(*s) * at.cos();
        im += f64::from(*s) * at.sin();
    }
    2.0 * f64::hypot(re, im) / samples.len() as f64
}

struct Heard {
    channels: Vec<Vec<i16>>,
    rate: f64,
}

impl Heard {
    fn open(file: &str) -> Self {
        let wav = hound::WavReader::open(file).unwrap_or_else(|e| panic!("{file}: {e}"));
        let (n, rate) = (usize::from(wav.spec().channels), f64::from(wav.spec().sample_rate));
        let all: Vec<i16> = wav.into_samples().map(Result::unwrap).collect();
        let channels = (0..n).map(|c| all.iter().skip(c).step_by(n).copied().collect()).collect();
        Self { channels, rate }
    }

    fn ms(&self) -> u64 {
        (self.channels[0].len() as f64 * 1000.0 / self.rate) as u64
    }

    /// Checks that a channel contains only its own tone, or nothing, in a time range, ms.
    fn check(&self, channel: usize, voice: usize, from: u64, to: u64, there: bool) {
        let at = |ms: u64| (ms as f64 * self.rate / 1000.0) as usize;
        let part = &self.channels[channel][at(from)..at(to).min(self.channels[channel].len())];
        for (n, tone) in TONES.into_iter().enumerate() {
            let loud = loudness(part, tone, self.rate);
            if there && n == voice {
                assert!(
                    (6500.0..9000.0).contains(&loud),
                    "channel {channel}, {from} to {to} ms: {loud} of {tone} Hz"
                );
            } else {
                assert!(loud < 200.0, "channel {channel}, {from} to {to} ms: {loud} of {tone} Hz");
            }
        }
    }
}

fn number(of: &Value, leg: &str, key: &str) -> u64 {
    of[leg][key].as_u64().unwrap_or_else(|| panic!("{of}"))
}

#[test]
fn each_leg_has_a_channel_while_it_is_present() {
    let hook = Hook::start();
    let gw = Gateway::start(&[("WEBHOOK_URL", &hook.url)]);
    let mut choir = Choir::call(&gw);
    assert_eq!(gw.post("/v1/rooms", r#"{"id":"r"}"#).status, 201);
    choir.join(&gw, 0);
    choir.join(&gw, 1);
    choir.sing(300);
    let begun = gw.post("/v1/rooms/r/record", r#"{"multi_channel":true}"#);
    assert_eq!(begun.status, 200, "{begun:?}");
    let file = begun.json()["file"].as_str().unwrap().to_owned();
    assert_eq!(gw.get("/v1/capacity").json()["recordings"]["used"], 3, "tracks count");
    choir.sing(500);
    choir.join(&gw, 2);
    choir.sing(500);
    choir.leave(&gw, 1);
    choir.sing(500);
    choir.join(&gw, 1);
    assert_eq!(gw.post(&format!("/v1/legs/{}/mute", choir.leg(0)), "").status, 200);
    choir.sing(500);
    assert_eq!(gw.delete(&format!("/v1/legs/{}/mute", choir.leg(0))).status, 200);
    assert_eq!(gw.delete(&format!("/v1/legs/{}", choir.leg(2))).status, 200);
    choir.sing(200);
    assert_eq!(gw.post("/v1/rooms/r/record/pause", "").status, 200);
    choir.sing(400);
    assert_eq!(gw.post("/v1/rooms/r/record/resume", "").status, 200);
    choir.sing(300);
    let ended = gw.delete("/v1/rooms/r/record");
    assert_eq!(ended.status, 200, "{ended:?}");
    let told = ended.json();
    assert_eq!((&told["file"], &told["status"]), (&json!(file), &json!("stopped")));
    let merged = told["multi_channel_file"].as_str().unwrap();
    let name = merged.rsplit('/').next().unwrap();
    assert!(
        name.contains("_multichannel_") && name.len() == "20261125_120000_multichannel_0badcafe.wav".len()
    );

    let (mix, all) = (Heard::open(&file), Heard::open(merged));
    assert_eq!((mix.channels.len(), all.channels.len(), all.rate), (1, 3, 16_000.0));
    assert!(mix.ms().abs_diff(all.ms()) < 2, "{} and {}", mix.ms(), all.ms());
    let channels = &told["channels"];
    let of = |n: usize, key: &str| number(channels, choir.leg(n), key);
    assert_eq!([of(0, "channel"), of(1, "channel"), of(2, "channel")], [0, 1, 2]);
    assert_eq!([of(0, "start_ms"), of(1, "start_ms")], [0, 0]);
    let near = |a: u64, b: u64| a.abs_diff(b) < 250;
    assert!(near(of(2, "start_ms"), 500) && near(of(2, "end_ms"), 2000), "{channels}");
    assert_eq!((of(0, "end_ms"), of(1, "end_ms")), (all.ms(), all.ms()));
    let (came, left) = (of(2, "start_ms"), of(2, "end_ms"));
    all.check(0, 0, 150, came + 900, true);
    all.check(1, 1, 150, came + 450, true);
    all.check(1, 1, came + 650, came + 900, false);
    all.check(1, 1, left - 250, left, true);
    all.check(2, 2, 0, came - 30, false);
    all.check(2, 2, came + 150, left - 100, true);
    all.check(2, 2, left + 150, all.ms(), false);
    // Muted, as in the room's mix; then silence on all channels while the recording is paused.
    all.check(0, 0, left - 300, left - 50, false);
    let end = all.ms();
    (0..3).for_each(|c| all.check(c, c, end - 600, end - 350, false));
    all.check(0, 0, end - 200, end, true);
    all.check(1, 1, end - 200, end, true);

    hook.wait("recording.finished", 10, |events| events.iter().any(|e| e["type"] == "recording.finished"));
    let events = hook.events();
    let event = events.iter().find(|e| e["type"] == "recording.finished").unwrap();
    assert_eq!((&event["channels"], &event["multi_channel_file"]), (channels, &told["multi_channel_file"]));
    assert_eq!((&event["room_id"], &event["channel_count"]), (&json!("r"), &json!(1)));
    let listed = gw.get("/v1/recordings").json();
    let of = |file: &str| {
        let rows = listed["recordings"].as_array().unwrap();
        rows.iter().find(|r| r["file"] == file).unwrap_or_else(|| panic!("{listed}")).clone()
    };
    assert_eq!((&of(merged)["channels"], &of(merged)["state"]), (&json!(3), &json!("finished")));
    assert_eq!(of(merged)["bytes"].as_u64().unwrap(), std::fs::metadata(merged).unwrap().len());
    // Tracks are deleted when the merged file is safely stored.
    let left = || std::fs::read_dir(Path::new(&file).parent().unwrap()).unwrap().count();
    let until = std::time::Instant::now() + Duration::from_secs(15);
    while left() != 2 {
        assert!(std::time::Instant::now() < until, "tracks are left");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert_eq!(gw.get("/v1/capacity").json()["recordings"]["used"], 0);
}

#[test]
fn legs_without_a_track_are_named_and_the_mix_has_them() {
    let gw = Gateway::start_configured("[limits]\nrecordings = 3\n", &[]);
    let mut choir = Choir::call(&gw);
    assert_eq!(gw.post("/v1/rooms", r#"{"id":"r"}"#).status, 201);
    (0..3).for_each(|n| choir.join(&gw, n));
    assert_eq!(gw.post("/v1/rooms/r/record", r#"{"multi_channel":true}"#).status, 200);
    choir.sing(500);
    // The last leg to leave ends the recording, without a waiting API call.
    (0..3).for_each(|n| choir.leave(&gw, n));
    let mut listed = Value::Null;
    for _ in 0..100 {
        listed = gw.get("/v1/recordings").json();
        if listed["recordings"].as_array().unwrap().len() == 2 {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let rows = listed["recordings"].as_array().unwrap();
    assert!(rows.len() == 2 && rows.iter().any(|r| r["channels"] == 2), "{listed}");
    for leg in 0..2 {
        // For recordings of legs the field has no effect.
        let at = format!("/v1/legs/{}/record", choir.leg(leg));
        assert_eq!(gw.post(&at, r#"{"multi_channel":true}"#).status, 200);
        assert!(gw.delete(&at).json()["multi_channel_file"].is_null());
    }
}

#[test]
fn tracks_left_by_a_crash_are_merged_at_the_next_start() {
    let dir = std::env::temp_dir().join(format!("branchline-tracks-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let hook = Hook::start();
    let env = [("STATE_DIR", dir.to_str().unwrap()), ("WEBHOOK_URL", hook.url.as_str())];
    let mut gw = Gateway::start(&env);
    let mut choir = Choir::call(&gw);
    assert_eq!(gw.post("/v1/rooms", r#"{"id":"r"}"#).status, 201);
    choir.join(&gw, 0);
    choir.join(&gw, 1);
    assert_eq!(gw.post("/v1/rooms/r/record", r#"{"multi_channel":true}"#).status, 200);
    choir.sing(1000);
    choir.join(&gw, 2);
    choir.sing(2600);
    gw.kill();
    let gw = Gateway::start(&env);
    hook.wait("recording.finished", 20, |events| events.iter().any(|e| e["type"] == "recording.finished"));
    let events = hook.events();
    let event = events.iter().find(|e| e["type"] == "recording.finished").unwrap();
    assert_eq!((&event["recovered"], &event["room_id"]), (&json!(true), &json!("r")), "{event}");
    let (mix, all) = (
        Heard::open(event["file"].as_str().unwrap()),
        Heard::open(event["multi_channel_file"].as_str().unwrap_or_else(|| panic!("{event}"))),
    );
    assert!(mix.ms() > 1600 && mix.ms().abs_diff(all.ms()) < 2, "{} and {}", mix.ms(), all.ms());
    let channels = &event["channels"];
    for n in 0..3 {
        assert_eq!(number(channels, choir.leg(n), "channel"), n as u64);
        let (from, to) =
            (number(channels, choir.leg(n), "start_ms"), number(channels, choir.leg(n), "end_ms"));
        assert!(from.abs_diff([0, 0, 1000][n]) < 250 && to + 1000 > mix.ms(), "{channels}");
        all.check(n, n, from + 150, to.min(from + 1400), true);
    }
    let late = number(channels, choir.leg(2), "start_ms");
    all.check(2, 2, 0, late - 30, false);
    let rows = gw.get("/v1/recordings").json()["recordings"].as_array().unwrap().clone();
    assert!(rows.len() == 2 && rows.iter().all(|r| r["state"] == "finished"), "{rows:?}");
    drop(gw);
    std::fs::remove_dir_all(dir).unwrap();
}
