//! The gateway for ARM, 64 and 32 bits, on this machine under QEMU user emulation, with real calls. `make
//! test-arm` builds it first.
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

#[path = "../common/caller.rs"]
mod caller;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/hook.rs"]
mod hook;
mod phone;
#[allow(dead_code, reason = "only its calls are needed here")]
#[path = "../peers/sipp.rs"]
mod sipp;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use caller::udp;
use common::{Gateway, good, until};
use hook::Hook;

/// An emulated machine.
struct Machine {
    name: &'static str,
    triple: &'static str,
    emulator: &'static str,
    libraries: &'static str,
    strip: &'static str,
}

const ARM64: Machine = Machine {
    name: "arm64",
    triple: "aarch64-unknown-linux-gnu",
    emulator: "qemu-aarch64-static",
    libraries: "/usr/aarch64-linux-gnu",
    strip: "aarch64-linux-gnu-strip",
};
const ARMV7: Machine = Machine {
    name: "armv7",
    triple: "armv7-unknown-linux-gnueabihf",
    emulator: "qemu-arm-static",
    libraries: "/usr/arm-linux-gnueabihf",
    strip: "arm-linux-gnueabihf-strip",
};

/// Maximum size of the stripped program, bytes.
const MOST_BYTES: u64 = 11_400_000;

impl Machine {
    fn program(&self) -> PathBuf {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("target")
            .join(self.triple)
            .join("release/branchline");
        assert!(path.exists(), "no build for {}: run `make test-arm`", self.name);
        path
    }

    /// Starts it with the library `preload`, in its own directory, which is kept.
    fn start(&self, what: &str, preload: Option<&Path>, hook: &str) -> Gateway {
        let dir =
            std::env::temp_dir().join(format!("branchline-arm-{}-{}-{what}", std::process::id(), self.name));
        fs::create_dir_all(&dir).unwrap();
        let mut command = Command::new(self.emulator);
        command.env_clear().args(["-L", self.libraries]);
        if let Some(preload) = preload {
            command.arg("-E").arg(format!("LD_PRELOAD={}", preload.display()));
        }
        command.arg(self.program()).args(["--config", "/dev/null", "--board", "small"]);
        command.envs([("HTTP_ADDR", "127.0.0.1:0"), ("SIP_PORT", "0"), ("WEBHOOK_URL", hook)]);
        command.env("STATE_DIR", &dir);
        Gateway::start_command(command, &dir.clone(), dir)
    }
}

fn answers_options(gw: &Gateway) {
    let socket = udp("127.0.0.1");
    let (at, to) = (socket.local_addr().unwrap(), gw.listen["sip"].as_str().unwrap());
    let ask = format!(
        "OPTIONS sip:x@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKoptions\r\nMax-Forwards: 70\r\n\
         From: <sip:t@{at}>;tag=1\r\nTo: <sip:x@{to}>\r\nCall-ID: options\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    socket.send_to(ask.as_bytes(), to).unwrap();
    let mut answer = [0u8; 2048];
    let n = socket.recv(&mut answer).unwrap();
    assert!(answer[..n].starts_with(b"SIP/2.0 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer[..n]));
}

/// Share of non-silent samples of a channel.
fn heard(file: &str, channel: usize) -> f64 {
    let mut wav = hound::WavReader::open(file).unwrap();
    let samples: Vec<i16> = wav.samples().map(Result::unwrap).skip(channel).step_by(2).collect();
    let loud = samples.iter().filter(|s| s.unsigned_abs() > 200).count();
    loud as f64 / samples.len() as f64
}

/// A ten-second SIPp call with audio in both directions, answered and recorded; returns the recording's file.
fn recorded_call(gw: &Gateway) -> String {
    let dir = gw.dir().join("voice");
    fs::create_dir_all(&dir).unwrap();
    sipp::voice(&dir);
    let sip = gw.listen["sip"].as_str().unwrap().to_owned();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| sipp::calls(&dir, &sip, 1, 1, 1));
        let leg = until("a call", || {
            let legs = gw.get("/v1/legs").json();
            let ringing = legs.as_array()?.iter().find(|l| l["state"] == "ringing")?;
            Some(ringing["id"].as_str().unwrap().to_owned())
        });
        good(&gw.post(&format!("/v1/legs/{leg}/answer"), ""));
        until("it is up", || {
            (gw.get(&format!("/v1/legs/{leg}")).json()["state"] == "connected").then_some(())
        });
        let file = good(&gw.post(&format!("/v1/legs/{leg}/record"), ""))["file"].as_str().unwrap().to_owned();
        good(&gw.post(&format!("/v1/legs/{leg}/play"), r#"{"tone":"us_dial","repeat":-1}"#));
        call.join().unwrap();
        until("it is over", || (gw.used() == [0, 0, 0, 0, 0]).then_some(()));
        file
    })
}

/// Tests common to both machines.
fn works(machine: &Machine) {
    let program = machine.program();
    let stripped = std::env::temp_dir().join(format!("branchline-{}-{}", machine.name, std::process::id()));
    let done = Command::new(machine.strip).arg("-o").arg(&stripped).arg(&program).status().unwrap();
    assert!(done.success());
    let size = fs::metadata(&stripped).unwrap().len();
    fs::remove_file(stripped).unwrap();
    println!("{}: {size} bytes stripped", machine.name);
    assert!(size <= MOST_BYTES, "{size} bytes, {MOST_BYTES} are allowed");

    let mut gw = machine.start("works", None, "");
    answers_options(&gw);
    let file = recorded_call(&gw);
    for channel in [0, 1] {
        let share = heard(&file, channel);
        assert!(share > 0.8, "{file}: {share:.2} of channel {channel} is heard");
    }
    let test = good(&gw.post("/v1/self-test", ""));
    println!("{}: {test}", machine.name);
    assert_eq!(test["passed"], true, "{test}");
    assert_eq!(gw.get("/v1/capacity").json()["memory"]["media_spilled"], 0);
    assert_eq!(gw.stop(), Some(0));
}

#[test]
fn arm64_takes_and_records_a_call() {
    works(&ARM64);
}

#[test]
fn armv7_takes_and_records_a_call() {
    works(&ARMV7);
}

/// A library that sets the wall clock to the year 2040.
fn future() -> PathBuf {
    let built = std::env::temp_dir().join(format!("branchline-future-{}.so", std::process::id()));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/arm/future.c");
    let done = Command::new("arm-linux-gnueabihf-gcc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&built)
        .arg(source)
        .status();
    assert!(done.unwrap().success());
    built
}

#[test]
fn armv7_knows_the_year_2040_and_files_of_three_gigabytes() {
    let (hook, future) = (Hook::start(), future());
    let gw = ARMV7.start("2040", Some(&future), &hook.url);
    let file = recorded_call(&gw);
    hook.wait("the end of the call", 30, |all| all.iter().any(|e| e["type"] == "leg.disconnected"));
    for event in hook.events() {
        assert!(event["timestamp"].as_str().unwrap().starts_with("2040-"), "{event}");
    }
    let kept = gw.get("/v1/recordings").json()["recordings"][0].clone();
    assert!(kept["started_at"].as_str().unwrap().starts_with("2040-"), "{kept}");
    assert!(Path::new(&file).file_name().unwrap().to_str().unwrap().starts_with("2040"), "{file}");

    // Size of four hours of stereo at 48 kHz: more than 31 bits of bytes.
    const BYTES: u64 = 3_000_000_044;
    let sparse = fs::OpenOptions::new().write(true).open(&file).unwrap();
    sparse.set_len(BYTES).unwrap();
    use std::os::unix::fs::FileExt as _;
    sparse.write_all_at(b"the end of it", BYTES - 13).unwrap();
    let id = kept["id"].as_str().unwrap();
    let last = gw.request(
        "GET",
        &format!("/v1/recordings/{id}/file"),
        &format!("Range: bytes={}-\r\n", BYTES - 13),
        b"",
    );
    assert_eq!((last.status, last.body.as_slice()), (206, &b"the end of it"[..]), "{last:?}");
    assert_eq!(
        last.header("Content-Range").as_deref(),
        Some(format!("bytes {}-{}/{BYTES}", BYTES - 13, BYTES - 1).as_str())
    );
    assert_eq!(gw.delete(&format!("/v1/recordings/{id}")).status, 200);
    assert!(!Path::new(&file).exists());
    fs::remove_file(future).unwrap();
}
