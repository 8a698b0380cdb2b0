//! Cost of a leg-frame by codec, and the savings of shared encoding: the engine alone, without sockets.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant;

use branchline::codec::Codec;
use branchline::codec::coder::{Encoder, MAX_PAYLOAD};
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
use branchline::rtp::packet::header;
use branchline::sdp::{Direction, Negotiated};
use rtrb::RingBuffer;

use crate::median;

const TICKS: u64 = 500;
const BEGIN_NS: u64 = 1_776_330_000_000_000_000;

/// A far end that repeats one second of voice, or sends nothing.
struct Talker {
    voice: Vec<Vec<u8>>,
    codec: Codec,
    from: SocketAddr,
    sent: u64,
}

impl MediaTransport for Talker {
    fn receive(&mut self, batch: &mut Batch) {
        batch.len = 0;
        let Some(payload) = self.voice.get((self.sent % 50) as usize) else { return };
        let Some(item) = batch.items.first_mut() else { return };
        let stamp = self.sent as u32 * (self.codec.clock() / 50);
        let head = header(false, self.codec.payload_type(), self.sent as u16, stamp, 7);
        item.bytes[..12].copy_from_slice(&head);
        item.bytes[12..12 + payload.len()].copy_from_slice(payload);
        (item.len, item.from) = (12 + payload.len(), self.from);
        item.arrival_ns = BEGIN_NS + self.sent * 20_000_000;
        self.sent += 1;
        batch.len = 1;
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

/// One second of a synthetic voice: harmonics of a gliding pitch with varying level.
fn voice(codec: Codec) -> Vec<Vec<u8>> {
    let rate = codec.sample_rate();
    let mut encoder = Encoder::new(codec, &OpusFmtp::default(), 5);
    let mut phase = 0.0f64;
    let one = |f: usize| {
        let n = frame_len(rate);
        let samples: Vec<i16> = (0..n)
            .map(|i| {
                let t = (f * n + i) as f64 / f64::from(rate);
                phase += (120.0 + 40.0 * (t * 3.0).sin()) / f64::from(rate);
                let loud = 3000.0 * (0.6 + 0.4 * (t * 25.0).sin());
                (1..9)
                    .map(|h| loud / f64::from(h) * (phase * std::f64::consts::TAU * f64::from(h)).sin())
                    .sum::<f64>() as i16
            })
            .collect();
        let mut out = vec![0; MAX_PAYLOAD];
        let n = encoder.encode(&samples, &mut out);
        let n = n + encoder.finish(&mut out[n..]);
        out.truncate(n);
        out
    };
    (0..50).map(one).collect()
}

/// The session negotiated with a far end at this address.
pub fn agreed(codec: Codec, at: SocketAddr) -> Negotiated {
    Negotiated {
        codec,
        clock: codec.clock(),
        formats: branchline::sdp::Formats::of(codec, codec.payload_type(), &[101]),
        wishes: OpusFmtp::default(),
        payload_out: codec.payload_type(),
        dtmf: Some(branchline::sdp::Dtmf::new(101, codec.clock())),
        rtp: at,
        rtcp: at,
        rtcp_mux: true,
        ptime: 20,
        direction: Direction::SendRecv,
        srtp: None,
    }
}

/// Seconds for [`TICKS`] ticks with `legs` in a room of `rate` Hz, of which the first `talkers` send voice.
fn run(codec: Codec, rate: u32, legs: u16, talkers: u16, apart: bool) -> f64 {
    let (mut orders, take) = RingBuffer::new(1024);
    let (give, mut reports) = RingBuffer::new(4096);
    let mut engine =
        Engine::new(Sizes { legs: legs.into(), rooms: 1, plays: 1, recordings: 1 }, take, give, 3600);
    if apart {
        engine.encode_apart();
    }
    assert!(orders.push(EngineCommand::OpenRoom(0, Box::new(Room::new(rate)))).is_ok());
    let said = voice(codec);
    for slot in 0..legs {
        let from = SocketAddr::from(([10, 0, 0, 9], 4000 + slot * 2));
        let agreed = agreed(codec, from);
        let voice = if slot < talkers { said.clone() } else { Vec::new() };
        let wire = Talker { voice, codec, from, sent: 0 };
        let own = codec.sample_rate();
        let coders = Box::new(Coders::new(&agreed, own, 5));
        let rtp = RtpEndpoint::new(wire, agreed, coders, None, u32::from(slot));
        let leg = Party::new(Endpoint::Rtp(rtp), false, false);
        assert!(orders.push(EngineCommand::Open(slot, Box::new(leg))).is_ok());
        let converters = Converters { up: Resampler::new(own, rate), down: Resampler::new(rate, own) };
        assert!(orders.push(EngineCommand::Join(slot, 0, Box::new(converters))).is_ok());
    }
    let mut tick = |n: u64| {
        engine.tick(BEGIN_NS + n * 20_000_000);
        while reports.pop().is_ok() {}
    };
    (0..50).for_each(&mut tick);
    let begin = Instant::now();
    (50..50 + TICKS).for_each(&mut tick);
    begin.elapsed().as_secs_f64()
}

/// Cost of a leg-frame of each codec relative to G.711.
pub fn report() {
    const LEGS: u16 = 16;
    let mut base = 0.0;
    for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus] {
        let all = (0..5).map(|_| run(codec, 16_000, LEGS, LEGS, false)).collect();
        let us = median(all) * 1e6 / (TICKS as f64 * f64::from(LEGS));
        if codec == Codec::Pcmu {
            base = us;
        }
        println!(
            "{} a leg-frame in a room where all talk: {us:.2} µs, {:.1} times PCMU",
            codec.name(),
            us / base
        );
    }
    for (legs, talkers) in [(30, 3), (30, 30)] {
        let pairs = (0..5).map(|_| {
            run(Codec::Opus, 48_000, legs, talkers, true) / run(Codec::Opus, 48_000, legs, talkers, false)
        });
        let ratio = median(pairs.collect());
        println!(
            "an Opus room of {legs} with {talkers} talkers, each encoded apart over once for all: {ratio:.1}"
        );
    }
}
