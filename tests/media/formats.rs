//! Several codecs in a stream: each packet's payload type selects its decoder, at any time during a call.

use std::sync::Arc;

use branchline::codec::Codec;
use branchline::codec::coder::Encoder;
use branchline::codec::opus::OpusFmtp;
use branchline::media::command::{AudioTarget, MediaEvent, Quality};
use branchline::media::messages::EngineCommand;
use branchline::media::record::{Recording, Shared};
use branchline::media::rtp_endpoint::coders::Coders;
use branchline::media::rtp_endpoint::renegotiation::Renegotiation;
use branchline::media::rtp_endpoint::sender::Digits;
use branchline::rtp::packet::{Packet, header};
use branchline::rtp::telephone_event::{Event, code_of};
use branchline::sdp::{Dtmf, Formats, Meaning, Negotiated};

use crate::wire::{Bench, Far, FarWire, Phone, at, level_at, stream_of};

/// A leg, a recording of its input, and a far end with any codec.
struct Call {
    b: Bench<FarWire>,
    p: Phone,
    rx: rtrb::Consumer<i16>,
    rate: u32,
    encoder: Option<(Codec, Encoder)>,
    phase: f64,
}

/// Parameters of a far end's stream.
#[derive(Clone, Copy)]
struct Manner {
    codec: Codec,
    payload_type: u8,
    /// Timestamp units in 20 ms.
    step: u32,
}

fn manner(codec: Codec, payload_type: u8) -> Manner {
    Manner { codec, payload_type, step: codec.clock() / 50 }
}

impl Call {
    fn of(stream: Negotiated) -> Self {
        let (mut b, p) = (Bench::new(), Phone::new(4000, 0.0));
        b.order(EngineCommand::Open(0, p.leg(stream)));
        let (tx, rx) = rtrb::RingBuffer::new(2 * 960 * 1000);
        b.order(EngineCommand::Record(
            0,
            Box::new(Recording::new(AudioTarget::Leg(0), tx, Arc::new(Shared::default()))),
        ));
        Self { b, p, rx, rate: stream.codec.sample_rate(), encoder: None, phase: 0.0 }
    }

    /// Sends a tone for this many ticks.
    fn say(&mut self, how: Manner, freq: f64, ticks: u32) {
        for _ in 0..ticks {
            self.tone(how, freq);
            self.b.tick();
        }
    }

    fn tone(&mut self, how: Manner, freq: f64) {
        let rate = how.codec.sample_rate();
        let frame: Vec<i16> = (0..rate / 50)
            .map(|_| {
                self.phase = (self.phase + freq / f64::from(rate)).fract();
                (8000.0 * (self.phase * std::f64::consts::TAU).sin()) as i16
            })
            .collect();
        if self.encoder.as_ref().is_none_or(|(codec, _)| *codec != how.codec) {
            self.encoder = Some((how.codec, Encoder::new(how.codec, &OpusFmtp::default(), 5)));
        }
        let encoder = &mut self.encoder.as_mut().unwrap().1;
        let mut payload = [0; 480];
        let len = encoder.encode(&frame, &mut payload);
        let len = len + encoder.finish(&mut payload[len..]);
        self.put(how.payload_type, &payload[..len]);
        self.p.timestamp = self.p.timestamp.wrapping_add(how.step);
    }

    fn put(&mut self, payload_type: u8, payload: &[u8]) {
        let mut v = header(false, payload_type, self.p.sequence, self.p.timestamp, self.p.ssrc).to_vec();
        v.extend(payload);
        self.p.sequence = self.p.sequence.wrapping_add(1);
        let mut far = self.p.far.0.borrow_mut();
        far.now_ns = self.b.now_ns;
        far.inbox.push((at(4000), v));
    }

    /// Input of the leg since the last call.
    fn heard(&mut self) -> Vec<i16> {
        let n = self.rate as usize / 50;
        let all: Vec<i16> = std::iter::from_fn(|| self.rx.pop().ok()).collect();
        all.chunks_exact(2 * n).flat_map(|f| f[..n].to_vec()).collect()
    }

    /// Amplitude of a tone in the last part of the input.
    fn level(&mut self, freq: f64, ms: u32) -> f64 {
        let heard = self.heard();
        level_at(&heard[heard.len() - (self.rate / 1000 * ms) as usize..], freq, f64::from(self.rate))
    }

    fn quality(&mut self) -> Quality {
        self.b.order(EngineCommand::Quality(0));
        self.b.tick();
        let found = self.b.facts.iter().rev().find_map(|f| match f {
            MediaEvent::Quality { quality, .. } => Some(*quality),
            _ => None,
        });
        found.unwrap()
    }
}

/// A session that sends `first` and may receive all of these.
fn agreed(first: Codec, all: &[Codec]) -> Negotiated {
    let one = stream_of(first, 4000);
    let mut formats = one.formats;
    all.iter().for_each(|c| formats.add(c.payload_type(), Meaning::Audio(*c)));
    Negotiated { formats, ..one }
}

#[test]
fn a_far_end_may_alternate_between_all_codecs_of_the_answer() {
    for first in Codec::ALL {
        let mut call = Call::of(agreed(*first, Codec::ALL));
        let turns =
            [Codec::Pcma, Codec::G722, Codec::Opus, Codec::Pcmu, Codec::Opus, Codec::G722, Codec::Pcma];
        for (n, codec) in turns.into_iter().enumerate() {
            let freq = 500.0 + 150.0 * n as f64;
            call.say(manner(codec, codec.payload_type()), freq, 50);
            let level = call.level(freq, 500);
            assert!(level > 6800.0, "{first:?}, turn {n}, {codec:?}: {level}");
        }
        let q = call.quality();
        assert_eq!((q.received, q.lost, q.late), (350, 0, 0), "{first:?}");
        assert!(q.concealed < 12, "{first:?}: {} frames made up", q.concealed);
    }
}

#[test]
fn the_second_codec_may_be_received_first() {
    for (first, second) in
        [(Codec::Pcmu, Codec::Pcma), (Codec::Opus, Codec::Pcmu), (Codec::Pcma, Codec::G722)]
    {
        let mut call = Call::of(agreed(first, &[first, second]));
        call.say(manner(second, second.payload_type()), 700.0, 60);
        let level = call.level(700.0, 500);
        assert!(level > 7000.0, "{second:?} beside {first:?}: {level}");
        // We still send the first.
        let far = call.p.far.0.borrow();
        let sent = Packet::parse(&far.sent.last().unwrap().bytes).unwrap().payload_type;
        assert_eq!(sent, first.payload_type());
    }
}

#[test]
fn codecs_not_negotiated_are_not_played() {
    let mut call = Call::of(agreed(Codec::Pcmu, &[Codec::Pcmu, Codec::G722]));
    call.say(manner(Codec::Pcmu, 0), 500.0, 50);
    for strange in [8, 18, 111, 97] {
        call.say(manner(Codec::Pcma, strange), 700.0, 40);
        let heard = call.heard();
        let end = &heard[heard.len() - 1600..];
        assert!(end.iter().all(|s| *s == 0), "payload type {strange}");
    }
    call.say(manner(Codec::Pcmu, 0), 500.0, 50);
    assert!(call.level(500.0, 500) > 7000.0, "the call goes on");
}

#[test]
fn one_codec_may_use_the_payload_types_of_both_ends() {
    let mut stream = agreed(Codec::Opus, &[Codec::Opus]);
    stream.formats.add(96, Meaning::Audio(Codec::Opus));
    stream.formats.add(97, Meaning::Audio(Codec::Pcma));
    let mut call = Call::of(stream);
    for (n, how) in
        [manner(Codec::Opus, 96), manner(Codec::Opus, 111), manner(Codec::Pcma, 97)].into_iter().enumerate()
    {
        let freq = 600.0 + 200.0 * n as f64;
        call.say(how, freq, 50);
        let level = call.level(freq, 500);
        assert!(level > 6800.0, "{}: {level}", how.payload_type);
    }
}

#[test]
fn renegotiation_changes_the_decoders() {
    let mut call = Call::of(agreed(Codec::Pcmu, &[Codec::Pcmu]));
    call.say(manner(Codec::Pcmu, 0), 500.0, 30);
    let more = agreed(Codec::Pcmu, &[Codec::Pcmu, Codec::G722]);
    let coders = Some(Box::new(Coders::new(&more, call.rate, 5)));
    call.b
        .order(EngineCommand::Update(0, Box::new(Renegotiation { stream: more, signalling: None, coders })));
    for (how, freq) in [(manner(Codec::G722, 9), 900.0), (manner(Codec::Pcmu, 0), 500.0)] {
        call.say(how, freq, 50);
        assert!(call.level(freq, 500) > 6800.0, "{:?}", how.codec);
    }
    // Fewer codecs than before: the same decoders, but removed codecs are not played.
    let less = agreed(Codec::Pcmu, &[Codec::Pcmu]);
    call.b.order(EngineCommand::Update(
        0,
        Box::new(Renegotiation { stream: less, signalling: None, coders: None }),
    ));
    call.say(manner(Codec::G722, 9), 900.0, 50);
    assert!(call.level(900.0, 400) < 10.0);
}

#[test]
fn a_digit_between_two_codecs_is_one_digit() {
    let mut call = Call::of(agreed(Codec::Opus, &[Codec::Opus, Codec::Pcmu]));
    for (n, codec) in [Codec::Opus, Codec::Pcmu, Codec::Opus].into_iter().enumerate() {
        call.say(manner(codec, codec.payload_type()), 700.0, 30);
        for step in 0..8u16 {
            let e = Event { code: n as u8 + 1, end: step > 4, volume: 10, duration: 160 * (step.min(4) + 1) };
            call.put(101, &e.to_bytes());
            call.b.tick();
        }
        call.p.timestamp = call.p.timestamp.wrapping_add(8 * codec.clock() / 50);
    }
    (0..10).for_each(|_| call.b.tick());
    assert_eq!(crate::wire::digits(&call.b.facts, 0), "123");
}

#[test]
fn comfort_noise_may_have_a_dynamic_payload_type() {
    let mut stream = stream_of(Codec::Pcmu, 4000);
    stream.formats = Formats::default();
    stream.formats.add(0, Meaning::Audio(Codec::Pcmu));
    stream.formats.add(98, Meaning::Noise);
    let mut call = Call::of(stream);
    call.say(manner(Codec::Pcmu, 0), 500.0, 50);
    call.put(98, &[40]);
    (0..50).for_each(|_| call.b.tick());
    let heard = call.heard();
    let end = &heard[heard.len() - 4000..];
    let rms = (end.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / end.len() as f64).sqrt();
    assert!((rms / 327.7 - 1.0).abs() < 0.2, "noise 40 dB below overload: {rms}");
}

/// Timestamp steps of the last packets sent.
fn steps(far: &Far, last: usize) -> Vec<u32> {
    let stamps = far.sent.iter().map(|s| Packet::parse(&s.bytes).unwrap().timestamp);
    let stamps: Vec<u32> = stamps.skip(far.sent.len() - last).collect();
    stamps.windows(2).map(|w| w[1].wrapping_sub(w[0])).collect()
}

#[test]
fn g722_is_played_with_either_timestamp_clock() {
    for (clock, step, sent) in [(8000, 160, 160), (8000, 320, 160), (16_000, 160, 160), (16_000, 320, 320)] {
        let mut call = Call::of(Negotiated { clock, ..stream_of(Codec::G722, 4000) });
        call.say(Manner { step, ..manner(Codec::G722, 9) }, 1200.0, 100);
        let level = call.level(1200.0, 1500);
        assert!(level > 7000.0, "{clock} Hz, {step} in 20 ms: {level}");
        let q = call.quality();
        assert_eq!((q.lost, q.late), (0, 0), "{clock}, {step}");
        assert!(q.concealed <= 1 && q.jitter_ms < 1.0, "{clock}, {step}: {q:?}");
        // Our timestamps follow the far end's, if it was described with that clock.
        assert_eq!(steps(&call.p.far.0.borrow(), 20), vec![sent; 19], "{clock}, {step}");
    }
    // Before the first packet: as described.
    let mut call = Call::of(Negotiated { clock: 16_000, ..stream_of(Codec::G722, 4000) });
    (0..20).for_each(|_| call.b.tick());
    assert_eq!(steps(&call.p.far.0.borrow(), 10), vec![320; 9]);
}

#[test]
fn digits_not_accepted_by_the_far_end_are_not_sent() {
    let dtmf = Some(Dtmf { events: 0x03ff, ..Dtmf::new(101, 8000) });
    let mut call = Call::of(Negotiated { dtmf, ..stream_of(Codec::Pcmu, 4000) });
    let codes: Digits = "1*2#A3".chars().filter_map(code_of).collect();
    call.b.order(EngineCommand::Digits(0, Box::new(codes)));
    (0..60).for_each(|_| call.b.tick());
    let far = call.p.far.0.borrow();
    let packets = far.sent.iter().map(|s| Packet::parse(&s.bytes).unwrap());
    let mut codes: Vec<u8> =
        packets.filter(|p| p.payload_type == 101).map(|p| Event::parse(p.payload).unwrap().code).collect();
    codes.dedup();
    assert_eq!(codes, [1, 2, 3]);
    drop(far);
    assert_eq!(call.quality().digits_dropped, 3);
}
