//! The README's commands with three real phones: `make run`, the five-minute tour literally, and the
//! resulting audio, events and recording.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::phone::{Lines, Phone, correlation, python, rms, script, sweep, write_voice};

/// The shell blocks of the tour, in order.
fn blocks() -> Vec<String> {
    let readme = std::fs::read_to_string(script("README.md")).unwrap();
    let tour = readme.split("## A first call in five minutes").nth(1).unwrap().split("\n## ").next().unwrap();
    tour.split("```sh\n").skip(1).map(|b| b.split("```").next().unwrap().to_owned()).collect()
}

/// The shell in which the commands are typed.
struct Terminal(Lines);

impl Terminal {
    fn open() -> Self {
        Self(Lines::start(Command::new("sh").current_dir(env!("CARGO_MANIFEST_DIR"))))
    }

    /// Types a block; returns its output, one JSON value per line.
    fn run(&mut self, block: &str) -> Vec<Value> {
        self.0.say(&format!("{block}\necho END-OF-BLOCK"));
        let mut out = Vec::new();
        let collected = std::cell::RefCell::new(&mut out);
        self.0.wait("end of the block", 60, |line| {
            if line == "END-OF-BLOCK" {
                return Some(());
            }
            collected.borrow_mut().push(serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
            None
        });
        out
    }
}

struct Group(Lines);

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self.0.child.id();
        drop(Command::new("kill").args(["-TERM", "--", &format!("-{pid}")]).status());
    }
}

fn gateway() -> Group {
    let mut command = Command::new("make");
    command.arg("run").current_dir(env!("CARGO_MANIFEST_DIR")).env("WEBHOOK_URL", "http://127.0.0.1:9000/");
    command.env("LOG_LEVEL", "warn").process_group(0);
    // Cargo's environment variables for tests would make some build scripts run again, and everything
    // rebuild.
    for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("CARGO_") && n != "CARGO_HOME") {
        command.env_remove(name);
    }
    let group = Group(Lines::start(&mut command));
    let hint = group.0.wait("first curl to try", 900, |l| l.strip_prefix("Try:").map(str::to_owned));
    assert!(hint.contains("curl http://127.0.0.1:8080/health"), "{hint}");
    group
}

fn event(events: &Lines, kind: &str) -> Value {
    events.json("type", kind, 20)
}

fn loud(x: &[i16]) -> bool {
    rms(x) > 3000.0
}

#[test]
fn the_tour_of_the_readme() {
    let dir = std::env::temp_dir().join(format!("branchline-tour-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let voices = [sweep(300.0, 1000.0), sweep(1300.0, 2000.0), sweep(2300.0, 3000.0)];
    let files: Vec<_> = (0..3).map(|i| dir.join(format!("voice{i}.wav"))).collect();
    files.iter().zip(&voices).for_each(|(f, v)| write_voice(f, v));
    let events = Lines::start(Command::new(python()).arg(script("scripts/events.py")).arg("9000"));
    let gateway = gateway();
    let steps = blocks();
    assert_eq!(steps.len(), 6, "the tour has six blocks");
    let mut a = Phone::start(&dir, 5560, &files[0], "alice");
    let mut b = Phone::start(&dir, 5562, &files[1], "bob");
    let mut c = Phone::start(&dir, 5566, &files[2], "carol");
    let mut terminal = Terminal::open();

    // Both call and ring.
    a.say("dial sip:tour@127.0.0.1:5060");
    let leg_a = event(&events, "leg.ringing")["leg_id"].as_str().unwrap().to_owned();
    b.say("dial sip:tour@127.0.0.1:5060");
    let leg_b = event(&events, "leg.ringing")["leg_id"].as_str().unwrap().to_owned();
    let listed = terminal.run(&steps[0]);
    assert_eq!(listed[0].as_array().unwrap().len(), 2);

    // Answered and in a room: each hears the other and not itself.
    let said = terminal.run(&steps[1]);
    let statuses: Vec<&str> = said.iter().map(|v| v["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["answering", "answering", "added", "added"]);
    a.wait("established");
    b.wait("established");
    a.hear(1.0);
    for (phone, other, own) in [(&a, &voices[1], &voices[0]), (&b, &voices[0], &voices[1])] {
        let heard = phone.hear(1.5);
        let (hears, itself) = (correlation(&heard, other), correlation(&heard, own));
        println!("correlation with the other {hears:.3}, with itself {itself:.4}");
        assert!(hears >= 0.9 && itself <= 0.01);
    }

    // Keys reach the other phone and the web server.
    a.say("digits 59#");
    for want in ["5", "9", "#"] {
        let e = event(&events, "leg.dtmf");
        assert_eq!((e["digit"].as_str().unwrap(), e["leg_id"].as_str().unwrap()), (want, leg_a.as_str()));
        assert_eq!(b.wait("digit")["digit"], want);
    }

    // The recording: left A's voice, right what it hears, the pause silent and in its place.
    let said = terminal.run(&steps[2]);
    let file = said[0]["file"].as_str().unwrap().to_owned();
    assert_eq!(said.last().unwrap()["status"], "stopped");
    check_recording(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file).as_path(), &voices);
    assert_eq!(event(&events, "recording.finished")["file"], file.as_str());

    // Muted: B hears nothing of A, and then again.
    let before = b.heard().len();
    terminal.run(&steps[3]);
    let after = b.heard().len();
    let muted = &b.heard()[before + 4000..after - 6000];
    assert!(muted.len() > 8000 && rms(muted) < 20.0, "{} samples at {}", muted.len(), rms(muted));
    assert!(loud(&b.hear(1.0)[4000..]));

    third_phone(&mut terminal, &steps[4], &events, &mut c, &b, &voices);

    // Hung up: the phones are notified, the events are complete.
    terminal.run(&steps[5]);
    a.wait("ended");
    b.wait("ended");
    let mut ended: Vec<String> = Vec::new();
    for _ in 0..2 {
        let e = event(&events, "leg.disconnected");
        assert_eq!(e["cdr"]["reason"], "api_hangup");
        assert!(e["quality"]["mos_score"].as_f64().unwrap() > 4.0, "{e}");
        ended.push(e["leg_id"].as_str().unwrap().to_owned());
    }
    // Ordered per leg; events of different legs may overtake each other.
    let mut both = [leg_a, leg_b];
    ended.sort();
    both.sort();
    assert_eq!(ended, both);
    drop(gateway);
    std::fs::remove_dir_all(dir).unwrap();
}

fn check_recording(file: &Path, voices: &[Vec<i16>]) {
    let mut reader = hound::WavReader::open(file).unwrap();
    let spec = reader.spec();
    assert_eq!((spec.channels, spec.sample_rate), (2, 16_000), "in a room of 16 kHz");
    let all: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    // Every second frame: 16 kHz down to the phones' 8.
    let left: Vec<i16> = all.iter().step_by(4).copied().collect();
    let right: Vec<i16> = all.iter().skip(1).step_by(4).copied().collect();
    let seconds = left.len() as f64 / 8000.0;
    assert!((7.9..9.5).contains(&seconds), "3 + 2 + 3 seconds: {seconds}");
    // Before the pause: its edges are discontinuities with a broad spectrum.
    let (a, b) = (&left[8000..20_000], &right[8000..20_000]);
    let found = [(a, 0), (a, 1), (b, 1), (b, 0)].map(|(side, voice)| correlation(side, &voices[voice]));
    assert!(found[0] > 0.9 && found[1] < 0.02 && found[2] > 0.9 && found[3] < 0.02, "{found:?}");
    let silent: Vec<usize> = (0..left.len() / 800)
        .filter(|i| {
            left[i * 800..(i + 1) * 800].iter().chain(&right[i * 800..(i + 1) * 800]).all(|s| *s == 0)
        })
        .collect();
    let (first, last) = (silent[0] as f64 / 10.0, silent[silent.len() - 1] as f64 / 10.0);
    assert!((2.8..3.6).contains(&first) && (4.7..5.6).contains(&last), "the pause: {first} to {last}");
    assert!(silent.len() >= 18 && silent.len() <= 22, "two seconds of silence: {}", silent.len());
}

/// Called by the gateway, in the room, on remote hold, resumed, and hung up by itself.
fn third_phone(
    terminal: &mut Terminal,
    block: &str,
    events: &Lines,
    c: &mut Phone,
    b: &Phone,
    voices: &[Vec<i16>],
) {
    let said = terminal.run(block);
    assert_eq!(
        (said[0]["type"].as_str(), said[0]["state"].as_str()),
        (Some("sip_outbound"), Some("ringing"))
    );
    let leg = said[0]["id"].as_str().unwrap().to_owned();
    c.wait("incoming");
    c.say("answer");
    c.wait("established");
    assert_eq!(event(events, "leg.joined_room")["leg_id"], leg.as_str());
    b.hear(1.0);
    assert!(loud(&c.hear(1.0)[4000..]), "the third phone hears the room");
    c.say("hold");
    let held = event(events, "leg.hold");
    assert_eq!(held["leg_id"], leg.as_str());
    b.hear(1.0);
    let without = b.hear(1.0);
    assert!(correlation(&without, &voices[2]) < 0.05, "a held phone is not heard");
    c.say("resume");
    assert_eq!(event(events, "leg.unhold")["leg_id"], leg.as_str());
    c.say("hangup");
    let gone = event(events, "leg.disconnected");
    assert_eq!(
        (gone["leg_id"].as_str().unwrap(), gone["cdr"]["reason"].as_str().unwrap()),
        (leg.as_str(), "remote_bye")
    );
}
