//! Analysis results: speech, answering machines, in-band digits, and quality.

use branchline::codec::g711;
use branchline::dsp::tone::{ToneGenerator, dtmf};
use branchline::media::amd::{Amd, AmdEvent, Parameters, Verdict};
use branchline::media::command::MediaEvent;
use branchline::media::messages::EngineCommand;
use branchline::rtp::packet::header;
use branchline::sdp::Negotiated;

use crate::wire::{Bench, FarWire, Phone, at, digits, stream};

/// Talks (freq above 0) or is silent for some milliseconds.
fn say(b: &mut Bench<FarWire>, p: &mut Phone, at_ms: &mut u32, freq: f64, ms: u32) {
    p.freq = freq;
    for _ in 0..ms / 20 {
        *at_ms += 20;
        p.talk(*at_ms, b.now_ns);
        b.tick();
    }
}

fn spoken(facts: &[MediaEvent]) -> Vec<bool> {
    facts
        .iter()
        .filter_map(|f| if let MediaEvent::Speaking { on, .. } = f { Some(*on) } else { None })
        .collect()
}

fn outcomes(facts: &[MediaEvent]) -> Vec<Verdict> {
    let outcome = |f: &MediaEvent| match f {
        MediaEvent::Amd { news: AmdEvent::Outcome(o), .. } => Some(o.verdict),
        _ => None,
    };
    facts.iter().filter_map(outcome).collect()
}

#[test]
fn speech_is_reported_also_when_it_is_cut_off() {
    let mut b = Bench::new();
    let mut p = Phone::new(4000, 0.0);
    b.order(EngineCommand::Open(0, p.leg(stream(4000))));
    let mut t = 0;
    say(&mut b, &mut p, &mut t, 500.0, 400);
    assert!(spoken(&b.facts).is_empty(), "nobody asked");
    b.order(EngineCommand::Speaking(0));
    say(&mut b, &mut p, &mut t, 500.0, 200);
    say(&mut b, &mut p, &mut t, 0.0, 600);
    assert_eq!(spoken(&b.facts), [true, false]);
    say(&mut b, &mut p, &mut t, 500.0, 200);
    b.order(EngineCommand::Mute(0, true));
    say(&mut b, &mut p, &mut t, 500.0, 200);
    assert_eq!(spoken(&b.facts), [true, false, true, false], "muted in the middle of a word");
    b.order(EngineCommand::Mute(0, false));
    say(&mut b, &mut p, &mut t, 500.0, 200);
    b.order(EngineCommand::Close(0));
    b.tick();
    assert_eq!(spoken(&b.facts), [true, false, true, false, true, false], "hung up in the middle of a word");
    assert!(matches!(b.facts.last(), Some(MediaEvent::Closed { .. })), "the end is told last");
}

#[test]
fn an_analysis_has_exactly_one_result() {
    let mut b = Bench::new();
    let mut p = Phone::new(4000, 0.0);
    b.order(EngineCommand::Open(0, p.leg(stream(4000))));
    let mut t = 0;
    say(&mut b, &mut p, &mut t, 0.0, 200);
    let amd = || Box::new(Amd::new(Parameters::default()));
    b.order(EngineCommand::Amd(0, amd()));
    say(&mut b, &mut p, &mut t, 1100.0, 500);
    say(&mut b, &mut p, &mut t, 0.0, 1500);
    assert_eq!(outcomes(&b.facts), [Verdict::Human]);
    // The second analysis replaces the first, which reports nothing.
    b.order(EngineCommand::Amd(0, amd()));
    say(&mut b, &mut p, &mut t, 1100.0, 1000);
    b.order(EngineCommand::Amd(0, amd()));
    say(&mut b, &mut p, &mut t, 1100.0, 2000);
    assert_eq!(outcomes(&b.facts), [Verdict::Human, Verdict::Machine]);
    // On hold nothing is analysed, but the time limit runs; a hang-up ends it at once.
    b.order(EngineCommand::Amd(0, amd()));
    b.order(EngineCommand::Hold(0, true));
    say(&mut b, &mut p, &mut t, 1100.0, 5200);
    b.order(EngineCommand::Hold(0, false));
    b.order(EngineCommand::Amd(0, amd()));
    say(&mut b, &mut p, &mut t, 1100.0, 300);
    b.order(EngineCommand::Close(0));
    b.tick();
    let all = [Verdict::Human, Verdict::Machine, Verdict::NotSure, Verdict::NotSure];
    assert_eq!(outcomes(&b.facts), all);
}

#[test]
fn in_band_digits_count_if_no_events_were_negotiated() {
    for agreed in [false, true] {
        let mut b = Bench::new();
        let p = Phone::new(4000, 0.0);
        let events = stream(4000).dtmf.filter(|_| agreed);
        b.order(EngineCommand::Open(0, p.leg(Negotiated { dtmf: events, ..stream(4000) })));
        let mut sound = Vec::new();
        for key in "159#D0".chars() {
            let mut x = vec![0; 640];
            ToneGenerator::new(dtmf(key).unwrap(), 8000).fill(&mut x);
            sound.extend(x);
            sound.extend([0; 640]);
        }
        for (i, frame) in sound.chunks(160).enumerate() {
            let mut packet = header(false, 0, i as u16, i as u32 * 160, 7).to_vec();
            packet.extend(frame.iter().map(|s| g711::ulaw_encode(*s)));
            p.far.0.borrow_mut().now_ns = b.now_ns;
            p.far.0.borrow_mut().inbox.push((at(4000), packet));
            b.tick();
        }
        (0..5).for_each(|_| b.tick());
        assert_eq!(digits(&b.facts, 0), if agreed { "" } else { "159#D0" });
    }
}

#[test]
fn quality_is_reported_on_request() {
    let mut b = Bench::new();
    let mut p = Phone::new(4000, 0.0);
    b.order(EngineCommand::Open(0, p.leg(stream(4000))));
    let mut t = 0;
    say(&mut b, &mut p, &mut t, 500.0, 2000);
    assert!(!b.facts.iter().any(|f| matches!(f, MediaEvent::Quality { .. })));
    b.order(EngineCommand::Quality(0));
    say(&mut b, &mut p, &mut t, 500.0, 20);
    let Some(MediaEvent::Quality { slot: 0, quality }) = b.facts.last() else { panic!("{:?}", b.facts) };
    assert_eq!((quality.received, quality.lost, quality.rtt_ms), (101, 0, None));
    assert!((quality.mos - 4.41).abs() < 0.01, "{quality:?}");
}
