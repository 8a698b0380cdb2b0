//! Audio output and recordings, checked by samples.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use branchline::dsp::resample::Resampler;
use branchline::dsp::tone::{ToneGenerator, by_name};
use branchline::media::command::{AudioTarget, MediaEvent, Over};
use branchline::media::converters::Converters;
use branchline::media::messages::EngineCommand;
use branchline::media::play::{Play, Source, gain};
use branchline::media::record::{Recording, Shared};
use branchline::media::room::Room;
use rtrb::RingBuffer;

use crate::wire::{Bench, FarWire, Phone, level, level_at, stream};

fn converters(rate: u32) -> Box<Converters> {
    Box::new(Converters { up: Resampler::new(8000, rate), down: Resampler::new(rate, 8000) })
}

/// A room at `rate` with a phone on each of these frequencies.
fn conference(rate: u32, freqs: &[f64]) -> (Bench<FarWire>, Vec<Phone>) {
    let mut b = Bench::new();
    b.order(EngineCommand::OpenRoom(3, Box::new(Room::new(rate))));
    let phones: Vec<Phone> = freqs.iter().zip(4000u16..).map(|(f, i)| Phone::new(i * 2 - 4000, *f)).collect();
    for (slot, p) in phones.iter().enumerate() {
        b.order(EngineCommand::Open(slot as u16, p.leg(stream(p.port))));
        b.order(EngineCommand::Join(slot as u16, 3, converters(rate)));
    }
    (b, phones)
}

fn run(b: &mut Bench<FarWire>, phones: &mut [Phone], from_ms: u32, to_ms: u32) {
    for ms in (from_ms..to_ms).step_by(20) {
        for p in phones.iter_mut() {
            p.talk(ms + 20, b.now_ns);
        }
        b.tick();
    }
}

#[test]
fn members_hear_the_others_and_not_themselves() {
    for rate in [8000, 16_000, 48_000] {
        let freqs = [400.0, 700.0, 1100.0];
        let (mut b, mut phones) = conference(rate, &freqs);
        run(&mut b, &mut phones, 0, 1000);
        phones.iter_mut().for_each(|p| drop(p.hear()));
        run(&mut b, &mut phones, 1000, 3000);
        for (i, p) in phones.iter_mut().enumerate() {
            let heard = p.hear();
            assert_eq!(heard.len(), 16_000, "{rate}: two seconds, none missing");
            for (j, f) in freqs.iter().enumerate() {
                let l = level(&heard, *f);
                if i == j {
                    assert!(l < 80.0, "{rate}: own voice is 40 dB down: {l}");
                } else {
                    assert!((l / 8000.0 - 1.0).abs() < 0.06, "{rate}: {i} hears {j} at {l}");
                }
            }
        }
    }
}

#[test]
fn a_mute_does_not_click() {
    let (mut b, mut phones) = conference(8000, &[400.0, 0.0]);
    run(&mut b, &mut phones, 0, 500);
    phones.iter_mut().for_each(|p| drop(p.hear()));
    // At any phase of the wave.
    for (step, from) in (500..1500).step_by(100).enumerate() {
        b.order(EngineCommand::Mute(0, step % 2 == 0));
        run(&mut b, &mut phones, from, from + 100);
    }
    let heard = phones[1].hear();
    let steps = heard.windows(2).map(|w| (i32::from(w[0]) - i32::from(w[1])).abs()).max().unwrap();
    // 400 Hz at 8,000 changes by 2,470 per sample, plus µ-law noise.
    assert!(steps < 2900, "a step of {steps}");
    let loud = heard.chunks(800).map(|c| c.iter().map(|s| s.unsigned_abs()).max().unwrap() > 7000);
    assert!(loud.clone().filter(|l| *l).count() >= 5 && heard.iter().filter(|s| **s == 0).count() > 2000);
}

#[test]
fn mute_and_deaf_and_leaving() {
    let (mut b, mut phones) = conference(16_000, &[400.0, 700.0]);
    run(&mut b, &mut phones, 0, 500);
    b.order(EngineCommand::Mute(0, true));
    run(&mut b, &mut phones, 500, 600);
    phones.iter_mut().for_each(|p| drop(p.hear()));
    run(&mut b, &mut phones, 600, 1100);
    assert!(level(&phones[1].hear(), 400.0) < 5.0, "a muted leg is not heard");
    assert!(level(&phones[0].hear(), 700.0) > 7000.0, "but hears");
    b.order(EngineCommand::Mute(0, false));
    b.order(EngineCommand::Deaf(1, true));
    run(&mut b, &mut phones, 1100, 1200);
    phones.iter_mut().for_each(|p| drop(p.hear()));
    run(&mut b, &mut phones, 1200, 1700);
    assert!(phones[1].hear().iter().all(|s| *s == 0), "a deaf leg hears nothing at all");
    assert!(level(&phones[0].hear(), 700.0) > 7000.0, "but is heard");
    b.order(EngineCommand::Deaf(1, false));
    b.order(EngineCommand::Leave(0));
    run(&mut b, &mut phones, 1700, 1800);
    phones.iter_mut().for_each(|p| drop(p.hear()));
    run(&mut b, &mut phones, 1800, 2300);
    assert!(level(&phones[1].hear(), 400.0) < 5.0 && level(&phones[0].hear(), 700.0) < 5.0);
}

#[test]
fn packets_of_any_length_are_played_completely() {
    for ptime in [10, 20, 30, 40, 60] {
        let (mut b, mut phones) = conference(8000, &[440.0, 0.0]);
        phones[0].ptime = ptime;
        run(&mut b, &mut phones, 0, 600);
        phones[1].hear();
        run(&mut b, &mut phones, 600, 3000);
        let heard = phones[1].hear();
        assert!((level(&heard, 440.0) / 8000.0 - 1.0).abs() < 0.03, "{ptime} ms: {}", level(&heard, 440.0));
        let jumps = heard.windows(2).filter(|w| (i32::from(w[0]) - i32::from(w[1])).abs() > 4500).count();
        assert_eq!(jumps, 0, "{ptime} ms: no clicks");
    }
}

#[test]
fn loss_is_concealed_and_counted() {
    let (mut b, mut phones) = conference(8000, &[440.0, 0.0]);
    run(&mut b, &mut phones, 0, 600);
    phones[1].hear();
    for n in 0..100u32 {
        phones[0].talk(600 + (n + 1) * 20, b.now_ns);
        phones[1].talk(600 + (n + 1) * 20, b.now_ns);
        if n % 10 == 4 {
            phones[0].far.0.borrow_mut().inbox.clear();
        }
        b.tick();
    }
    let heard = phones[1].hear();
    assert_eq!(heard.len(), 16_000);
    assert!(level(&heard, 440.0) > 7000.0, "one packet in ten lost, tone at {}", level(&heard, 440.0));
    assert!(heard.chunks(160).all(|c| c.iter().any(|s| s.abs() > 1000)), "no frame is empty");
    b.order(EngineCommand::Close(0));
    b.tick();
    let closed = b.facts.iter().find_map(|f| match f {
        MediaEvent::Closed { slot: 0, quality } => Some(*quality),
        _ => None,
    });
    let q = closed.unwrap();
    assert_eq!((q.lost, q.received), (10, 120));
    assert!(q.concealed >= 10 && q.concealed <= 14, "{q:?}");
}

#[test]
fn a_private_tone_is_heard_by_its_leg_only_and_a_room_tone_by_all() {
    let (mut b, mut phones) = conference(16_000, &[0.0, 0.0]);
    let play = |target, rate| {
        let tone = ToneGenerator::new(by_name("us_dial").unwrap(), rate);
        Box::new(Play::new(target, rate, Source::Tone(tone), -2))
    };
    b.order(EngineCommand::Play(0, play(AudioTarget::Leg(0), 8000)));
    run(&mut b, &mut phones, 0, 1000);
    let amplitude = 11_500.0 * f64::from(gain(-2));
    assert!((level(&phones[0].hear()[400..], 350.0) / amplitude - 1.0).abs() < 0.05);
    assert!(level(&phones[1].hear(), 350.0) < 5.0);
    b.order(EngineCommand::StopPlay(0));
    b.order(EngineCommand::Play(1, play(AudioTarget::Room(3), 16_000)));
    run(&mut b, &mut phones, 1000, 2000);
    for p in &mut phones {
        assert!(level(&p.hear()[400..], 440.0) / amplitude > 0.9);
    }
    let played = b.facts.iter().find_map(|f| match f {
        MediaEvent::Played { play: 0, played_ms, over } => Some((*played_ms, *over)),
        _ => None,
    });
    assert_eq!(played, Some((1000, Over::Stopped)));
}

#[test]
fn a_held_leg_hears_its_playbacks_and_not_its_room() {
    let (mut b, mut phones) = conference(16_000, &[400.0, 700.0]);
    run(&mut b, &mut phones, 0, 400);
    b.order(EngineCommand::Hold(0, true));
    let dial = Source::Tone(ToneGenerator::new(by_name("us_dial").unwrap(), 8000));
    b.order(EngineCommand::Play(0, Box::new(Play::new(AudioTarget::Leg(0), 8000, dial, 0))));
    run(&mut b, &mut phones, 400, 900);
    let hear = |phones: &mut [Phone]| phones.iter_mut().map(Phone::hear).collect::<Vec<_>>();
    drop(hear(&mut phones));
    run(&mut b, &mut phones, 900, 1900);
    let heard = hear(&mut phones);
    assert!(level(&heard[0], 350.0) > 1000.0 && level(&heard[0], 440.0) > 1000.0, "what is played");
    assert!(level(&heard[0], 700.0) < 60.0, "not the room");
    assert!(level(&heard[1], 400.0) < 20.0, "and the room not it");
    b.order(EngineCommand::Hold(0, false));
    b.order(EngineCommand::StopPlay(0));
    run(&mut b, &mut phones, 1900, 2400);
    drop(hear(&mut phones));
    run(&mut b, &mut phones, 2400, 3400);
    let heard = hear(&mut phones);
    assert!(level(&heard[0], 700.0) > 7000.0 && level(&heard[1], 400.0) > 7000.0);
}

#[test]
fn a_recording_has_one_side_per_channel_and_silence_for_its_pause() {
    let (mut b, mut phones) = conference(16_000, &[400.0, 700.0]);
    run(&mut b, &mut phones, 0, 400);
    let (tx, mut rx) = RingBuffer::new(2 * 160 * 200);
    let shared = Arc::new(Shared::default());
    b.order(EngineCommand::Record(7, Box::new(Recording::new(AudioTarget::Leg(0), tx, Arc::clone(&shared)))));
    let (room_tx, mut room_rx) = RingBuffer::new(320 * 200);
    let room_shared = Arc::new(Shared::default());
    b.order(EngineCommand::Record(8, Box::new(Recording::new(AudioTarget::Room(3), room_tx, room_shared))));
    b.order(EngineCommand::Mute(0, true));
    run(&mut b, &mut phones, 400, 1400);
    b.order(EngineCommand::PauseRecord(7, true));
    run(&mut b, &mut phones, 1400, 1900);
    b.order(EngineCommand::PauseRecord(7, false));
    run(&mut b, &mut phones, 1900, 2400);
    b.order(EngineCommand::StopRecord(7));
    b.tick();
    assert!(shared.ended.load(Ordering::Acquire));
    let all: Vec<i16> = std::iter::from_fn(|| rx.pop().ok()).collect();
    assert_eq!(all.len(), 2 * 16_000, "two seconds of wall clock");
    let side =
        |n: usize| all.chunks_exact(320).flat_map(|f| f[n * 160..][..160].to_vec()).collect::<Vec<i16>>();
    let (left, right) = (side(0), side(1));
    assert!(level(&left[..8000], 400.0) > 7500.0, "what the far end says, muted or not");
    assert!(level(&left[..8000], 700.0) < 20.0);
    assert!(level(&right[400..8000], 700.0) > 7000.0, "what the far end hears");
    assert!(level(&right[400..8000], 400.0) < 80.0);
    assert!(all[2 * 8000..2 * 12_000].iter().all(|s| *s == 0), "the pause is silence, in its place");
    assert!(level(&left[12_000..], 400.0) > 7500.0);
    let room: Vec<i16> = std::iter::from_fn(|| room_rx.pop().ok()).collect();
    assert!(level_at(&room[3200..32_000], 700.0, 16_000.0) > 7000.0);
    assert!(level_at(&room[3200..32_000], 400.0, 16_000.0) < 20.0, "the muted leg is not in the mix");
}
