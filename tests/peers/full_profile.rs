//! A board profile filled completely with all features in use, and overloaded, in a memory control group of
//! the announced maximum plus a tenth: excess requests are refused by name, admitted calls lose nothing, and
//! nothing is killed.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::caller::Caller;
use crate::common::{Gateway, Reply, good, of_process, release, until};
use crate::farend::FarEnd;
use crate::hook::Hook;

/// A memory control group of the test, version 1 or 2, if the hierarchy is writable.
struct Group(PathBuf);

impl Group {
    fn new(name: &str, limit: u64) -> Option<Self> {
        let name = format!("branchline-{name}-{}", std::process::id());
        for (root, file) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let dir = PathBuf::from(root).join(&name);
            if fs::create_dir(&dir).is_err() {
                continue;
            }
            let group = Self(dir);
            if fs::write(group.0.join(file), limit.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }

    /// A command that runs in it.
    fn command(&self) -> Command {
        let mut command = Command::new("/bin/sh");
        let join = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
        command.args(["-c", join, self.0.to_str().unwrap(), release()]);
        command
    }

    fn read(&self, names: [&str; 2]) -> Option<u64> {
        names.iter().find_map(|n| fs::read_to_string(self.0.join(n)).ok()?.trim().parse().ok())
    }

    /// Number of OOM kills in it.
    fn kills(&self) -> u64 {
        let text = ["memory.oom_control", "memory.events"]
            .iter()
            .find_map(|n| fs::read_to_string(self.0.join(n)).ok())
            .unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("oom_kill "));
        line.map_or(0, |n| n.trim().parse().unwrap())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The gateway has ended; the group is empty shortly afterwards.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// The gateway's announced maximum memory, bytes.
fn bound(gw: &Gateway) -> u64 {
    gw.get("/v1/capacity").json()["memory"]["bound_bytes"].as_u64().unwrap()
}

fn start(board: &str, prompts: &str, hook: &str, group: Option<&Group>) -> Gateway {
    let dir =
        std::env::temp_dir().join(format!("branchline-full-{}-{}", std::process::id(), group.is_some()));
    fs::create_dir_all(&dir).unwrap();
    let mut command = match group {
        Some(group) => group.command(),
        None => Command::new(release()),
    };
    command.env_clear().args(["--board", board]);
    command.envs([
        ("STATE_DIR", dir.to_str().unwrap()),
        ("HTTP_ADDR", "127.0.0.1:0"),
        ("SIP_PORT", "0"),
        ("PROMPT_DIR", prompts),
        ("WEBHOOK_URL", hook),
    ]);
    Gateway::start_command(command, &dir.clone(), dir)
}

/// A stereo sound at an odd rate, the most expensive to decode and filter.
fn prompt() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("branchline-full-prompts-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 44_100,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(dir.join("music.wav"), spec).unwrap();
    for i in 0..44_100u32 * 20 {
        wav.write_sample(((i * 37) % 8000) as i16 - 4000).unwrap();
    }
    wav.finalize().unwrap();
    dir
}

fn refused(reply: &Reply, limit: &str) {
    assert_eq!((reply.status, reply.header("Retry-After").as_deref()), (503, Some("5")), "{reply:?}");
    assert!(reply.error().contains(limit), "{reply:?}");
}

/// Calls of the gateway to itself, answered: two legs each.
fn fill_with_calls(gw: &Gateway, legs: u64) -> Vec<String> {
    let to = format!("sip:desk@{}", gw.listen["sip"].as_str().unwrap());
    let mut all = Vec::new();
    while (all.len() as u64) < legs {
        let body = json!({"type": "sip", "uri": to, "amd": {}}).to_string();
        let out = good(&gw.post("/v1/legs", &body))["id"].as_str().unwrap().to_owned();
        let state =
            |id: &str| gw.get(&format!("/v1/legs/{id}")).json()["state"].as_str().unwrap_or("").to_owned();
        let came = until("it rings", || {
            let legs = gw.get("/v1/legs").json();
            let new = legs
                .as_array()
                .unwrap()
                .iter()
                .find(|l| l["type"] == "sip_inbound" && l["state"] == "ringing")?;
            Some(new["id"].as_str().unwrap().to_owned())
        });
        good(&gw.post(&format!("/v1/legs/{came}/answer"), "{}"));
        until("it is up", || (state(&out) == "connected" && state(&came) == "connected").then_some(()));
        all.extend([out, came]);
    }
    all
}

#[test]
fn a_profile_too_large_for_the_machine_is_refused_or_warned_about() {
    let Some(group) = Group::new("small", 64 << 20) else { return };
    let check =
        |board: &str| group.command().env_clear().args(["--check", "--board", board]).output().unwrap();
    let refused = check("generic");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(text.contains("this machine has 64 MB; choose a smaller board"), "{text}");
    let warned = check("small");
    let text = String::from_utf8_lossy(&warned.stdout);
    assert_eq!(warned.status.code(), Some(0), "{warned:?}");
    assert!(text.contains("warning: board small: when all its limits are reached"), "{text}");
}

#[test]
fn a_full_board_stays_within_its_memory_bound() {
    let prompts = prompt();
    let hook = Hook::start();
    let stated = bound(&start("small", prompts.to_str().unwrap(), &hook.url, None));
    let group = Group::new("full", stated + stated / 10);
    let mut gw = start("small", prompts.to_str().unwrap(), &hook.url, group.as_ref());
    assert_eq!(bound(&gw), stated);
    // Events are queued.
    hook.set_away(true);
    let sip: SocketAddr = gw.listen["sip"].as_str().unwrap().parse().unwrap();
    let max = |what: &str| gw.get("/v1/capacity").json()[what]["max"].as_u64().unwrap();

    // The last legs are reserved for outgoing calls.
    let mut legs = fill_with_calls(&gw, max("legs") - 4);
    let phones: Vec<FarEnd> = (0..4).map(|_| FarEnd::new(sip)).collect();
    for phone in &phones {
        let leg = good(&gw.post("/v1/legs", &json!({"type": "sip", "uri": phone.uri()}).to_string()));
        let leg = leg["id"].as_str().unwrap().to_owned();
        until("it is up", || {
            (gw.get(&format!("/v1/legs/{leg}")).json()["state"] == "connected").then_some(())
        });
        legs.push(leg);
    }
    let capacity = gw.get("/v1/capacity").json();
    assert_eq!(capacity["opus_legs"]["used"], capacity["opus_legs"]["max"], "{capacity}");
    for n in 0..max("rooms") {
        let rate = [48_000, 16_000, 8000][n as usize % 3];
        good(&gw.post("/v1/rooms", &json!({"id": format!("r{n}"), "sample_rate": rate}).to_string()));
    }
    for (n, leg) in legs.iter().enumerate() {
        let room = n as u64 / 2 % max("rooms");
        good(&gw.post(&format!("/v1/rooms/r{room}/legs"), &json!({"leg_id": leg}).to_string()));
    }
    for leg in legs.iter().take(max("recordings") as usize) {
        good(&gw.post(&format!("/v1/legs/{leg}/record"), "{}"));
    }
    for n in 0..max("playbacks") {
        let body = r#"{"url":"file:music.wav","repeat":-1}"#;
        good(&gw.post(&format!("/v1/rooms/r{}/play", n % max("rooms")), body));
    }

    // Exceeds every limit.
    let to = format!("sip:desk@{}", gw.listen["sip"].as_str().unwrap());
    refused(&gw.post("/v1/legs", &json!({"type": "sip", "uri": to}).to_string()), "limits.legs");
    refused(&gw.post("/v1/rooms", r#"{"id":"more"}"#), "limits.rooms");
    refused(&gw.post("/v1/rooms/r0/play", r#"{"tone":"us_dial"}"#), "limits.playbacks");
    refused(&gw.post("/v1/rooms/r0/record", "{}"), "limits.recordings");
    let answer = Caller::is_refused(&gw, "over-the-limit");
    assert!(answer.starts_with("SIP/2.0 503") && answer.contains("Retry-After: 5"), "{answer}");
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..200 {
        held.extend(TcpStream::connect(sip).ok());
    }
    for _ in 0..100 {
        let Ok(mut slow) = TcpStream::connect(gw.http()) else { continue };
        // A refused connection may be closed while we write.
        drop(slow.write_all(b"GET /v1/legs HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "));
        held.push(slow);
    }

    // Everything at once for a while.
    let ticks = || gw.figure("branchline_media_ticks_total");
    let begun = ticks();
    until("ten seconds of sound", || (ticks() > begun + 500).then_some(()));
    let after = gw.get("/v1/capacity").json();
    let memory = &after["memory"];
    eprintln!("full: {}", serde_json::to_string(memory).unwrap());
    assert_eq!(memory["media_spilled"], 0, "{memory}");
    for what in ["legs", "rooms", "playbacks", "recordings"] {
        assert_eq!(after[what]["used"], after[what]["max"], "{what}: {after}");
    }
    gw.assert_never_stood_still();
    drop(held);

    // Admitted calls have lost nothing.
    for leg in &legs {
        let shown = gw.get(&format!("/v1/legs/{leg}")).json();
        assert_eq!(shown["state"], "connected", "{shown}");
        let done = good(&gw.delete(&format!("/v1/legs/{leg}/record")));
        assert!(done["error"].is_null(), "{done}");
        let file = done["file"].as_str().unwrap();
        let read = hound::WavReader::open(file).unwrap();
        let seconds = f64::from(read.duration()) / f64::from(read.spec().sample_rate);
        assert!(seconds > 9.9, "{file}: {seconds} s");
    }
    let peak = of_process(gw.pid(), "VmHWM:") << 10;
    let peak_of_group = group.as_ref().and_then(|g| g.read(["memory.max_usage_in_bytes", "memory.peak"]));
    eprintln!("full: {stated} bytes stated, {peak} resident at most, {peak_of_group:?} in the group");
    assert!(peak <= stated, "{peak} bytes were resident, {stated} are stated");
    for leg in &legs {
        // Ending the first of a pair ends both.
        let hung_up = gw.delete(&format!("/v1/legs/{leg}"));
        assert!(matches!(hung_up.status, 200 | 404), "{hung_up:?}");
    }
    until("all are gone", || (gw.used()[0] == 0).then_some(()));
    assert_eq!(gw.get("/v1/capacity").json()["memory"]["media_spilled"], 0);
    assert_eq!(group.as_ref().map_or(0, Group::kills), 0, "somebody was killed");
    assert_eq!(gw.stop(), Some(0));
    fs::remove_dir_all(prompts).unwrap();
}
