//! Unusual streams of a far end: several SSRCs, restarts of sequence numbers, long packets, silence
//! suppression, key changes.

use std::sync::Arc;

use branchline::base::rng::Rng;
use branchline::codec::Codec;
use branchline::media::command::{AudioTarget, MediaEvent, Quality};
use branchline::media::messages::EngineCommand;
use branchline::media::record::{Recording, Shared};
use branchline::media::rtp_endpoint::renegotiation::Renegotiation;
use branchline::rtp::packet::header;
use branchline::rtp::srtp::Context;
use branchline::rtp::telephone_event::{Event, code_of};
use branchline::sdp::{Keyed, Negotiated};
use branchline::wire::crypto::{MasterKey, Suite};

use crate::wire::{Bench, FarWire, Phone, at, digits, level, stream, stream_of};

/// A leg with recorded input.
struct Heard {
    b: Bench<FarWire>,
    p: Phone,
    rx: rtrb::Consumer<i16>,
    ms: u32,
}

impl Heard {
    fn of(stream: Negotiated) -> Self {
        let mut b = Bench::new();
        let p = Phone::new(4000, 440.0);
        b.order(EngineCommand::Open(0, p.leg(stream)));
        let (tx, rx) = rtrb::RingBuffer::new(640 * 1000);
        b.order(EngineCommand::Record(
            0,
            Box::new(Recording::new(AudioTarget::Leg(0), tx, Arc::new(Shared::default()))),
        ));
        Self { b, p, rx, ms: 0 }
    }

    fn put(&mut self, packet: Vec<u8>) {
        let mut far = self.p.far.0.borrow_mut();
        far.now_ns = self.b.now_ns;
        far.inbox.push((at(4000), packet));
    }

    /// The phone talks for this many ticks.
    fn talk(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.ms += 20;
            self.p.talk(self.ms, self.b.now_ns);
            self.b.tick();
        }
    }

    /// Recorded input since the last call, at 8 kHz.
    fn said(&mut self) -> Vec<i16> {
        let all: Vec<i16> = std::iter::from_fn(|| self.rx.pop().ok()).collect();
        all.chunks_exact(320).flat_map(|f| f[..160].to_vec()).collect()
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

/// An event packet with this SSRC, sequence number and timestamp.
fn key(digit: char, step: u16, ssrc: u32, sequence: u16, timestamp: u32) -> Vec<u8> {
    let event = Event {
        code: code_of(digit).unwrap(),
        end: step >= 6,
        volume: 10,
        duration: 160 * (step + 1).min(6),
    };
    let mut v = header(step == 0, 101, sequence, timestamp, ssrc).to_vec();
    v.extend(event.to_bytes());
    v
}

#[test]
fn events_with_a_separate_ssrc_are_one_key_each_and_leave_no_gap() {
    for (goes_on, first) in [(true, 40_000u16), (false, 40_000), (true, 65_530)] {
        let mut h = Heard::of(stream(4000));
        h.talk(50);
        let mut number = first;
        for digit in "122#".chars() {
            let stamp = h.p.timestamp;
            for step in 0..9u16 {
                let v = key(digit, step, 0x9999, number, stamp);
                h.put(v);
                number = number.wrapping_add(1);
                if goes_on {
                    h.talk(1);
                } else {
                    h.b.tick();
                }
            }
            h.talk(15);
        }
        assert_eq!(digits(&h.b.facts, 0), "122#", "sound goes on: {goes_on}");
        let (said, quality) = (h.said(), h.quality());
        assert_eq!((quality.lost, quality.late, quality.foreign), (0, 0, 0), "{quality:?}");
        if goes_on {
            assert!(quality.concealed <= 1, "{quality:?}");
            for part in said[2000..].chunks_exact(1600) {
                assert!(level(part, 440.0) > 7000.0, "{}", level(part, 440.0));
            }
        }
    }
}

#[test]
fn a_key_held_longer_than_one_event_is_one_key() {
    let mut h = Heard::of(stream(4000));
    let (mut number, mut begin) = (500u16, 9_000u32);
    // 20 s: durations beyond 16 bits continue in another segment (RFC 4733 §2.5.1.3).
    for segment in 0..3 {
        for step in 1..=410u32 {
            let duration = (160 * step).min(65_535) as u16;
            let event =
                Event { code: code_of('5').unwrap(), end: segment == 2 && step == 200, volume: 10, duration };
            let mut v = header(segment == 0 && step == 1, 101, number, begin, 0x9999).to_vec();
            v.extend(event.to_bytes());
            h.put(v);
            h.talk(1);
            number = number.wrapping_add(1);
            if event.end {
                break;
            }
        }
        begin = begin.wrapping_add(65_535);
    }
    h.talk(15);
    assert_eq!(digits(&h.b.facts, 0), "5");
}

#[test]
fn a_key_before_any_audio_is_reported_and_the_audio_is_played() {
    let mut h = Heard::of(stream(4000));
    for step in 0..9u16 {
        h.put(key('8', step, 0x9999, step, 100));
        h.b.tick();
    }
    h.talk(50);
    assert_eq!(digits(&h.b.facts, 0), "8");
    assert!(level(&h.said()[4000..], 440.0) > 7000.0);
}

#[test]
fn a_restarted_sender_is_played_at_once() {
    for jump in [60i32, 100, 101, 150, 500, 2_900, 20_000, 32_768, -3_100, -60] {
        for time in [0u32, 7_777, 0x9000_0000] {
            let mut h = Heard::of(stream(4000));
            h.talk(60);
            let _before = h.said();
            h.p.sequence = (i32::from(h.p.sequence) - jump) as u16;
            h.p.timestamp = h.p.timestamp.wrapping_sub(time);
            h.p.freq = 1000.0;
            // A small step back is treated as late packets, until the sequence numbers catch up.
            h.talk(if (1..=101).contains(&jump) { 140 } else { 40 });
            let said = h.said();
            let tail = &said[said.len() - 2400..];
            assert!(level(tail, 1000.0) > 6000.0, "{jump} {time}: {}", level(tail, 1000.0));
            let quality = h.quality();
            assert!(quality.lost <= if jump == -60 { 60 } else { 1 }, "{jump}: {quality:?}");
        }
    }
}

#[test]
fn a_replaced_source_that_still_sends_is_not_played() {
    let mut h = Heard::of(stream(4000));
    h.talk(50);
    let mut old = Phone::new(4000, 1500.0);
    old.ssrc = h.p.ssrc;
    (h.p.ssrc, h.p.sequence, h.p.timestamp) = (0x7777, 9, 9);
    for _ in 0..100 {
        let v = old.packet();
        h.put(v);
        h.talk(1);
    }
    let said = h.said();
    let tail = &said[said.len() - 8000..];
    assert!(level(tail, 440.0) > 7000.0 && level(tail, 1500.0) < 200.0, "{}", level(tail, 440.0));
    // The new source stops, and the old one is played again.
    for _ in 0..50 {
        let v = old.packet();
        h.put(v);
        h.b.tick();
    }
    let said = h.said();
    assert!(level(&said[said.len() - 4000..], 1500.0) > 7000.0);
}

#[test]
fn packets_of_up_to_200_ms_are_played_completely() {
    for codec in [Codec::Pcmu, Codec::Pcma] {
        for ptime in [5u32, 10, 30, 40, 60, 80, 100, 120, 160, 200] {
            let mut h = Heard::of(stream_of(codec, 4000));
            h.p.ptime = ptime;
            for _ in 0..150 {
                h.ms += 20;
                let now = h.b.now_ns;
                h.p.far.0.borrow_mut().now_ns = now;
                while h.ms >= ptime && h.p.sent() + ptime <= h.ms {
                    let mut v = h.p.packet();
                    h.p.note_sent();
                    if codec == Codec::Pcma {
                        v[1] = 8;
                        for b in &mut v[12..] {
                            *b = branchline::codec::g711::alaw_encode(branchline::codec::g711::ulaw_decode(
                                *b,
                            ));
                        }
                    }
                    h.put(v);
                }
                h.b.tick();
            }
            let said = h.said();
            for part in said[8000..].chunks_exact(1600) {
                assert!(level(part, 440.0) > 7300.0, "{codec:?} {ptime}: {}", level(part, 440.0));
            }
            let quality = h.quality();
            assert_eq!((quality.lost, quality.late), (0, 0), "{codec:?} {ptime}");
        }
    }
}

#[test]
fn the_length_of_packets_may_change_at_any_time() {
    let mut h = Heard::of(stream(4000));
    for ptime in [40, 20, 60, 200, 10, 120, 20] {
        h.p.ptime = ptime;
        h.talk(60);
        h.ms = h.ms.max(h.p.sent());
        let said = h.said();
        assert!(
            level(&said[said.len() - 3200..], 440.0) > 7000.0,
            "{ptime}: {}",
            level(&said[said.len() - 3200..], 440.0)
        );
    }
}

#[test]
fn silence_suppression_does_not_count_as_loss() {
    // A packet every 1.5 s, as of a phone with silence suppression and without comfort noise.
    let mut h = Heard::of(stream(4000));
    h.talk(15);
    for _ in 0..6 {
        (0..75).for_each(|_| h.b.tick());
        h.p.timestamp = h.p.timestamp.wrapping_add(75 * 160);
        h.talk(1);
        let quality = h.quality();
        assert!(quality.mos > 4.3 && quality.lost == 0 && quality.concealed <= 1, "{quality:?}");
    }
    // Talkspurts of half a second with pauses, and duplicates of packets already played.
    let mut h = Heard::of(stream(4000));
    for _ in 0..8 {
        for _ in 0..25 {
            let last = h.p.far.0.borrow().inbox.last().map(|(_, v)| v.clone());
            h.talk(1);
            last.into_iter().for_each(|v| h.put(v));
        }
        (0..20).for_each(|_| h.b.tick());
        h.p.timestamp = h.p.timestamp.wrapping_add(20 * 160);
    }
    let quality = h.quality();
    assert!(quality.mos > 4.3 && quality.late == 0, "{quality:?}");
    // One packet in ten is lost, and one in ten arrives too late: both count.
    for late in [false, true] {
        let mut h = Heard::of(stream(4000));
        let mut waiting = std::collections::VecDeque::new();
        for n in 0..500u32 {
            h.ms += 20;
            let v = h.p.packet();
            h.p.note_sent();
            if n % 10 != 5 {
                h.put(v);
            } else if late {
                waiting.push_back((n + 15, v));
            }
            if waiting.front().is_some_and(|(at, _)| *at == n) {
                let (_, v) = waiting.pop_front().unwrap();
                h.put(v);
            }
            h.b.tick();
        }
        let quality = h.quality();
        assert!(quality.mos < 3.75, "{late}: {quality:?}");
        assert!(if late { quality.late > 20 } else { quality.lost == 50 }, "{quality:?}");
    }
}

#[test]
fn a_new_key_after_the_roll_over_keeps_audio_in_both_directions() {
    let mut rng = Rng::from_number(5);
    for suite in Suite::ALL {
        for (anew, moved) in [(false, false), (true, false), (true, true), (false, true)] {
            let mut key = || MasterKey::random(suite, &mut rng);
            let (ours, theirs, next) = (key(), key(), key());
            let keyed =
                |theirs, port| Negotiated { srtp: Some(Keyed { tag: 1, ours, theirs }), ..stream(port) };
            let mut h = Heard::of(keyed(theirs, 4000));
            let mut seal = Context::new(&theirs).unwrap();
            let say = |h: &mut Heard, seal: &mut Context, from: u16, ticks: u32| {
                for _ in 0..ticks {
                    let packet = h.p.packet();
                    let mut out = packet.clone();
                    out.resize(packet.len() + 64, 0);
                    let len = seal.protect(&mut out, packet.len()).unwrap();
                    out.truncate(len);
                    h.p.far.0.borrow_mut().now_ns = h.b.now_ns;
                    h.p.far.0.borrow_mut().inbox.push((at(from), out));
                    h.b.tick();
                }
            };
            // The phone's sequence numbers start at 65,500: they roll over.
            say(&mut h, &mut seal, 4000, 75);
            let port = if moved { 4100 } else { 4000 };
            let refit = Renegotiation { stream: keyed(next, port), signalling: None, coders: None };
            h.b.order(EngineCommand::Update(0, Box::new(refit)));
            let mut seal =
                if anew { Context::new(&next) } else { Context::succeeding(&next, &seal) }.unwrap();
            h.p.freq = 950.0;
            say(&mut h, &mut seal, port, 75);
            let said = h.said();
            let tail = &said[said.len() - 8000..];
            assert!(
                level(tail, 950.0) > 7000.0,
                "{suite:?}, anew {anew}, moved {moved}: {}",
                level(tail, 950.0)
            );
            assert_eq!(h.quality().foreign, 0);
            // Our key is unchanged: the far end continues to decrypt.
            let mut open = Context::new(&ours).unwrap();
            for s in &h.p.far.0.borrow().sent {
                let mut bytes = s.bytes.clone();
                let len = bytes.len();
                assert!(open.unprotect(&mut bytes, len).is_ok());
            }
        }
    }
}

#[test]
fn our_new_key_after_the_roll_over_is_accepted_by_the_far_end() {
    let mut rng = Rng::from_number(6);
    for moved in [false, true] {
        let mut key = || MasterKey::random(Suite::ALL[0], &mut rng);
        let (ours, theirs, next) = (key(), key(), key());
        let keyed = |ours, port| Negotiated { srtp: Some(Keyed { tag: 1, ours, theirs }), ..stream(port) };
        let mut h = Heard::of(keyed(ours, 4000));
        let mut open = Context::new(&ours).unwrap();
        // Number of packets received, and whether sequence numbers rolled over.
        let read = |h: &Heard, open: &mut Context| {
            let sent = std::mem::take(&mut h.p.far.0.borrow_mut().sent);
            let number = |i: usize| u16::from_be_bytes([sent[i].bytes[2], sent[i].bytes[3]]);
            let turned = number(0) > number(sent.len() - 1);
            for s in &sent {
                let mut bytes = s.bytes.clone();
                let len = bytes.len();
                assert!(open.unprotect(&mut bytes, len).is_ok(), "moved {moved}");
            }
            (sent.len(), turned)
        };
        // Initial sequence numbers are random.
        loop {
            (0..1000).for_each(|_| h.b.tick());
            if read(&h, &mut open).1 {
                break;
            }
        }
        let port = if moved { 4100 } else { 4000 };
        let change = Renegotiation { stream: keyed(next, port), signalling: None, coders: None };
        h.b.order(EngineCommand::Update(0, Box::new(change)));
        // For a new address the roll-over counter restarts (RFC 4568 §7.1.4); otherwise it continues (RFC
        // 3711 §3.3.1).
        let mut open = if moved { Context::new(&next) } else { Context::succeeding(&next, &open) }.unwrap();
        (0..75).for_each(|_| h.b.tick());
        assert!(read(&h, &mut open).0 > 60);
    }
}
