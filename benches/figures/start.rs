//! Time from exec to the first answer, and memory at idle.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::request;
use crate::{median, resident_kb};

pub fn report() {
    let dir = std::env::temp_dir().join(format!("branchline-bench-{}", std::process::id()));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut times = Vec::new();
    let (mut memory, mut media) = (0, 0);
    for _ in 0..9 {
        let begin = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_branchline"))
            .env_clear()
            .envs([("STATE_DIR", dir.to_str().unwrap()), ("HTTP_ADDR", "127.0.0.1:0"), ("SIP_PORT", "25060")])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut n = 0;
        loop {
            n += 1;
            let ask = format!(
                "OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKb{n}-{}\r\nFrom: <sip:b@x>;tag=1\r\n\
                 To: <sip:x@x>\r\nCall-ID: b{n}\r\nCSeq: {n} OPTIONS\r\nContent-Length: 0\r\n\r\n",
                socket.local_addr().unwrap(),
                child.id()
            );
            // Refused until the gateway listens.
            drop(socket.send_to(ask.as_bytes(), "127.0.0.1:25060"));
            if socket.recv(&mut [0u8; 2048]).is_ok() {
                break;
            }
        }
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
        media = media_kb(&dir);
        memory = resident_kb(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        while socket.recv(&mut [0u8; 2048]).is_ok() {}
    }
    println!("exec to the first OPTIONS answer: {:.1} ms", median(times));
    println!(
        "memory at rest beside the media memory: {:.1} MB; the media memory of the profile: {:.1} MB",
        (memory - media) as f64 / 1024.0,
        media as f64 / 1024.0
    );
    drop(std::fs::remove_dir_all(dir));
}

/// Media memory reserved according to the gateway's log.
fn media_kb(dir: &Path) -> u64 {
    let listen = dir.join("listen.json");
    let at = loop {
        let text = std::fs::read(&listen).ok();
        let parsed = text.and_then(|t| serde_json::from_slice::<serde_json::Value>(&t).ok());
        if let Some(at) = parsed.and_then(|v| v["http"].as_str()?.parse().ok()) {
            break at;
        }
    };
    let capacity = request(at, "GET", "/v1/capacity", "", b"").json();
    let kinds = capacity["memory"]["bound_by_kind"].as_object().unwrap();
    let media = kinds.iter().filter(|(kind, _)| kind.starts_with("media_"));
    media.map(|(_, bytes)| bytes.as_u64().unwrap()).sum::<u64>() / 1024
}
