//! Controls `phone.py` and other helper processes, and creates and compares voices.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::space::Space;

/// The phone script used by most tests.
const BARESIP: &str = "tests/peers/phone.py";

/// A helper process controlled by lines on its standard input and output.
pub struct Lines {
    pub child: Child,
    input: ChildStdin,
    output: Receiver<String>,
}

pub fn python() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    assert!(path.exists(), "the peers are not installed: run `make test`, or `scripts/install.sh test`");
    path
}

pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

impl Lines {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (give, output) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if give.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, input, output }
    }

    pub fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
        self.input.flush().unwrap();
    }

    /// Waits for the next line for which `wanted` returns a value.
    pub fn wait<T>(&self, what: &str, seconds: u64, wanted: impl Fn(&str) -> Option<T>) -> T {
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut seen = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = match self.output.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => panic!("no {what} in {seconds} s; heard {seen:#?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("ended before {what}; heard {seen:#?}"),
            };
            if let Some(found) = wanted(&line) {
                return found;
            }
            seen.push(line);
        }
    }

    /// The next JSON line whose `key` is `value`.
    pub fn json(&self, key: &str, value: &str, seconds: u64) -> Value {
        self.wait(value, seconds, |line| {
            let v: Value = serde_json::from_str(line).ok()?;
            (v[key] == value).then_some(v)
        })
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A real phone.
pub struct Phone {
    pub lines: Lines,
    /// One second of its voice.
    pub voice: Vec<i16>,
    heard: PathBuf,
}

impl Phone {
    /// A phone whose voice differs from those of the other ports of the same ten.
    pub fn with_voice(dir: &Path, port: u16, parameters: &[&str]) -> Self {
        Self::of_user(dir, port, "user", parameters)
    }

    fn voice(dir: &Path, port: u16) -> (Vec<i16>, PathBuf) {
        let low = 300.0 + 300.0 * f64::from(port / 2 % 5) * 2.0;
        let voice = sweep(low, low + 400.0);
        let file = dir.join(format!("voice-{port}.wav"));
        write_voice(&file, &voice);
        (voice, file)
    }

    /// The same, of this user.
    pub fn of_user(dir: &Path, port: u16, user: &str, parameters: &[&str]) -> Self {
        let (voice, file) = Self::voice(dir, port);
        Self { voice, ..Self::with_parameters(dir, port, &file, user, parameters) }
    }

    pub fn start(dir: &Path, port: u16, voice: &Path, user: &str) -> Self {
        Self::with_parameters(dir, port, voice, user, &[])
    }

    /// A phone that knows one codec only.
    pub fn with_codec(dir: &Path, port: u16, voice: &Path, codec: &str) -> Self {
        Self::with_parameters(
            dir,
            port,
            voice,
            "user",
            &[&format!("set:codec={codec}"), "config:opus_bitrate 64000", "config:opus_application audio"],
        )
    }

    /// A phone in another network namespace.
    pub fn in_space(space: &Space, ip: &str, dir: &Path, port: u16, user: &str, parameters: &[&str]) -> Self {
        let (voice, file) = Self::voice(dir, port);
        let mut command = space.command(python());
        command.env("PHONE_IP", ip);
        Self { voice, ..Self::run(command, BARESIP, dir, port, &file, user, parameters) }
    }

    /// A pjsua phone, with the parameters of `pjsua_phone.py`.
    pub fn pjsua(dir: &Path, port: u16, user: &str, parameters: &[&str]) -> Self {
        let (voice, file) = Self::voice(dir, port);
        let script = "tests/peers/pjsua_phone.py";
        Self { voice, ..Self::run(Command::new(python()), script, dir, port, &file, user, parameters) }
    }

    /// A linphone phone, controlled by linphonec commands and without sound card: it plays its voice after
    /// `play`, and records what it hears after `record`.
    pub fn linphone(dir: &Path, port: u16, more: &str) -> Self {
        let voice = sweep(300.0, 900.0);
        let home = dir.join(format!("linphone-{port}"));
        std::fs::create_dir_all(home.join(".local/share/linphone")).unwrap();
        write_voice(&home.join("voice.wav"), &voice.repeat(60));
        let settings = format!(
            "[sip]\nauto_net_state_mon=0\nbind_address=127.0.0.1\nsip_port={port}\nsip_tcp_port=0\nsip_tls_port=0\n\
             guess_hostname=0\ncontact=\"Lin\" <sip:lin@127.0.0.1>\nuse_ipv6=0\nipv6_migration_done=1\n{more}\n\
             [rtp]\naudio_rtp_port={}\n[audio_codec_0]\nmime=PCMU\nrate=8000\nenabled=1\n\
             [video]\ncapture=0\ndisplay=0\nautomatically_initiate=0\nautomatically_accept=0\n",
            port + 2
        );
        std::fs::write(home.join("rc"), settings).unwrap();
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "linphonec", "-d", "0", "-c", "rc"]).current_dir(&home).env("HOME", &home);
        let mut lines = Lines::start(command.stderr(Stdio::null()));
        lines.say("soundcard use files");
        lines.wait("ready", 20, |l| l.contains("wav files instead of soundcard").then_some(()));
        Self { lines, voice, heard: home.join("heard.wav") }
    }

    /// Waits for an output line that contains this.
    pub fn reads(&self, text: &str) {
        self.lines.wait(text, 20, |l| l.contains(text).then_some(()));
    }

    /// A phone with additional account parameters.
    fn with_parameters(dir: &Path, port: u16, voice: &Path, user: &str, parameters: &[&str]) -> Self {
        Self::run(Command::new(python()), BARESIP, dir, port, voice, user, parameters)
    }

    fn run(
        mut command: Command,
        program: &str,
        dir: &Path,
        port: u16,
        voice: &Path,
        user: &str,
        parameters: &[&str],
    ) -> Self {
        let heard = dir.join(format!("heard-{port}.raw"));
        command.arg(script(program)).arg(port.to_string()).arg(voice).arg(&heard).arg(user);
        command.args(parameters);
        let lines = Lines::start(command.stderr(Stdio::null()));
        lines.json("is", "ready", 20);
        Self { lines, heard, voice: Vec::new() }
    }

    pub fn say(&mut self, line: &str) {
        self.lines.say(line);
    }

    /// Sends a command and waits for its confirmation.
    pub fn order(&mut self, line: &str) {
        self.say(line);
        let verb = line.split(' ').next().unwrap();
        let outcome = self.lines.wait(line, 20, |l| {
            let v: Value = serde_json::from_str(l).ok()?;
            (v["verb"] == verb).then_some(v)
        });
        assert_eq!(outcome["is"], "done", "{outcome}");
    }

    pub fn wait(&self, what: &str) -> Value {
        self.lines.json("is", what, 20)
    }

    /// Everything heard so far.
    pub fn heard(&self) -> Vec<i16> {
        let bytes = std::fs::read(&self.heard).unwrap();
        bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
    }

    /// Waits until `seconds` more have been heard.
    pub fn hear(&self, seconds: f64) -> Vec<i16> {
        self.hear_at(seconds, 8000.0)
    }

    /// The same of a phone whose codec has another sampling rate, Hz.
    pub fn hear_at(&self, seconds: f64, rate: f64) -> Vec<i16> {
        let before = self.heard().len();
        let more = (seconds * rate) as usize;
        let until = Instant::now() + Duration::from_secs_f64(seconds + 10.0);
        while self.heard().len() < before + more {
            assert!(Instant::now() < until, "the phone does not hear anything");
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(50));
        }
        self.heard()[before..].to_vec()
    }

    /// Asserts that another phone is heard. In the first seconds of a call, growth of the jitter buffer may spoil a
    /// window, and so may a machine that other tests keep busy; what is lost and late is counted by the tests of quality.
    pub fn hears(&self, other: &Self) {
        self.hear(0.25);
        let mut found = Vec::new();
        for _ in 0..4 {
            found.push(correlation(&self.hear(1.5), &other.voice));
            if found.last().is_some_and(|c| *c > 0.9) {
                return;
            }
        }
        panic!("correlations {found:.3?}");
    }
}

/// One second of a voice: a frequency sweep up and down that repeats without a discontinuity.
pub fn sweep(low: f64, high: f64) -> Vec<i16> {
    let mut phase = 0.0f64;
    let at = |i: usize| {
        let t = i as f64 / 8000.0;
        let up = if t < 0.5 { t * 2.0 } else { 2.0 - t * 2.0 };
        phase += (low + (high - low) * up) / 8000.0;
        (8000.0 * (phase * std::f64::consts::TAU).sin()) as i16
    };
    (0..8000).map(at).collect()
}

/// Two minutes of a voice as a WAV file.
pub fn write_voice(path: &Path, second: &[i16]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut w = hound::WavWriter::create(path, spec).unwrap();
    for _ in 0..120 {
        second.iter().for_each(|s| w.write_sample(*s).unwrap());
    }
    w.finalize().unwrap();
}

/// The best normalised correlation of any half second of `heard` with any position of a repeating voice: at
/// adjustments of the jitter buffer the correlation is low.
pub fn correlation(heard: &[i16], voice: &[i16]) -> f64 {
    let mut best = 0.0f64;
    for window in heard.chunks_exact(4000) {
        best = best.max(alike(window, voice));
        // A better match is not possible.
        if best > 0.98 {
            break;
        }
    }
    best
}

fn alike(window: &[i16], voice: &[i16]) -> f64 {
    let mine: Vec<f64> = window.iter().map(|s| f64::from(*s)).collect();
    let theirs: Vec<f64> =
        voice.iter().cycle().take(voice.len() + window.len()).map(|s| f64::from(*s)).collect();
    let loudness = mine.iter().map(|s| s * s).sum::<f64>().sqrt().max(1.0);
    // Relative to the corresponding part of their voice.
    let mut energy: f64 = theirs[..mine.len()].iter().map(|s| s * s).sum();
    let mut best = 0.0f64;
    for lag in 0..voice.len() {
        let dot: f64 = mine.iter().zip(&theirs[lag..]).map(|(a, b)| a * b).sum();
        best = best.max((dot / (loudness * energy.max(1.0).sqrt())).abs());
        energy += theirs[lag + mine.len()].powi(2) - theirs[lag].powi(2);
    }
    best
}

pub fn rms(x: &[i16]) -> f64 {
    (x.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / x.len().max(1) as f64).sqrt()
}
