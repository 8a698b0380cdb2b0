//! Playout on bad networks: concealment, delay, and absence of clicks.

use std::f64::consts::PI;

use branchline::codec::Codec;
use branchline::codec::coder::Encoder;
use branchline::codec::opus::OpusFmtp;
use branchline::media::rtp_endpoint::playout::Playout;

use crate::network::{Weather, travel};

fn level(x: &[i16]) -> f64 {
    (x.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / x.len() as f64).sqrt()
}

#[test]
fn concealment_and_delay_match_the_network() {
    for codec in [Codec::Pcma, Codec::G722, Codec::Opus] {
        let o = travel(codec, Weather::default(), 1, 1);
        assert!(o.concealed < 0.01 && o.delay <= 35.0, "{codec:?}: {} % {} ms", o.concealed, o.delay);
        assert_eq!((o.late, o.stretched), (0, (0, 0)));
        let louder = level(&o.heard) / level(&o.said);
        assert!((0.95..1.05).contains(&louder), "{codec:?}: {louder}");
        let o = travel(codec, Weather { jitter: 60, ..Weather::default() }, 1, 1);
        assert!(o.concealed < 1.5 && o.delay <= 85.0, "{codec:?}: {} % {} ms", o.concealed, o.delay);
        let o = travel(codec, Weather { jitter: 150, ..Weather::default() }, 1, 1);
        assert!(o.concealed < 4.5 && o.delay <= 180.0, "{codec:?}: {} % {} ms", o.concealed, o.delay);
        let o = travel(codec, Weather { loss: 5, jitter: 40, drift: 100 }, 1, 1);
        assert!((3.0..8.0).contains(&o.concealed), "{codec:?}: {} %", o.concealed);
        assert!((o.drift_ppm - 100.0).abs() < 90.0, "{}", o.drift_ppm);
    }
}

/// One minute of a tone from a far end with the maximum clock error.
#[test]
fn clock_drift_causes_neither_gaps_nor_clicks() {
    for ppm in [-500.0, 500.0] {
        let mut playout = Playout::new(Codec::Pcmu, 8000);
        let mut encoder = Encoder::new(Codec::Pcmu, &OpusFmtp::default(), 5);
        let (mut sent, mut worst, mut said) = (0u64, 0, 0);
        let mut before = [0i16; 2];
        let mut frame = [0; 160];
        for tick in 0..3000u64 {
            let now = 5_000_000 + tick * 20_000_000;
            while sent as f64 * 20e6 * (1.0 - ppm / 1e6) <= now as f64 {
                let at = |i: u64| 8000.0 * (2.0 * PI * 300.0 * (sent * 160 + i) as f64 / 8000.0).sin();
                let tone: Vec<i16> = (0..160).map(|i| at(i) as i16).collect();
                let mut payload = [0; 160];
                encoder.encode(&tone, &mut payload);
                let arrival = (sent as f64 * 20e6 * (1.0 - ppm / 1e6)) as u64;
                playout.insert(1 + sent, sent as u32 * 160, Some(Codec::Pcmu), &payload, arrival);
                sent += 1;
            }
            playout.frame(now, false, &mut frame);
            for s in frame {
                let bend = (i32::from(s) - 2 * i32::from(before[1]) + i32::from(before[0])).abs();
                before = [before[1], s];
                if tick > 5 {
                    worst = worst.max(bend);
                    said += u32::from(s.abs() > 100);
                }
            }
        }
        let (shorter, longer) = playout.stretched();
        // 500 ppm of a minute are 30 ms: a few pitch periods.
        assert!(if ppm > 0.0 { shorter >= 1 } else { longer >= 1 }, "{ppm}: {shorter} {longer}");
        assert_eq!(playout.concealed(), 0, "{ppm}");
        // A sine of 300 Hz has a second difference of at most 443 at this level, plus G.711 noise.
        assert!(worst < 1200, "{ppm}: a bend of {worst}");
        assert!(said > 460_000, "{ppm}: {said} samples");
        assert!((playout.delay_ms() - 20.0).abs() < 25.0, "{ppm}: {} ms", playout.delay_ms());
    }
}
