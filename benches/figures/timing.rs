//! Latency of audio from leg to leg, and lateness of ticks.

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use branchline::codec::Codec;
use branchline::codec::opus::OpusFmtp;
use branchline::io::media::media_thread::pace;
use branchline::io::media::recv_batch;
use branchline::media::endpoint::Endpoint;
use branchline::media::engine::{Engine, Sizes};
use branchline::media::messages::EngineCommand;
use branchline::media::party::Party;
use branchline::media::rtp_endpoint::coders::Coders;
use branchline::media::rtp_endpoint::endpoint::RtpEndpoint;
use branchline::media::rtp_endpoint::transport::{Batch, MediaTransport};
use branchline::rtp::packet::header;
use branchline::sdp::{Direction, Negotiated};
use rtrb::RingBuffer;

use crate::far_end::{Calls, LEGS, LOCAL, media_port, media_sockets};
use crate::percentile;

/// From a sender's sendto of an impulse to its arrival at the other leg, phase uniform over 20 ms.
pub fn latency() {
    const PAIRS: u16 = 40;
    let calls = Calls::new(PAIRS * 2, 2);
    let ports = &calls.ports;
    let sockets = media_sockets(PAIRS * 2);
    // Each pair has its own phase within the 20 ms; every 25th packet is an impulse.
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
            let loud = |d: &&branchline::media::rtp_endpoint::transport::Datagram| {
                d.bytes[12..d.len].iter().any(|b| (b & 0x7f) < 0x20)
            };
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
    println!(
        "leg to leg, {} impulses: p50 {:.1} ms, p95 {:.1} ms, max {:.1} ms",
        samples.len(),
        percentile(&mut samples, 0.5),
        percentile(&mut samples, 0.95),
        percentile(&mut samples, 1.0)
    );
}

/// Lateness of ticks, compared with a bare sleeping loop in the same run, without and with SCHED_FIFO.
pub fn lateness() {
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
                    let mut us: Vec<f64> = late.into_iter().map(|ns| ns as f64 / 1000.0).collect();
                    let (p50, p99_9) = (percentile(&mut us, 0.5), percentile(&mut us, 0.999));
                    format!("{name}: p50 {p50:.0} µs, p99.9 {p99_9:.0} µs")
                })
            })
            .collect();
        for l in loops {
            println!("lateness {}: {}", if fifo { "with SCHED_FIFO" } else { "without" }, l.join().unwrap());
        }
    }
}

struct Silent;

impl MediaTransport for Silent {
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
        let agreed = stream(media_port(slot));
        let coders = Box::new(Coders::new(&agreed, 8000, 5));
        let rtp = RtpEndpoint::new(Silent, agreed, coders, None, u32::from(slot));
        let leg = Party::new(Endpoint::Rtp(rtp), false, false);
        assert!(orders.push(EngineCommand::Open(slot, Box::new(leg))).is_ok());
    }
    Box::new(move |unix_ns| {
        engine.tick(unix_ns);
        while reports.pop().is_ok() {}
    })
}

fn stream(port: u16) -> Negotiated {
    let at = SocketAddr::new(LOCAL, port);
    Negotiated {
        codec: Codec::Pcmu,
        clock: 8000,
        formats: branchline::sdp::Formats::of(Codec::Pcmu, 0, &[]),
        wishes: OpusFmtp::default(),
        payload_out: 0,
        dtmf: None,
        rtp: at,
        rtcp: SocketAddr::new(LOCAL, port + 1),
        rtcp_mux: false,
        ptime: 20,
        direction: Direction::SendRecv,
        srtp: None,
    }
}
