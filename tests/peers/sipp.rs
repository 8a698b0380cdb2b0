//! SIPp: one call by a scenario, and many callers with audio (`uac.xml`).

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::phone::script;

pub fn quietly(command: &mut Command) -> Child {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.expect("the peers are installed by `make test`")
}

/// sipp with a scenario, for one call.
pub fn sipp(port: u16, scenario: &str, more: &[&str]) -> Child {
    sipp_file(port, &script(&format!("tests/peers/{scenario}.xml")), more)
}

/// The same with a scenario of its own.
pub fn sipp_file(port: u16, file: &Path, more: &[&str]) -> Child {
    let mut command = Command::new("sipp");
    command.arg("-sf").arg(file).args(["-i", "127.0.0.1", "-p", &port.to_string(), "-m", "1", "-nostdin"]);
    quietly(command.args(["-timeout", "40", "-timeout_error"]).args(more))
}

/// The audio played by `uac.xml`.
pub fn voice(dir: &Path) {
    let bytes: Vec<u8> = (0..8000u32).map(|i| (i * 37 % 251) as u8).collect();
    std::fs::write(dir.join("voice.ul"), bytes).unwrap();
}

/// This many calls of ten seconds, `rate` new ones a second, at most `limit` concurrently; audio in both
/// directions. All of them must end as in the scenario.
pub fn calls(dir: &Path, sip: &str, calls: u64, rate: u64, limit: u64) {
    let mut sipp = Command::new("sipp");
    sipp.args(["-sf", script("tests/peers/uac.xml").to_str().unwrap(), sip, "-i", "127.0.0.1", "-nostdin"]);
    sipp.args(["-m", &calls.to_string(), "-r", &rate.to_string(), "-l", &limit.to_string()]);
    // All streams in one thread: SIPp counts the threads of its streams without a lock, and if two of them
    // end simultaneously it waits forever for one.
    sipp.args(["-rtp_threadtasks", &(limit + 1).to_string(), "-trace_err"]);
    let mut sipp = sipp
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("sipp is installed by `make test`");
    let mut screen = String::new();
    sipp.stdout.take().unwrap().read_to_string(&mut screen).unwrap();
    let status = sipp.wait().unwrap();
    let tail = screen.lines().rev().take(40).collect::<Vec<_>>();
    assert!(status.success(), "sipp: {status}\n{tail:#?}");
}
