//! RTP packets: source filtering, format of sent packets, digits, silence.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use branchline::media::command::{AudioTarget, MediaEvent};
use branchline::media::messages::EngineCommand;
use branchline::media::record::{Recording, Shared};
use branchline::media::rtp_endpoint::renegotiation::Renegotiation;
use branchline::media::rtp_endpoint::sender::Digits;
use branchline::rtp::packet::{Packet, header};
use branchline::rtp::rtcp;
use branchline::rtp::telephone_event::{Event, code_of};
use branchline::sdp::{Direction, Negotiated};

use crate::wire::{Bench, FarWire, Phone, at, digits, level, stream};

fn one() -> (Bench<FarWire>, Phone) {
    let mut b = Bench::new();
    let p = Phone::new(4000, 440.0);
    b.order(EngineCommand::Open(0, p.leg(stream(4000))));
    b.tick();
    (b, p)
}

fn codes(text: &str) -> Box<Digits> {
    Box::new(text.chars().filter_map(code_of).collect())
}

#[test]
fn packets_have_correct_numbers_timestamps_and_lengths() {
    for (ptime, per_second) in [(10u16, 100), (20, 50), (30, 33), (60, 16)] {
        let mut b = Bench::new();
        let p = Phone::new(4000, 0.0);
        let mut s = stream(4000);
        s.ptime = ptime;
        b.order(EngineCommand::Open(0, p.leg(s)));
        for _ in 0..50 {
            b.tick();
        }
        let far = p.far.0.borrow();
        let packets: Vec<Packet<'_>> = far.sent.iter().map(|s| Packet::parse(&s.bytes).unwrap()).collect();
        assert_eq!(packets.len(), per_second, "{ptime}");
        assert!(packets[0].marker && packets[1..].iter().all(|p| !p.marker));
        for w in packets.windows(2) {
            assert_eq!(w[1].sequence, w[0].sequence.wrapping_add(1));
            assert_eq!(w[1].timestamp.wrapping_sub(w[0].timestamp), u32::from(ptime) * 8);
            assert_eq!((w[0].payload.len(), w[0].ssrc), (usize::from(ptime) * 8, w[1].ssrc));
        }
    }
}

#[test]
fn a_stall_is_a_gap_in_timestamps_and_recordings() {
    let (mut b, p) = one();
    let (tx, _rx) = rtrb::RingBuffer::new(320 * 10);
    let shared = Arc::new(Shared::default());
    b.order(EngineCommand::Record(0, Box::new(Recording::new(AudioTarget::Leg(0), tx, Arc::clone(&shared)))));
    b.tick();
    b.engine.skip(70);
    b.tick();
    assert_eq!(shared.dropped.load(Ordering::Acquire), 70, "frames of silence for the recorder to write");
    let far = p.far.0.borrow();
    let packets: Vec<Packet<'_>> = far.sent.iter().map(|s| Packet::parse(&s.bytes).unwrap()).collect();
    let [before, after] = &packets[packets.len() - 2..] else { panic!("two packets") };
    assert_eq!(after.sequence, before.sequence.wrapping_add(1), "nothing was lost");
    assert_eq!(after.timestamp.wrapping_sub(before.timestamp), 71 * 160);
    assert!(after.marker);
}

#[test]
fn only_the_described_source_is_played_and_answered() {
    let (mut b, mut p) = one();
    let voice = |seq: u16, ssrc: u32| {
        let mut v = header(false, 0, seq, u32::from(seq) * 160, ssrc).to_vec();
        v.extend([0u8; 160]);
        v
    };
    // Injection before the first valid packet: other address, then right address with an unknown type.
    let stranger = "10.66.6.6:4000".parse().unwrap();
    for n in 0..20 {
        p.far.0.borrow_mut().inbox.push((stranger, voice(n, 9)));
        let mut odd = voice(n, 9);
        odd[1] = 96;
        p.far.0.borrow_mut().inbox.push((at(4000), odd));
        b.tick();
    }
    assert!(p.far.0.borrow().sent.iter().all(|s| s.to == at(4000)));
    for n in 0..50u32 {
        p.talk((n + 1) * 20, b.now_ns);
        // Injection afterwards: same address and other port, same port and other address.
        p.far.0.borrow_mut().inbox.push((at(4002), voice(n as u16, 9)));
        p.far.0.borrow_mut().inbox.push((stranger, voice(n as u16, p.ssrc)));
        b.tick();
    }
    assert!(p.far.0.borrow().sent.iter().all(|s| s.to == at(4000)), "nothing ever goes to a stranger");
    b.order(EngineCommand::Close(0));
    b.tick();
    let Some(MediaEvent::Closed { quality, .. }) = b.facts.last() else { panic!("{:?}", b.facts) };
    assert_eq!((quality.received, quality.lost, quality.foreign), (50, 0, 140));
}

#[test]
fn digits_are_reported_once_in_order_and_do_not_disturb_the_voice() {
    let (mut b, mut p) = one();
    for n in 0..25 {
        p.talk((n + 1) * 20, b.now_ns);
        b.tick();
    }
    for (k, digit) in "159#D".chars().enumerate() {
        let stamp = p.timestamp;
        for step in 0..7u16 {
            let e = Event {
                code: code_of(digit).unwrap(),
                end: step >= 4,
                volume: 10,
                duration: 160 * (step.min(3) + 1),
            };
            let mut v = header(step == 0, 101, p.sequence, stamp, p.ssrc).to_vec();
            v.extend(e.to_bytes());
            p.sequence = p.sequence.wrapping_add(1);
            // The second digit loses all end packets, the third is received three times.
            if k == 1 && step >= 4 {
                continue;
            }
            for _ in 0..if k == 2 { 3 } else { 1 } {
                p.far.0.borrow_mut().inbox.push((at(4000), v.clone()));
            }
            b.tick();
        }
        p.timestamp = p.timestamp.wrapping_add(160 * 7);
    }
    for _ in 0..10 {
        b.tick();
    }
    assert_eq!(digits(&b.facts, 0), "159#D");
}

#[test]
fn comfort_noise_of_the_far_end_is_played() {
    let (mut b, mut p) = one();
    let (tx, mut rx) = rtrb::RingBuffer::new(320 * 200);
    b.order(EngineCommand::Record(
        0,
        Box::new(Recording::new(AudioTarget::Leg(0), tx, Arc::new(Shared::default()))),
    ));
    let talk = |b: &mut Bench<FarWire>, p: &mut Phone, from: u32, n: u32| {
        for k in 0..n {
            p.talk(from + (k + 1) * 20, b.now_ns);
            b.tick();
        }
    };
    talk(&mut b, &mut p, 0, 50);
    // One second of silence, 40 dB below overload (RFC 3389), signalled by one packet; coefficients may
    // follow.
    let mut v = header(false, 13, p.sequence, p.timestamp, p.ssrc).to_vec();
    v.extend([40, 1, 2, 3]);
    p.far.0.borrow_mut().inbox.push((at(4000), v));
    p.sequence = p.sequence.wrapping_add(1);
    (0..50).for_each(|_| b.tick());
    p.timestamp = p.timestamp.wrapping_add(50 * 160);
    talk(&mut b, &mut p, 1000, 50);
    let all: Vec<i16> = std::iter::from_fn(|| rx.pop().ok()).collect();
    let said: Vec<i16> = all.chunks_exact(320).flat_map(|f| f[..160].to_vec()).collect();
    assert_eq!(said.len(), 150 * 160);
    assert!(level(&said[2000..7500], 440.0) > 7000.0);
    let rms = |x: &[i16]| (x.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / x.len() as f64).sqrt();
    for part in said[9000..15_500].chunks(800) {
        assert!((rms(part) / 327.7 - 1.0).abs() < 0.15, "noise 40 dB below overload: {}", rms(part));
    }
    assert!(level(&said[17_000..], 440.0) > 7000.0, "speech again");
    b.order(EngineCommand::Close(0));
    b.tick();
    let Some(MediaEvent::Closed { quality, .. }) = b.facts.last() else { panic!("{:?}", b.facts) };
    assert_eq!((quality.lost, quality.late), (0, 0), "nothing was missing");
    assert!(
        quality.concealed <= 1,
        "{} frames made up: one may be where the delay is found anew",
        quality.concealed
    );
}

#[test]
fn our_digits_are_events_one_after_the_other() {
    let (mut b, mut p) = one();
    b.order(EngineCommand::Digits(0, codes("12")));
    b.order(EngineCommand::Digits(0, codes("#")));
    for n in 0..40 {
        p.talk((n + 1) * 20, b.now_ns);
        b.tick();
    }
    let far = p.far.0.borrow();
    let events: Vec<(u32, Event, bool)> = far
        .sent
        .iter()
        .map(|s| Packet::parse(&s.bytes).unwrap())
        .filter(|p| p.payload_type == 101)
        .map(|p| (p.timestamp, Event::parse(p.payload).unwrap(), p.marker))
        .collect();
    assert_eq!(events.len(), 21);
    let firsts: Vec<(u8, bool)> = events.chunks(7).map(|c| (c[0].1.code, c[0].2)).collect();
    assert_eq!(firsts, [(1, true), (2, true), (11, true)]);
    for c in events.chunks(7) {
        assert!(c.iter().all(|e| e.0 == c[0].0), "one timestamp a digit");
        assert_eq!(c.iter().filter(|e| e.1.end).count(), 3);
        assert_eq!(c[6].1.duration, 640);
    }
    assert!(events[7].0.wrapping_sub(events[0].0) >= 9 * 160, "a gap between digits");
}

#[test]
fn without_events_digits_are_tones() {
    let mut b = Bench::new();
    let mut p = Phone::new(4000, 0.0);
    let mut s = stream(4000);
    s.dtmf = None;
    b.order(EngineCommand::Open(0, p.leg(s)));
    b.order(EngineCommand::Digits(0, codes("5")));
    for n in 0..10 {
        p.talk((n + 1) * 20, b.now_ns);
        b.tick();
    }
    let heard = p.hear();
    assert!(level(&heard[..800], 770.0) > 9000.0 && level(&heard[..800], 1336.0) > 9000.0);
    assert!(heard[900..].iter().all(|s| *s == 0));
}

#[test]
fn silence_is_reported_once_and_not_on_hold() {
    let (mut b, mut p) = one();
    let silent =
        |b: &Bench<FarWire>| b.facts.iter().filter(|f| matches!(f, MediaEvent::Silent { .. })).count();
    for n in 0..100 {
        p.talk((n + 1) * 20, b.now_ns);
        b.tick();
    }
    let mut held = stream(4000);
    held.direction = Direction::RecvOnly;
    b.order(EngineCommand::Update(0, refit(held)));
    let before = p.far.0.borrow().sent.len();
    for _ in 0..400 {
        b.tick();
    }
    assert_eq!(
        (silent(&b), p.far.0.borrow().sent.len()),
        (0, before),
        "nothing is sent to who wants nothing"
    );
    // On local hold a far end may stop sending, whatever it answered.
    b.order(EngineCommand::Update(0, refit(stream(4000))));
    b.order(EngineCommand::Hold(0, true));
    for _ in 0..600 {
        b.tick();
    }
    assert_eq!(silent(&b), 0, "silence of a far end on hold is no fault");
    b.order(EngineCommand::Hold(0, false));
    for _ in 0..600 {
        b.tick();
    }
    assert_eq!(silent(&b), 1, "five seconds without a packet, said once");
}

#[test]
fn a_flood_does_not_displace_packets_of_the_far_end() {
    let (mut b, mut p) = one();
    let junk = vec![0x80u8; 12];
    let mut heard = 0;
    for n in 0..200u32 {
        p.far.0.borrow_mut().inbox.extend((0..100u16).map(|i| {
            ("203.0.113.9:4000".parse().unwrap(), if i % 2 == 0 { junk.clone() } else { vec![7; 300] })
        }));
        p.talk((n + 1) * 20, b.now_ns);
        b.tick();
        heard += p.far.0.borrow().inbox.len();
    }
    assert_eq!(heard, 0, "10,000 datagrams a second are taken as they come");
    b.order(EngineCommand::Quality(0));
    b.tick();
    let quality = b.facts.iter().find_map(|f| match f {
        MediaEvent::Quality { quality, .. } => Some(*quality),
        _ => None,
    });
    let quality = quality.unwrap();
    assert_eq!((quality.received, quality.late, quality.foreign), (200, 0, 20_000));
    assert!(quality.concealed <= 2, "{quality:?}");
}

#[test]
fn rtcp_reports_are_sent_with_correct_contents() {
    let (mut b, mut p) = one();
    for n in 0..600u32 {
        p.talk((n + 1) * 20, b.now_ns);
        if n % 20 == 10 {
            p.far.0.borrow_mut().inbox.clear();
        }
        b.tick();
    }
    let far = p.far.0.borrow();
    assert!((2..=3).contains(&far.rtcp.len()), "one in five seconds: {}", far.rtcp.len());
    let last = far.rtcp.last().unwrap();
    assert_eq!(last.to, at(4001));
    let report = rtcp::parse(&last.bytes, p.ssrc).unwrap();
    let about = report.about_us.unwrap();
    assert!(report.sent.unwrap().packets > 400);
    assert!((10..=16).contains(&about.fraction_lost), "one in twenty: {}", about.fraction_lost);
}

/// A renegotiation with the same codec.
fn refit(stream: Negotiated) -> Box<Renegotiation> {
    Box::new(Renegotiation { stream, signalling: None, coders: None })
}
