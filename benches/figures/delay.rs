//! Audio delay from leg to leg by codec and network jitter: in virtual time, at all phases of the 20 ms tick.
//! Includes the look-ahead of the codecs.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use branchline::base::rng::Rng;
use branchline::codec::Codec;
use branchline::codec::coder::{Decoder, Encoder, MAX_PAYLOAD};
use branchline::codec::opus::OpusFmtp;
use branchline::dsp::frame_len;
use branchline::dsp::resample::Resampler;
use branchline::media::converters::Converters;
use branchline::media::endpoint::Endpoint;
use branchline::media::engine::{Engine, Sizes};
use branchline::media::messages::EngineCommand;
use branchline::media::party::Party;
use branchline::media::room::Room;
use branchline::media::rtp_endpoint::coders::Coders;
use branchline::media::rtp_endpoint::endpoint::RtpEndpoint;
use branchline::media::rtp_endpoint::transport::{Batch, MediaTransport};
use branchline::rtp::packet::{Packet, header};
use rtrb::RingBuffer;

use crate::codecs::agreed;
use crate::percentile;

const BEGIN_NS: u64 = 1_776_330_000_000_000_000;
const ROOM: u32 = 16_000;
/// Packets between two bursts.
const EVERY: u64 = 40;
const PACKETS: u64 = 1600;

/// A far end in virtual time: packets on their way to us, and packets received in this tick.
#[derive(Default)]
struct Far {
    coming: VecDeque<(u64, Vec<u8>)>,
    got: Vec<Vec<u8>>,
    now_ns: u64,
}

struct FarWire(Rc<RefCell<Far>>, SocketAddr);

impl MediaTransport for FarWire {
    fn receive(&mut self, batch: &mut Batch) {
        let mut far = self.0.borrow_mut();
        batch.len = 0;
        while far.coming.front().is_some_and(|(at, _)| *at <= far.now_ns) && batch.len < batch.items.len() {
            let (at, bytes) = far.coming.pop_front().unwrap();
            let item = &mut batch.items[batch.len];
            item.bytes[..bytes.len()].copy_from_slice(&bytes);
            (item.len, item.from, item.arrival_ns) = (bytes.len(), self.1, at);
            batch.len += 1;
        }
    }
    fn receive_rtcp(&mut self, batch: &mut Batch) {
        batch.len = 0;
    }
    fn send(&mut self, _to: SocketAddr, bytes: &[u8]) {
        self.0.borrow_mut().got.push(bytes.to_vec());
    }
    fn send_rtcp(&mut self, _to: SocketAddr, _bytes: &[u8]) {}
}

/// Packets with a burst of 40 ms every [`EVERY`], and when each is sent, ns.
fn packets(
    codec: Codec,
    phase_ns: u64,
    jitter_ms: u32,
    rng: &mut Rng,
) -> (VecDeque<(u64, Vec<u8>)>, Vec<u64>) {
    let mut encoder = Encoder::new(codec, &OpusFmtp::default(), 5);
    let (n, rate) = (frame_len(codec.sample_rate()), f64::from(codec.sample_rate()));
    let (mut out, mut bursts) = (Vec::new(), Vec::new());
    for k in 0..PACKETS {
        let loud = k > 100 && k % EVERY < 2;
        let at = BEGIN_NS + phase_ns + k * 20_000_000;
        if loud && k % EVERY == 0 {
            bursts.push(at);
        }
        let tone = |i: usize| {
            if loud {
                (12_000.0 * (std::f64::consts::TAU * 1000.0 * i as f64 / rate).sin()) as i16
            } else {
                0
            }
        };
        let samples: Vec<i16> = (0..n).map(tone).collect();
        let mut payload = vec![0; MAX_PAYLOAD];
        let len = encoder.encode(&samples, &mut payload);
        let len = len + encoder.finish(&mut payload[len..]);
        let head = header(false, codec.payload_type(), k as u16, k as u32 * (codec.clock() / 50), 7);
        let late = u64::from(rng.below(jitter_ms * 1000 + 1)) * 1000;
        out.push((at + late, [&head[..], &payload[..len]].concat()));
    }
    out.sort_by_key(|(at, _)| *at);
    (out.into(), bursts)
}

fn leg(codec: Codec, far: &Rc<RefCell<Far>>, slot: u16) -> Box<Party<FarWire>> {
    let at = SocketAddr::from(([10, 0, 0, 9], 4000 + slot * 2));
    let agreed = agreed(codec, at);
    let coders = Box::new(Coders::new(&agreed, codec.sample_rate(), 5));
    let rtp = RtpEndpoint::new(FarWire(Rc::clone(far), at), agreed, coders, None, u32::from(slot) + 1);
    Box::new(Party::new(Endpoint::Rtp(rtp), false, false))
}

/// Delays of the bursts of one run, ms.
fn run(codec: Codec, phase_ns: u64, jitter_ms: u32) -> Vec<f64> {
    let mut rng = Rng::from_number(phase_ns + u64::from(jitter_ms));
    let (mut orders, take) = RingBuffer::new(64);
    let (give, mut reports) = RingBuffer::new(64);
    let mut engine = Engine::new(Sizes { legs: 2, rooms: 1, plays: 1, recordings: 1 }, take, give, 3600);
    let (speaker, listener) = (Rc::new(RefCell::new(Far::default())), Rc::new(RefCell::new(Far::default())));
    let (coming, bursts) = packets(codec, phase_ns, jitter_ms, &mut rng);
    speaker.borrow_mut().coming = coming;
    assert!(orders.push(EngineCommand::OpenRoom(0, Box::new(Room::new(ROOM)))).is_ok());
    let rate = codec.sample_rate();
    for (slot, far) in [(0, &speaker), (1, &listener)] {
        assert!(orders.push(EngineCommand::Open(slot, leg(codec, far, slot))).is_ok());
        let c = Converters { up: Resampler::new(rate, ROOM), down: Resampler::new(ROOM, rate) };
        assert!(orders.push(EngineCommand::Join(slot, 0, Box::new(c))).is_ok());
    }
    let mut decoder = Decoder::new(codec);
    let (mut delays, mut quiet, mut bursts) = (Vec::new(), 0, bursts.into_iter().peekable());
    for tick in 1..PACKETS + 20 {
        let now = BEGIN_NS + tick * 20_000_000;
        speaker.borrow_mut().now_ns = now;
        engine.tick(now);
        while reports.pop().is_ok() {}
        for bytes in std::mem::take(&mut listener.borrow_mut().got) {
            let Some(p) = Packet::parse(&bytes).ok().filter(|p| p.payload_type == codec.payload_type())
            else {
                continue;
            };
            let mut out = [0i16; 5760];
            let n = decoder.decode(p.payload, &mut out);
            let onset = out[..n].iter().position(|s| s.unsigned_abs() > 2500);
            if let (Some(at), true) = (onset, quiet > 10) {
                let heard_ns = now + at as u64 * 1_000_000_000 / u64::from(rate);
                while bursts.peek().is_some_and(|b| *b + 400_000_000 < heard_ns) {
                    bursts.next();
                }
                delays.extend(bursts.next().map(|b| heard_ns.saturating_sub(b) as f64 / 1e6));
            }
            quiet = if onset.is_some() { 0 } else { quiet + 1 };
        }
    }
    delays
}

pub fn report() {
    for codec in [Codec::Pcmu, Codec::G722, Codec::Opus] {
        for jitter_ms in [0, 20, 60] {
            let mut all: Vec<f64> = (0..20).flat_map(|p| run(codec, p * 1_000_000 + 1, jitter_ms)).collect();
            println!(
                "leg to leg in {} with {jitter_ms} ms of jitter, {} bursts: p50 {:.0} ms, p95 {:.0} ms",
                codec.name(),
                all.len(),
                percentile(&mut all, 0.5),
                percentile(&mut all, 0.95)
            );
        }
    }
}
