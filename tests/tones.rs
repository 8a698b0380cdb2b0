//! The tones of all countries against an independent table, with an independent detector: frequencies by the
//! Goertzel algorithm, cadences by the envelope.
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

use std::f64::consts::TAU;

use branchline::dsp::tone::{TONES, ToneGenerator, by_name};

/// Name, frequencies in Hz (`400*17`: 400 modulated with 17), on and off times in ms; "-": continuous.
const TABLE: &str = "us_ringback 440+480 2000/4000
us_busy 480+620 500/500
us_dial 350+440 -
us_congestion 480+620 250/250
gb_ringback 400+450 400/200/400/2000
gb_busy 400 375/375
gb_dial 350+440 -
gb_congestion 400 400/350/225/525
de_ringback 425 1000/4000
de_busy 425 480/480
de_dial 425 -
de_congestion 425 240/240
fr_ringback 440 1500/3500
fr_busy 440 500/500
fr_dial 440 -
fr_congestion 440 250/250
au_ringback 400*17 400/200/400/2000
au_busy 400 375/375
au_dial 400+450 -
au_congestion 400 375/375
jp_ringback 400*16 1000/2000
jp_busy 400 500/500
jp_dial 400 -
jp_congestion 400 250/250
it_ringback 425 1000/4000
it_busy 425 500/500
it_dial 425 -
it_congestion 425 200/200
in_ringback 400*25 400/200/400/2600
in_busy 400 750/750
in_dial 400 -
in_congestion 400 250/250
br_ringback 425 1000/4000
br_busy 425 250/250
br_dial 425 -
br_congestion 425 250/250
pl_ringback 425 1000/4000
pl_busy 425 500/500
pl_dial 425 -
pl_congestion 425 500/500
ru_ringback 425 800/3200
ru_busy 425 350/350
ru_dial 425 -
ru_congestion 425 175/175";

fn level(x: &[i16], hz: f64, rate: f64) -> f64 {
    let turn = 2.0 * (TAU * hz / rate).cos();
    let (mut a, mut b) = (0.0, 0.0);
    for s in x {
        (a, b) = (f64::from(*s) + turn * a - b, a);
    }
    2.0 * (a * a + b * b - turn * a * b).max(0.0).sqrt() / x.len() as f64
}

/// Alternating durations of tone and silence, ms; dips shorter than 45 ms, as caused by modulation, count as
/// tone.
fn runs(x: &[i16], rate: usize) -> Vec<(bool, usize)> {
    let mut out: Vec<(bool, usize)> = Vec::new();
    for ms in x.chunks_exact(rate / 1000) {
        let loud = ms.iter().any(|s| s.unsigned_abs() > 600);
        match out.last_mut() {
            Some((was, n)) if *was == loud => *n += 1,
            _ => out.push((loud, 1)),
        }
    }
    let mut joined: Vec<(bool, usize)> = Vec::new();
    for (loud, n) in out {
        let short = !loud && n < 45;
        match joined.last_mut() {
            Some((was, m)) if *was == (loud || short) => *m += n,
            _ => joined.push((loud || short, n)),
        }
    }
    joined
}

#[test]
fn every_tone_has_the_frequencies_and_the_cadence_of_the_table() {
    let rows: Vec<Vec<&str>> = TABLE.lines().map(|l| l.split(' ').collect()).collect();
    assert_eq!(rows.len(), TONES.len());
    for row in &rows {
        let (name, cadence) = (row[0], row[2]);
        let (tones, waver) = row[1].split_once('*').map_or((row[1], 0.0), |(t, w)| (t, w.parse().unwrap()));
        let freqs: Vec<f64> = tones.split('+').map(|f| f.parse().unwrap()).collect();
        for rate in [8000usize, 16_000, 48_000] {
            let mut x = vec![0i16; rate * 13];
            ToneGenerator::new(by_name(name).unwrap(), rate as u32).fill(&mut x);
            // Whole periods of all frequencies, within the first burst.
            let part = &x[rate / 20..rate / 20 + if waver > 0.0 { rate * 8 / 25 } else { rate / 10 }];
            for hz in (300..=700).step_by(5) {
                let hz = f64::from(hz);
                let found = level(part, hz, rate as f64);
                let whole = 23_000.0 / freqs.len() as f64 / if waver > 0.0 { 2.0 } else { 1.0 };
                if freqs.contains(&hz) {
                    assert!((found / whole - 1.0).abs() < 0.15, "{name} at {rate}: {hz} Hz is {found:.0}");
                } else if freqs.iter().all(|f| (f - hz).abs() > 35.0) {
                    assert!(found < whole * 0.25, "{name} at {rate}: {hz} Hz is {found:.0}");
                }
            }
            if waver > 0.0 {
                // Full modulation produces two side bands of half the level.
                let side = level(part, freqs[0] + waver, rate as f64);
                assert!((side / 5750.0 - 1.0).abs() < 0.2, "{name} at {rate}: side band {side:.0}");
            }
            let heard = runs(&x, rate);
            if cadence == "-" {
                assert_eq!(heard.len(), 1, "{name}: without a pause");
                continue;
            }
            let wanted: Vec<usize> = cadence.split('/').map(|ms| ms.parse().unwrap()).collect();
            assert!(heard.len() > wanted.len(), "{name} at {rate}: {heard:?}");
            for (i, (loud, ms)) in heard.iter().take(heard.len() - 1).enumerate() {
                assert_eq!(*loud, i % 2 == 0, "{name}");
                let want = wanted[i % wanted.len()];
                let slack = if waver > 0.0 { 40 } else { 4 };
                assert!(ms.abs_diff(want) <= slack, "{name} at {rate}: {ms} ms instead of {want}");
            }
        }
    }
}
