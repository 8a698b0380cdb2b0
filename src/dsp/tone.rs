//! Call-progress and DTMF tones: sums of two sines in a cadence, with soft edges.

use std::f64::consts::PI;

/// A tone: two frequencies and when they sound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ToneSpec {
    /// Frequencies, Hz; 0: unused.
    pub freqs: [f32; 2],
    /// On and off times, ms; all 0: continuous.
    pub cadence: [u16; 4],
}

/// Tones by name; a bare type is the United States'. The other countries come with the issue on sound.
pub const TONES: &[(&str, ToneSpec)] = &[
    ("us_ringback", ToneSpec { freqs: [440.0, 480.0], cadence: [2000, 4000, 0, 0] }),
    ("us_busy", ToneSpec { freqs: [480.0, 620.0], cadence: [500, 500, 0, 0] }),
    ("us_dial", ToneSpec { freqs: [350.0, 440.0], cadence: [0; 4] }),
    ("us_congestion", ToneSpec { freqs: [480.0, 620.0], cadence: [250, 250, 0, 0] }),
];

/// The tone of a name: lower-cased and trimmed, `us_` where no country is given.
#[must_use]
pub fn by_name(name: &str) -> Option<ToneSpec> {
    let name = name.trim().to_ascii_lowercase();
    let full = if name.contains('_') { name } else { format!("us_{name}") };
    TONES.iter().find(|(n, _)| *n == full).map(|(_, t)| *t)
}

/// The two frequencies of a DTMF digit.
#[must_use]
pub fn dtmf(digit: char) -> Option<ToneSpec> {
    const KEYS: &str = "123A456B789C*0#D";
    const LOW: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
    const HIGH: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
    let at = KEYS.find(digit.to_ascii_uppercase())?;
    Some(ToneSpec { freqs: [*LOW.get(at / 4)?, *HIGH.get(at % 4)?], cadence: [100, 100, 0, 0] })
}

/// Peak of all components together.
const PEAK: f64 = 23_000.0;
/// Length of the ramps at cadence edges, ms.
const RAMP_MS: u32 = 2;

/// Generates a tone at one rate.
#[derive(Debug, Clone)]
pub struct ToneGenerator {
    spec: ToneSpec,
    rate: u32,
    /// Phase of each component, in turns.
    phase: [f64; 2],
    /// Samples since the start of the cadence.
    at: u32,
}

impl ToneGenerator {
    /// A generator at `rate` Hz.
    #[must_use]
    pub fn new(spec: ToneSpec, rate: u32) -> Self {
        Self { spec, rate, phase: [0.0; 2], at: 0 }
    }

    /// Fills a frame.
    pub fn fill(&mut self, frame: &mut [i16]) {
        let count = self.spec.freqs.iter().filter(|f| **f > 0.0).count().max(1) as f64;
        for s in frame.iter_mut() {
            let mut v = 0.0;
            for (f, phase) in self.spec.freqs.iter().zip(&mut self.phase) {
                if *f > 0.0 {
                    v += (2.0 * PI * *phase).sin();
                    *phase = (*phase + f64::from(*f) / f64::from(self.rate)).fract();
                }
            }
            *s = (v * PEAK / count * self.envelope()) as i16;
            self.at += 1;
        }
    }

    /// 0 to 1 by where the cadence stands.
    fn envelope(&mut self) -> f64 {
        let samples = |ms: u16| u32::from(ms) * (self.rate / 1000);
        let total: u32 = self.spec.cadence.iter().map(|ms| samples(*ms)).sum();
        if total == 0 {
            return 1.0;
        }
        self.at %= total;
        let mut start = 0;
        for (i, ms) in self.spec.cadence.iter().enumerate() {
            let end = start + samples(*ms);
            if self.at < end {
                if i % 2 == 1 {
                    return 0.0;
                }
                let ramp = (RAMP_MS * self.rate / 1000).max(1);
                let edge = (self.at - start).min(end - 1 - self.at);
                return (f64::from(edge) / f64::from(ramp)).min(1.0);
            }
            start = end;
        }
        0.0
    }

    /// Samples of one round of the cadence; 0: continuous.
    #[must_use]
    pub fn round(&self) -> u32 {
        self.spec.cadence.iter().map(|ms| u32::from(*ms) * (self.rate / 1000)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(x: &[i16], freq: f64, rate: f64) -> f64 {
        let (mut re, mut im) = (0.0, 0.0);
        for (i, s) in x.iter().enumerate() {
            let a = 2.0 * PI * freq * i as f64 / rate;
            re += f64::from(*s) * a.cos();
            im += f64::from(*s) * a.sin();
        }
        2.0 * (re * re + im * im).sqrt() / x.len() as f64
    }

    #[test]
    fn busy_has_its_frequencies_and_cadence() {
        let mut g = ToneGenerator::new(by_name(" Busy ").unwrap(), 8000);
        let mut x = vec![0i16; 8000];
        g.fill(&mut x);
        for f in [480.0, 620.0] {
            assert!((level(&x[400..3600], f, 8000.0) - 11_500.0).abs() < 200.0);
        }
        assert!(x[4000..8000].iter().all(|s| *s == 0));
        assert!(x[..2].iter().all(|s| s.abs() < 2000), "soft start");
        assert!(x.iter().all(|s| s.abs() <= 23_000));
    }

    #[test]
    fn dial_never_stops_and_names_are_known() {
        let mut g = ToneGenerator::new(by_name("us_dial").unwrap(), 16_000);
        let mut x = vec![0i16; 320];
        for _ in 0..500 {
            g.fill(&mut x);
            assert!(x.iter().any(|s| s.abs() > 5000));
        }
        assert_eq!(by_name("xx_dial"), None);
        assert_eq!(dtmf('5').unwrap().freqs, [770.0, 1336.0]);
        assert_eq!(dtmf('D').unwrap().freqs, [941.0, 1633.0]);
        assert_eq!(dtmf('x'), None);
    }
}
