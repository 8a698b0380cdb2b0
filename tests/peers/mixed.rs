//! Calls of all kinds concurrently, in and out, with rooms, sounds, recordings, hold, transfer, refusals and
//! crashing far ends: at the end, no state of them is left. The gateway runs under the restrictions of the
//! packaged unit.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use branchline::base::rng::Rng;
use branchline::io::outbox::judge::Known;
use branchline::io::outbox::store::Store;
use serde_json::{Value, json};

use crate::common::{Gateway, Reply, of_process, request};
use crate::farend::FarEnd;
use crate::hook::Hook;

/// Number of calls; `make soak` uses 20,000.
fn calls() -> u64 {
    std::env::var("MIXED_CALLS").ok().and_then(|s| s.parse().ok()).unwrap_or(200)
}

/// Concurrent calls, and allowed growth of the process in the second half, kB: pools and caches fill up
/// first.
fn scale() -> (u64, u64) {
    if calls() > 4000 { (32, 2048) } else { (24, 8192) }
}

/// Resources held by the process.
#[derive(Debug, Clone, Copy)]
struct Held {
    resident_kb: u64,
    descriptors: usize,
    threads: u64,
}

fn held(pid: u32) -> Held {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    Held { resident_kb: of_process(pid, "VmRSS:"), descriptors, threads: of_process(pid, "Threads:") }
}

/// Drives calls: over REST, and as the far ends.
struct Driver {
    http: SocketAddr,
    sip: SocketAddr,
    rng: Rng,
    hook: Hook,
    /// Crashed far ends whose ports must not be reused yet.
    crashed: Vec<(Instant, FarEnd)>,
}

fn ok(what: &str, reply: &Reply, wanted: u16) -> Result<Value, String> {
    if reply.status == wanted {
        return Ok(reply.json());
    }
    Err(format!("{what}: {} {}", reply.status, String::from_utf8_lossy(&reply.body)))
}

impl Driver {
    fn ask(&self, method: &str, path: &str, body: &Value) -> Reply {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        request(self.http, method, path, "", text.as_bytes())
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        ok(
            path,
            &self.ask("POST", path, body),
            if path == "/v1/legs" || path == "/v1/rooms" { 201 } else { 200 },
        )
    }

    fn delete(&self, path: &str) -> Result<Value, String> {
        ok(path, &self.ask("DELETE", path, &Value::Null), 200)
    }

    /// A far end calls and is answered; returns its leg.
    fn call_in(&mut self) -> Result<(FarEnd, String), String> {
        let mut far = FarEnd::new(self.sip);
        far.call()?;
        let leg = self.leg_of(&far.user)?;
        self.post(&format!("/v1/legs/{leg}/answer"), &Value::Null)?;
        far.is_answered()?;
        self.until(&leg, |l| l["state"] == "connected")?;
        Ok((far, leg))
    }

    fn leg_of(&self, user: &str) -> Result<String, String> {
        self.hook.leg_of(user, 20).ok_or_else(|| "no event of its ringing".to_owned())
    }

    /// The gateway calls a far end, which answers.
    fn call_out(&mut self) -> Result<(FarEnd, String), String> {
        let far = FarEnd::new(self.sip);
        let made = self.post("/v1/legs", &json!({"type": "sip", "uri": far.uri()}))?;
        let leg = made["id"].as_str().unwrap_or_default().to_owned();
        self.until(&leg, |l| l["state"] == "connected")?;
        Ok((far, leg))
    }

    fn until(&self, leg: &str, good: impl Fn(&Value) -> bool) -> Result<(), String> {
        let mut last = Value::Null;
        for _ in 0..400 {
            last = self.ask("GET", &format!("/v1/legs/{leg}"), &Value::Null).json();
            if good(&last) {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Err(format!("it does not come to be: {last}"))
    }

    fn gone(&self, leg: &str) -> Result<(), String> {
        self.until(leg, |l| l["error"].is_string() || l["state"] == "disconnected")
    }

    /// Runs a call of one kind.
    fn run(&mut self, kind: u32) -> Result<(), String> {
        let at = |leg: &str, what: &str| format!("/v1/legs/{leg}{what}");
        let none = &Value::Null;
        match kind {
            0 => {
                let (far, leg) = self.call_in()?;
                let file =
                    self.post(&at(&leg, "/record"), none)?["file"].as_str().unwrap_or_default().to_owned();
                self.post(&at(&leg, "/play"), &json!({"tone": "us_ringback"}))?;
                far.talk(15);
                self.post(&at(&leg, "/record/pause"), none)?;
                far.talk(5);
                far.hang_up()?;
                self.gone(&leg)?;
                self.delete_recording(&file)
            }
            1 => {
                let (far, leg) = self.call_out()?;
                self.post(&at(&leg, "/dtmf"), &json!({"digits": "123#"}))?;
                self.post(&at(&leg, "/mute"), none)?;
                let file =
                    self.post(&at(&leg, "/record"), none)?["file"].as_str().unwrap_or_default().to_owned();
                far.talk(10);
                self.delete(&at(&leg, "/record"))?;
                self.delete(&at(&leg, ""))?;
                self.delete_recording(&file)
            }
            2 => {
                let (_far, leg) = self.call_out()?;
                self.post(&at(&leg, "/hold"), none)?;
                self.delete(&at(&leg, "/hold"))?;
                self.delete(&at(&leg, "")).map(|_| ())
            }
            3 => self.room(),
            4 => {
                let (_far, leg) = self.call_in()?;
                let to = json!({"target": "sip:somebody@127.0.0.1:9"});
                ok("transfer", &self.ask("POST", &at(&leg, "/transfer"), &to), 202)?;
                self.gone(&leg)
            }
            5 => {
                // The far end crashes: it no longer reads anything.
                let (far, leg) = if self.rng.below(2) == 0 { self.call_in()? } else { self.call_out()? };
                far.dead.store(true, Ordering::SeqCst);
                self.post(&at(&leg, "/play"), &json!({"tone": "de_busy"}))?;
                self.delete(&at(&leg, ""))?;
                self.crashed.push((Instant::now() + Duration::from_secs(40), far));
                Ok(())
            }
            6 => {
                let mut far = FarEnd::new(self.sip);
                far.call()?;
                let leg = self.leg_of(&far.user)?;
                far.cancel()?;
                self.gone(&leg)
            }
            7 => {
                let far = FarEnd::new(self.sip);
                let busy = far.uri().replacen(&far.user, "busy", 1);
                let made = self.post("/v1/legs", &json!({"type": "sip", "uri": busy}))?;
                self.gone(made["id"].as_str().unwrap_or_default())
            }
            _ => {
                let (far, leg) = self.call_in()?;
                self.post(&at(&leg, "/play"), &json!({"url": "file:voice.wav", "repeat": -1}))?;
                self.post(&at(&leg, "/amd"), none)?;
                far.talk(10);
                self.delete(&at(&leg, "")).map(|_| ())
            }
        }
    }

    /// Two legs in a room with playback and multi-channel recording.
    fn room(&mut self) -> Result<(), String> {
        let name = format!("room-{:x}", self.rng.u64());
        self.post("/v1/rooms", &json!({"id": name}))?;
        let (far, a) = self.call_in()?;
        let (_other, b) = self.call_out()?;
        for leg in [&a, &b] {
            self.post(&format!("/v1/rooms/{name}/legs"), &json!({"leg_id": leg}))?;
        }
        self.post(&format!("/v1/rooms/{name}/record"), &json!({"multi_channel": true}))?;
        self.post(&format!("/v1/rooms/{name}/play"), &json!({"tone": "gb_ringback"}))?;
        far.talk(10);
        self.delete(&format!("/v1/rooms/{name}/legs/{b}"))?;
        let ended = self.delete(&format!("/v1/rooms/{name}/record"))?;
        self.delete(&format!("/v1/rooms/{name}"))?;
        self.delete(&format!("/v1/legs/{b}"))?;
        for key in ["file", "multi_channel_file"] {
            self.delete_recording(ended[key].as_str().unwrap_or_default())?;
        }
        Ok(())
    }

    fn delete_recording(&self, file: &str) -> Result<(), String> {
        let at = format!("/v1/recordings/{}", file.rsplit('/').next().unwrap_or_default());
        // It may be about to be finished.
        for _ in 0..100 {
            let reply = self.ask("DELETE", &at, &Value::Null);
            match reply.status {
                200 => return Ok(()),
                409 => std::thread::park_timeout(Duration::from_millis(50)),
                _ => return ok(&at, &reply, 200).map(|_| ()),
            }
        }
        Err(format!("{at}: it is never finished"))
    }
}

/// Runs this many calls; returns the kinds that failed.
fn drive(gw: &Gateway, hook: &Hook, count: u64, seed: u64) -> BTreeMap<String, u64> {
    let next = AtomicU64::new(0);
    let wrong: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    let (http, sip) = (gw.http(), gw.listen["sip"].as_str().unwrap().parse().unwrap());
    std::thread::scope(|scope| {
        for worker in 0..scale().0 {
            let (next, wrong) = (&next, Arc::clone(&wrong));
            scope.spawn(move || {
                let rng = Rng::from_number(seed * 1000 + worker);
                let mut driver = Driver { http, sip, rng, hook: hook.clone(), crashed: Vec::new() };
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    let kind = driver.rng.below(9);
                    if let Err(e) = driver.run(kind) {
                        let what: String = format!("kind {kind}: {e}").chars().take(300).collect();
                        *wrong.lock().unwrap().entry(what).or_default() += 1;
                    }
                    driver.crashed.retain(|(until, _)| Instant::now() < *until);
                }
            });
        }
    });
    wrong.lock().unwrap().clone()
}

/// Waits until the last transactions of crashed far ends have timed out, and the last events are delivered.
fn settle(gw: &Gateway) {
    let until = Instant::now() + Duration::from_secs(60);
    let left = || {
        (
            gw.used().iter().sum::<u64>(),
            gw.figure("branchline_sip_transactions"),
            gw.figure("branchline_webhook_waiting"),
        )
    };
    while left() != (0, 0, 0) {
        assert!(Instant::now() < until, "something is left: {:?} and {:?}", gw.used(), left());
        std::thread::park_timeout(Duration::from_millis(250));
    }
}

/// Tasks and timers, once stable for a second: connections take a moment to close.
fn steady(gw: &Gateway) -> (u64, u64) {
    let mut readings = Vec::new();
    for _ in 0..100 {
        readings.push((gw.figure("branchline_tasks"), gw.figure("branchline_timers")));
        if let Some([first, others @ ..]) = readings.last_chunk::<10>()
            && others.iter().all(|o| o == first)
        {
            return *first;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    panic!("tasks and timers never come to rest: {readings:?}");
}

#[test]
fn calls_of_every_kind_leave_nothing_behind() {
    let dir = std::env::temp_dir().join(format!("branchline-mixed-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    crate::phone::write_voice(&dir.join("voice.wav"), &crate::phone::sweep(300.0, 3000.0));
    let hook = Hook::counting();
    let state = dir.join("state");
    std::fs::create_dir_all(&state).unwrap();
    // As started by the package.
    let gw = Gateway::start_release_confined(
        &state,
        &[("WEBHOOK_URL", &hook.url), ("PROMPT_DIR", dir.to_str().unwrap())],
    );
    let at_rest = steady(&gw);
    // Until threads, caches and pools have reached their final size.
    let wrong = drive(&gw, &hook, calls() / 2, 1);
    assert!(wrong.is_empty(), "{wrong:#?}");
    let start = held(gw.pid());
    let began = Instant::now();
    let steps = 10;
    let mut curve = vec![start];
    for step in 0..steps {
        let wrong = drive(&gw, &hook, calls() / steps, 2 + step);
        assert!(wrong.is_empty(), "{wrong:#?}");
        curve.push(held(gw.pid()));
    }
    let rate = calls() as f64 / began.elapsed().as_secs_f64();
    settle(&gw);
    let middle = curve[curve.len() / 2];
    let after = held(gw.pid());
    curve.push(after);
    println!("{} calls, {rate:.1} a second", calls());
    for h in &curve {
        println!("  {} kB, {} descriptors, {} threads", h.resident_kb, h.descriptors, h.threads);
    }
    assert!(after.resident_kb <= middle.resident_kb + scale().1, "{middle:?} became {after:?}");
    assert_eq!(steady(&gw), at_rest, "tasks and timers");
    assert!(after.descriptors <= start.descriptors + 2, "{start:?} became {after:?}");
    let (begun, ended) = (hook.count("leg.ringing"), hook.count("leg.disconnected"));
    assert!(begun > 0 && ended >= begun, "{begun} legs rang, {ended} ended");
    for none in ["voiceblender_webhook_dropped_total", "branchline_sip_stray_responses_total"] {
        assert_eq!(gw.figure(none), 0, "{none}");
    }
    println!("{} requests refused for overload", gw.figure("branchline_sip_overload_total"));
    assert_eq!(gw.get("/v1/recordings").json()["recordings"], json!([]));
    let files = std::fs::read_dir(state.join("recordings")).unwrap().count();
    assert_eq!(files, 0, "no file is left");
    drop(gw);
    let store = Store::open(&state, Known::default()).unwrap();
    let rows = (
        store.events().unwrap().len(),
        store.legs().unwrap().len(),
        store.recordings(None, 9).unwrap().len(),
    );
    assert_eq!(rows, (0, 0, 0), "no row is left");
    drop(store);
    std::fs::remove_dir_all(dir).unwrap();
}
