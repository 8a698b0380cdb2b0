//! The figures of README's table that concern media and start-up: ratios measured in one run, never
//! absolute speeds that a test would assert. `make bench` prints them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_lossless,
    clippy::too_many_lines,
    unreachable_pub,
    missing_docs,
    reason = "a test may fail loudly"
)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use branchline::codec::Codec;
use branchline::config::Config;
use branchline::dsp::resample::Resampler;
use branchline::io::media_thread::pace;
use branchline::io::recv_batch;
use branchline::io::rtp_ports::{Pair, PortPool};
use branchline::media::engine::{Engine, Sizes};
use branchline::media::leg::Leg;
use branchline::media::order::{Converters, Order};
use branchline::media::room::Room;
use branchline::media::wire::{Batch, Wire};
use branchline::rtp::packet::header;
use branchline::sdp::{Direction, Negotiated};
use rtrb::RingBuffer;

const LEGS: u16 = 200;
const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("subject") => subject(&args[2], args[3].parse().unwrap()),
        _ => report(),
    }
}

fn report() {
    println!("machine: {}", machine());
    println!("mixing per party over copying the same frames: {:.2}", mixing());
    start_up();
    for room in [2, 32] {
        let ratio = over_the_floor(room);
        println!("CPU of {LEGS} G.711 legs in rooms of {room} over an echo on the same sockets: {ratio:.2}");
    }
    latency();
    lateness();
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{} × {cores}", model.unwrap_or("unknown").trim())
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

/// Sum and minus-own for 32 parties at 16 kHz, over copying their frames.
fn mixing() -> f64 {
    let frames: Vec<[i16; 320]> = (0..32).map(|n| [n * 31; 320]).collect();
    let mut outs = vec![[0i16; 320]; 32];
    let mut room = Room::new(16_000);
    let time = |f: &mut dyn FnMut()| {
        let begin = Instant::now();
        for _ in 0..20_000 {
            f();
        }
        begin.elapsed().as_secs_f64()
    };
    let mut ratios = Vec::new();
    for _ in 0..7 {
        let copy = time(&mut || {
            for (f, o) in frames.iter().zip(&mut outs) {
                o.copy_from_slice(black_box(f));
            }
            black_box(&outs);
        });
        let mix = time(&mut || {
            room.clear();
            frames.iter().for_each(|f| room.add(black_box(f)));
            room.settle();
            for (f, o) in frames.iter().zip(&mut outs) {
                room.heard(Some(f), o);
            }
            black_box(&outs);
        });
        ratios.push(mix / copy);
    }
    median(ratios)
}

/// From exec to the first answer to an OPTIONS, and memory at rest.
fn start_up() {
    let dir = std::env::temp_dir().join(format!("branchline-bench-{}", std::process::id()));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut times = Vec::new();
    let mut memory = 0;
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
        memory = resident_kb(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        while socket.recv(&mut [0u8; 2048]).is_ok() {}
    }
    println!("exec to the first OPTIONS answer: {:.1} ms", median(times));
    println!("memory at rest: {:.1} MB", memory as f64 / 1024.0);
    drop(std::fs::remove_dir_all(dir));
}

fn resident_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// CPU time of a process so far, in clock ticks.
fn cpu(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Sends one packet a leg every 20 ms, spread over the 20 ms, and throws away what comes back.
fn generator(ports: Vec<u16>, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let sockets: Vec<UdpSocket> = (0..ports.len())
            .map(|i| {
                let s = UdpSocket::bind((LOCAL, 42_000 + i as u16 * 2)).unwrap();
                s.set_nonblocking(true).unwrap();
                s
            })
            .collect();
        let mut batch = Batch::default();
        let mut due = Instant::now();
        let mut n = 0u16;
        while !stop.load(Ordering::Relaxed) {
            due += Duration::from_millis(20);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            n = n.wrapping_add(1);
            let mut packet = header(false, 0, n, u32::from(n) * 160, 7).to_vec();
            packet.extend((0..160u8).map(|i| i.wrapping_mul(n as u8)));
            for (s, port) in sockets.iter().zip(&ports) {
                drop(s.send_to(&packet, (LOCAL, *port)));
                recv_batch::receive(s, &mut batch, 0);
            }
        }
    })
}

fn start_subject(mode: &str, room: u16) -> (Child, Vec<u16>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["subject", mode, &room.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    (child, line.split_whitespace().map(|p| p.parse().unwrap()).collect())
}

/// Five alternating pairs of 30 s: the engine's CPU time over the echo's.
fn over_the_floor(room: u16) -> f64 {
    let seconds = std::env::var("BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(30);
    let measure = |mode: &str| {
        let (mut child, ports) = start_subject(mode, room);
        let stop = Arc::new(AtomicBool::new(false));
        let generator = generator(ports, Arc::clone(&stop));
        std::thread::sleep(Duration::from_secs(2));
        let before = cpu(child.id());
        std::thread::sleep(Duration::from_secs(seconds));
        let spent = cpu(child.id()) - before;
        let memory = resident_kb(child.id());
        stop.store(true, Ordering::Relaxed);
        generator.join().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        (spent as f64, memory)
    };
    let mut ratios = Vec::new();
    for _ in 0..5 {
        let (engine, memory) = measure("engine");
        let (echo, floor) = measure("echo");
        let per_leg = engine * 10_000.0 / (seconds as f64 * 50.0 * f64::from(LEGS));
        println!(
            "  engine {per_leg:.2} µs a leg-frame, echo {:.2}; memory a leg {:.1} kB",
            per_leg * echo / engine,
            memory.saturating_sub(floor) as f64 / f64::from(LEGS)
        );
        ratios.push(engine / echo);
    }
    median(ratios)
}

fn stream(port: u16) -> Negotiated {
    let at = SocketAddr::new(LOCAL, port);
    Negotiated {
        codec: Codec::Pcmu,
        payload_out: 0,
        payload_in: 0,
        dtmf: None,
        rtp: at,
        rtcp: SocketAddr::new(LOCAL, port + 1),
        rtcp_mux: false,
        ptime: 20,
        direction: Direction::SendRecv,
    }
}

fn pool() -> PortPool {
    let mut rtp = Config::default().rtp;
    (rtp.port_min, rtp.port_max) = (44_000, 46_000);
    PortPool::new(vec![(LOCAL, LOCAL)], &rtp)
}

/// The process that is measured: the engine, or an echo with the same sockets, calls and clock.
fn subject(mode: &str, room: u16) {
    let mut pool = pool();
    let ports: Vec<_> = (0..LEGS).map(|_| pool.bind(LOCAL, LOCAL).unwrap()).collect();
    let names: Vec<String> = ports.iter().map(|p| p.port.to_string()).collect();
    let pairs: Vec<Pair> = ports.iter().map(|p| pool.take(p.id).unwrap()).collect();
    println!("{}", names.join(" "));
    if mode == "echo" { echo(pairs) } else { engine(pairs, room) }
}

fn echo(mut pairs: Vec<Pair>) {
    let mut batch = Batch::default();
    pace(
        || true,
        |_, _| {
            for (i, pair) in pairs.iter_mut().enumerate() {
                pair.receive(&mut batch);
                for d in batch.items.iter().take(batch.len.min(1)) {
                    pair.send(SocketAddr::new(LOCAL, 42_000 + i as u16 * 2), &d.bytes[..d.len]);
                }
            }
        },
    );
}

fn engine(pairs: Vec<Pair>, room: u16) {
    let (mut orders, take) = RingBuffer::new(4096);
    let (give, mut reports) = RingBuffer::new(4096);
    let sizes = Sizes { legs: LEGS.into(), rooms: 128, plays: 1, recordings: 1 };
    let mut engine = Engine::new(sizes, take, give, 3600);
    for (slot, pair) in pairs.into_iter().enumerate() {
        let slot = slot as u16;
        let at = slot / room;
        if slot.is_multiple_of(room) {
            assert!(orders.push(Order::OpenRoom(at, Box::new(Room::new(16_000)))).is_ok());
        }
        let leg = Leg::new(pair, stream(42_000 + slot * 2), None, u32::from(slot) + 1, false, false);
        assert!(orders.push(Order::Open(slot, Box::new(leg))).is_ok());
        let both = Converters { up: Resampler::new(8000, 16_000), down: Resampler::new(16_000, 8000) };
        assert!(orders.push(Order::Join(slot, at, Box::new(both))).is_ok());
    }
    pace(
        || true,
        |unix_ns, _| {
            engine.tick(unix_ns);
            while reports.pop().is_ok() {}
        },
    );
}

/// From a sender's sendto of an impulse to its arrival at the other leg, phase uniform over 20 ms.
fn latency() {
    const PAIRS: u16 = 40;
    let (mut child, ports) = start_subject("engine", 2);
    let sockets: Vec<UdpSocket> = (0..PAIRS * 2)
        .map(|i| {
            let s = UdpSocket::bind((LOCAL, 42_000 + i * 2)).unwrap();
            s.set_nonblocking(true).unwrap();
            s
        })
        .collect();
    // Each pair has a phase of its own within the 20 ms; every 25th packet is an impulse.
    let begin = Instant::now();
    let mut flying: Vec<VecDeque<Instant>> = vec![VecDeque::new(); usize::from(PAIRS)];
    let mut samples = Vec::new();
    let mut count = vec![0u32; usize::from(PAIRS)];
    let mut batch = Batch::default();
    while samples.len() < 1200 && begin.elapsed() < Duration::from_secs(60) {
        for p in 0..usize::from(PAIRS) {
            let due = begin + Duration::from_micros(u64::from(count[p]) * 20_000 + p as u64 * 500);
            if Instant::now() >= due {
                count[p] += 1;
                let impulse = count[p] > 100 && count[p] % 25 == 0;
                let n = count[p] as u16;
                let mut packet = header(false, 0, n, u32::from(n) * 160, 9).to_vec();
                packet.extend([if impulse { 0x80u8 } else { 0xff }; 160]);
                sockets[p * 2].send_to(&packet, (LOCAL, ports[p * 2])).unwrap();
                if impulse {
                    flying[p].push_back(Instant::now());
                }
                let mut quiet = header(false, 0, n, u32::from(n) * 160, 8).to_vec();
                quiet.extend([0xffu8; 160]);
                sockets[p * 2 + 1].send_to(&quiet, (LOCAL, ports[p * 2 + 1])).unwrap();
            }
            recv_batch::receive(&sockets[p * 2 + 1], &mut batch, 0);
            let loud =
                |d: &&branchline::media::wire::Datagram| d.bytes[12..d.len].iter().any(|b| (b & 0x7f) < 0x20);
            if batch.items.iter().take(batch.len).any(|d| loud(&d)) {
                if let Some(at) = flying[p].pop_front() {
                    samples.push(at.elapsed().as_secs_f64() * 1000.0);
                }
                flying[p].clear();
            }
            recv_batch::receive(&sockets[p * 2], &mut batch, 0);
        }
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize];
    println!(
        "leg to leg, {} impulses: p50 {:.1} ms, p95 {:.1} ms, max {:.1} ms",
        samples.len(),
        at(0.5),
        at(0.95),
        at(1.0)
    );
}

/// How late ticks begin, beside a bare sleeping loop in the same run, without and with SCHED_FIFO.
fn lateness() {
    for fifo in [false, true] {
        let loops: Vec<_> = ["ticks with 200 legs", "bare loop"]
            .into_iter()
            .map(|name| {
                std::thread::spawn(move || {
                    if fifo && !recv_batch::real_time(10) {
                        return format!("{name}: SCHED_FIFO is not allowed here");
                    }
                    let mut late: Vec<i64> = Vec::with_capacity(600);
                    let count = std::cell::Cell::new(0);
                    let mut work = busy(name == "bare loop");
                    pace(
                        || count.get() < 500,
                        |unix_ns, behind| {
                            count.set(count.get() + 1);
                            late.push(behind);
                            work(unix_ns);
                        },
                    );
                    late.sort_unstable();
                    let us = |share: f64| late[((late.len() - 1) as f64 * share) as usize] / 1000;
                    format!("{name}: p50 {} µs, p99.9 {} µs", us(0.5), us(0.999))
                })
            })
            .collect();
        for l in loops {
            println!("lateness {}: {}", if fifo { "with SCHED_FIFO" } else { "without" }, l.join().unwrap());
        }
    }
}

struct Silent;

impl Wire for Silent {
    fn receive(&mut self, batch: &mut Batch) {
        batch.len = 0;
    }
    fn receive_rtcp(&mut self, batch: &mut Batch) {
        batch.len = 0;
    }
    fn send(&mut self, _to: SocketAddr, bytes: &[u8]) {
        black_box(bytes);
    }
    fn send_rtcp(&mut self, _to: SocketAddr, bytes: &[u8]) {
        black_box(bytes);
    }
}

fn busy(bare: bool) -> Box<dyn FnMut(u64)> {
    if bare {
        return Box::new(|_| {});
    }
    let (mut orders, take) = RingBuffer::new(1024);
    let (give, mut reports) = RingBuffer::new(4096);
    let sizes = Sizes { legs: LEGS.into(), rooms: 1, plays: 1, recordings: 1 };
    let mut engine = Engine::new(sizes, take, give, 3600);
    for slot in 0..LEGS {
        let leg = Leg::new(Silent, stream(42_000 + slot * 2), None, u32::from(slot), false, false);
        assert!(orders.push(Order::Open(slot, Box::new(leg))).is_ok());
    }
    Box::new(move |unix_ns| {
        engine.tick(unix_ns);
        while reports.pop().is_ok() {}
    })
}
