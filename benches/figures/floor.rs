//! CPU time, memory and system calls of a gateway with 200 legs, relative to an echo server on the same kind
//! of sockets with the same clock and system calls.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use branchline::config::Config;
use branchline::io::media::media_thread::pace;
use branchline::io::media::rtp_ports::{Pair, PortPool};
use branchline::media::rtp_endpoint::transport::{Batch, MediaTransport as _};

use crate::far_end::{Calls, Generator, LEGS, LOCAL, gateway, media_port};
use crate::{median, resident_kb};

const PAIRS: usize = 5;

pub fn report() {
    let idle = resident_kb(gateway().pid());
    for room in [2, 32] {
        over_the_floor(room, idle);
    }
    system_calls();
}

/// Length of a measurement, s.
pub fn seconds() -> u64 {
    std::env::var("BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(30)
}

/// CPU time of all threads of a process so far, ns.
fn cpu(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let time = |path: std::path::PathBuf| {
        let stat = std::fs::read_to_string(path).unwrap();
        stat.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    threads.map(|t| time(t.unwrap().path().join("schedstat"))).sum()
}

/// CPU time that a process spends on a leg-frame, µs.
pub fn measure(pid: u32, ports: Vec<u16>) -> f64 {
    let _generator = Generator::start(ports);
    std::thread::sleep(Duration::from_secs(2));
    let before = cpu(pid);
    std::thread::sleep(Duration::from_secs(seconds()));
    (cpu(pid) - before) as f64 / 1000.0 / (seconds() as f64 * 50.0 * f64::from(LEGS))
}

/// Alternating runs: the whole gateway, then the echo server.
fn over_the_floor(room: u16, idle_kb: u64) {
    let mut ratios = Vec::new();
    for _ in 0..PAIRS {
        let calls = Calls::new(LEGS, room);
        let pid = calls.gateway.pid();
        let gateway = measure(pid, calls.ports.clone());
        let memory = resident_kb(pid);
        drop(calls);
        let echo = Echo::start();
        let floor = measure(echo.child.id(), echo.ports.clone());
        println!(
            "  gateway {gateway:.2} µs a leg-frame, echo {floor:.2}; memory a leg beside the media memory {:.1} kB",
            memory.saturating_sub(idle_kb) as f64 / f64::from(LEGS)
        );
        ratios.push(gateway / floor);
    }
    println!(
        "CPU of {LEGS} G.711 legs in rooms of {room} over an echo on the same sockets: {:.2} ({PAIRS} pairs of {} s)",
        median(ratios),
        seconds()
    );
}

/// Calls of the kernel for each leg-frame, as strace counts them.
fn system_calls() {
    let calls = Calls::new(LEGS, 2);
    let _generator = Generator::start(calls.ports.clone());
    std::thread::sleep(Duration::from_secs(2));
    // Counted over a known number of ticks: those whose sleep ended while strace was attached.
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-U", "calls,name", "-p", &calls.gateway.pid().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace is installed by `make bench`");
    std::thread::sleep(Duration::from_secs(10));
    let interrupt = Command::new("kill").args(["-INT", &strace.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let mut table = String::new();
    strace.stderr.as_mut().unwrap().read_to_string(&mut table).unwrap();
    strace.wait().unwrap();
    let count = |name: &str| -> f64 {
        let row = table.lines().find(|l| l.split_whitespace().nth(1) == Some(name));
        row.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
    };
    let leg_frames = count("clock_nanosleep") * f64::from(LEGS);
    println!(
        "system calls of the process for a leg-frame: {:.2} (receiving {:.2}, sending {:.2})",
        count("total") / leg_frames,
        count("recvmmsg") / leg_frames,
        count("sendto") / leg_frames
    );
}

/// An echo server process of this program.
struct Echo {
    child: Child,
    ports: Vec<u16>,
}

impl Echo {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("echo")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { child, ports: line.split_whitespace().map(|p| p.parse().unwrap()).collect() }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Main function of the [`Echo`] process.
pub fn echo() {
    let mut rtp = Config::default().rtp;
    (rtp.port_min, rtp.port_max) = (24_000, 26_000);
    let mut pool = PortPool::new(vec![(LOCAL, LOCAL)], &rtp);
    let ports: Vec<_> = (0..LEGS).map(|_| pool.bind(LOCAL, LOCAL).unwrap()).collect();
    let mut pairs: Vec<Pair> = ports.iter().map(|p| pool.take(p.id).unwrap()).collect();
    println!("{}", ports.iter().map(|p| p.port.to_string()).collect::<Vec<_>>().join(" "));
    let mut batch = Batch::default();
    pace(
        || true,
        |_, _| {
            for (n, pair) in pairs.iter_mut().enumerate() {
                pair.receive(&mut batch);
                let to = SocketAddr::new(LOCAL, media_port(n as u16));
                for d in batch.items.iter().take(batch.len.min(1)) {
                    pair.send(to, &d.bytes[..d.len]);
                }
            }
        },
    );
}
