//! 500 ticks under load without any allocation, reallocation or free, neither in Rust nor in C. The C
//! library's allocator is interposed, and everything goes through it.
#![allow(unsafe_code, reason = "interposing malloc")]

use std::cell::Cell;
use std::ffi::c_void;
use std::net::SocketAddr;
use std::sync::Arc;

use branchline::base::rng::Rng;
use branchline::codec::Codec;
use branchline::codec::coder::Encoder;
use branchline::codec::opus::OpusFmtp;
use branchline::dsp::resample::Resampler;
use branchline::dsp::tone::{ToneGenerator, by_name};
use branchline::media::amd::{Amd, Parameters};
use branchline::media::command::AudioTarget;
use branchline::media::converters::Converters;
use branchline::media::endpoint::Endpoint;
use branchline::media::messages::EngineCommand;
use branchline::media::party::Party;
use branchline::media::play::{Feeding, Play, Source};
use branchline::media::record::{Recording, Shared};
use branchline::media::room::Room;
use branchline::media::rtp_endpoint::coders::Coders;
use branchline::media::rtp_endpoint::endpoint::RtpEndpoint;
use branchline::media::rtp_endpoint::sender::Digits;
use branchline::media::rtp_endpoint::transport::{Batch, MediaTransport};
use branchline::rtp::packet::header;
use branchline::rtp::srtp::Context;
use branchline::rtp::telephone_event::Event;
use branchline::sdp::{Formats, Keyed, Meaning, Negotiated};
use branchline::wire::crypto::{MasterKey, Suite};
use rtrb::{Consumer, RingBuffer};

use crate::wire::{BEGIN_NS, Bench, at, stream, stream_of};

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // When a thread exits, its thread-local storage is gone, and nothing is counted.
    let armed = ARMED.try_with(Cell::get).unwrap_or(false);
    if armed {
        let _counted = CALLS.try_with(|c| c.set(c.get() + 1));
    }
}

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(n: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(p: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(align: usize, size: usize) -> *mut c_void;
    fn __libc_free(p: *mut c_void);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    count();
    unsafe { __libc_malloc(size) }
}
#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(n: usize, size: usize) -> *mut c_void {
    count();
    unsafe { __libc_calloc(n, size) }
}
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(p: *mut c_void, size: usize) -> *mut c_void {
    count();
    unsafe { __libc_realloc(p, size) }
}
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> i32 {
    count();
    unsafe { *out = __libc_memalign(align, size) };
    0
}
#[unsafe(no_mangle)]
unsafe extern "C" fn free(p: *mut c_void) {
    count();
    unsafe { __libc_free(p) }
}

/// Allocator calls on this thread while `f` runs.
fn calls(f: impl FnOnce()) -> u64 {
    CALLS.set(0);
    ARMED.set(true);
    f();
    ARMED.set(false);
    CALLS.get()
}

/// A far end that creates packets without allocating: voice with loss, and digits.
struct Busy {
    /// The codecs that it alternates between.
    voices: Vec<(Codec, Vec<u8>)>,
    from: SocketAddr,
    sequence: u16,
    tick: u32,
    dice: u32,
    sent: u64,
    plant: bool,
    /// Encrypts its packets.
    crypt: Option<Context>,
}

/// The SRTP key of every second leg, for both directions.
fn keyed(slot: u16) -> Option<Keyed> {
    let suite = Suite::ALL[usize::from(slot / 2) % Suite::ALL.len()];
    let key = MasterKey::random(suite, &mut Rng::from_number(u64::from(slot)));
    (slot % 2 == 1).then_some(Keyed { tag: 1, ours: key, theirs: key })
}

impl MediaTransport for Busy {
    fn receive(&mut self, batch: &mut Batch) {
        batch.len = 0;
        self.tick += 1;
        for _ in 0..2 {
            self.dice = self.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let roll = self.dice >> 24;
            // Of ten ticks, two bring no packet and two bring two: loss and bursts.
            if roll < 100 || batch.len == 2 {
                continue;
            }
            self.sequence = self.sequence.wrapping_add(if roll > 240 { 2 } else { 1 });
            let event = self.tick % 100 < 7;
            let (codec, payload) = &self.voices[self.tick as usize / 10 % self.voices.len()];
            let stamp = u32::from(self.sequence) * 160;
            let stamp = stamp.wrapping_mul(codec.clock() / 8000);
            let pt = if event { 101 } else { codec.payload_type() };
            let head = header(false, pt, self.sequence, stamp, 77);
            let Some(item) = batch.items.get_mut(batch.len) else { return };
            item.bytes[..12].copy_from_slice(&head);
            item.len = if event { 16 } else { 12 + payload.len() };
            if event {
                let e = Event {
                    code: (self.tick / 100 % 16) as u8,
                    end: self.tick % 100 > 4,
                    volume: 10,
                    duration: 160,
                };
                item.bytes[12..16].copy_from_slice(&e.to_bytes());
            } else {
                item.bytes[12..item.len].copy_from_slice(payload);
            }
            if let Some(crypt) = &mut self.crypt {
                item.len = crypt.protect(&mut item.bytes, item.len).unwrap();
            }
            item.from = self.from;
            item.arrival_ns = BEGIN_NS + u64::from(self.tick) * 20_000_000;
            batch.len += 1;
        }
    }
    fn receive_rtcp(&mut self, batch: &mut Batch) {
        batch.len = 0;
    }
    fn send(&mut self, _to: SocketAddr, bytes: &[u8]) {
        self.sent += bytes.len() as u64;
        if self.plant && self.tick == 60 {
            std::hint::black_box(vec![0u8; 16]);
        }
    }
    fn send_rtcp(&mut self, _to: SocketAddr, bytes: &[u8]) {
        self.sent += bytes.len() as u64;
    }
}

/// A packet with a voiced sound.
fn payload(codec: Codec) -> Vec<u8> {
    let rate = codec.sample_rate();
    let frame: Vec<i16> =
        (0..rate / 50).map(|i| ((i * 300 % rate) as f32 / rate as f32 * 9000.0) as i16).collect();
    let mut encoder = Encoder::new(codec, &OpusFmtp::default(), 5);
    let mut out = vec![0; 480];
    let len = encoder.encode(&frame, &mut out);
    let len = len + encoder.finish(&mut out[len..]);
    out.truncate(len);
    out
}

type Rings = Vec<(Consumer<i16>, Arc<Shared>)>;

/// 64 legs, half of them encrypted: 32 in one room, 32 in pairs; 16 playbacks, 64 recordings.
fn load(plant: bool) -> (Bench<Busy>, Rings) {
    let mut b = Bench::new();
    let mut rings = Vec::new();
    for room in 0..17 {
        b.order(EngineCommand::OpenRoom(
            room,
            Box::new(Room::new(if room % 2 == 0 { 16_000 } else { 48_000 })),
        ));
    }
    for slot in 0..64u16 {
        let from = at(4000 + slot * 2);
        let keys = keyed(slot);
        let codec = Codec::ALL[usize::from(slot / 2 % 4)];
        // Every fourth far end alternates between two codecs, if both were negotiated.
        let second = Codec::ALL[usize::from(slot / 2 + 1 + slot / 8) % 4];
        let codecs = if slot % 4 == 1 { vec![codec, second] } else { vec![codec] };
        let wire = Busy {
            voices: codecs.iter().map(|c| (*c, payload(*c))).collect(),
            from,
            sequence: 0,
            tick: 0,
            dice: u32::from(slot),
            sent: 0,
            plant: plant && slot == 9,
            crypt: keys.and_then(|k| Context::new(&k.theirs)),
        };
        let mut formats = Formats::of(codec, codec.payload_type(), &[101]);
        codecs.iter().for_each(|c| formats.add(c.payload_type(), Meaning::Audio(*c)));
        // Some legs detect in-band digits, and some only listen: those share an encoding.
        let dtmf = stream(0).dtmf.filter(|_| slot % 5 > 0);
        let stream = Negotiated { dtmf, srtp: keys, formats, ..stream_of(codec, 4000 + slot * 2) };
        let rate = codec.sample_rate();
        let coders = Box::new(Coders::new(&stream, rate, 5));
        let rtp = RtpEndpoint::new(wire, stream, coders, None, u32::from(slot) * 7919);
        let leg = Party::new(Endpoint::Rtp(rtp), false, false);
        b.order(EngineCommand::Open(slot, Box::new(leg)));
        b.order(EngineCommand::Speaking(slot));
        b.order(EngineCommand::Amd(
            slot,
            Box::new(Amd::new(Parameters { beep_timeout: 60_000, ..Parameters::default() })),
        ));
        let room = if slot < 32 { 0 } else { 1 + (slot - 32) / 2 };
        let of_room = if room % 2 == 0 { 16_000 } else { 48_000 };
        let c = Converters { up: Resampler::new(rate, of_room), down: Resampler::new(of_room, rate) };
        b.order(EngineCommand::Join(slot, room, Box::new(c)));
        if slot % 3 == 0 {
            b.order(EngineCommand::Mute(slot, true));
        }
        let (tx, rx) = RingBuffer::new(1920 * 10);
        let shared = Arc::new(Shared::default());
        b.order(EngineCommand::Record(
            slot,
            Box::new(Recording::new(AudioTarget::Leg(slot), tx, Arc::clone(&shared))),
        ));
        rings.push((rx, shared));
        b.order(EngineCommand::Digits(slot, Box::new(Digits::from_slice(&[1, 2, 3]).unwrap())));
    }
    for play in 0..16u16 {
        let target = if play % 2 == 0 { AudioTarget::Leg(play) } else { AudioTarget::Room(play) };
        let rate = if play % 2 == 0 { Codec::ALL[usize::from(play / 2 % 4)].sample_rate() } else { 48_000 };
        let source = if play % 4 < 2 {
            Source::Tone(ToneGenerator::new(by_name("us_busy").unwrap(), rate))
        } else {
            let (mut tx, rx) = RingBuffer::new(100_000);
            (0..100_000).for_each(|i| tx.push((i % 3000) as i16).unwrap());
            {
                let feeding = Feeding::default();
                feeding.end(false);
                Source::Ring(rx, Arc::new(feeding))
            }
        };
        b.order(EngineCommand::Play(play, Box::new(Play::new(target, rate, source, 1))));
    }
    (b, rings)
}

fn ticks(b: &mut Bench<Busy>, n: u32) -> u64 {
    let mut total = 0;
    for _ in 0..n {
        b.now_ns += 20_000_000;
        let now = b.now_ns;
        total += calls(|| {
            b.engine.tick(now);
        });
        b.collect();
    }
    total
}

#[test]
fn three_hundred_ticks_under_load_allocate_nothing() {
    let (mut b, rings) = load(false);
    assert_eq!(ticks(&mut b, 300), 0);
    assert!(b.facts.len() > 200, "digits and ended playbacks were reported: {}", b.facts.len());
    assert!(rings.iter().all(|(rx, _)| rx.slots() > 3000), "the recordings have run");
}

#[test]
fn a_planted_allocation_is_detected() {
    let (mut b, _rings) = load(true);
    assert!(ticks(&mut b, 100) >= 2);
    assert!(calls(|| drop(std::hint::black_box(Box::new(5)))) >= 2);
}
