//! Call-progress and DTMF tones: sums of up to two sines with a cadence and soft edges.

use std::f64::consts::PI;

/// A tone: frequencies, modulation and cadence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ToneSpec {
    /// Frequencies, Hz; 0: unused.
    pub freqs: [f32; 2],
    /// Frequency of its 100 % amplitude modulation, Hz; 0: none.
    pub waver: f32,
    /// On and off times, ms; all 0: continuous.
    pub cadence: [u16; 4],
}

const fn tone(first: u16, second: u16, cadence: [u16; 4]) -> ToneSpec {
    ToneSpec { freqs: [first as f32, second as f32], waver: 0.0, cadence }
}

const fn wavering(freq: u16, waver: u16, cadence: [u16; 4]) -> ToneSpec {
    ToneSpec { freqs: [freq as f32, 0.0], waver: waver as f32, cadence }
}

/// Tones by name, according to ITU-T E.180; names without country are those of the United States.
pub const TONES: &[(&str, ToneSpec)] = &[
    ("us_ringback", tone(440, 480, [2000, 4000, 0, 0])),
    ("us_busy", tone(480, 620, [500, 500, 0, 0])),
    ("us_dial", tone(350, 440, [0, 0, 0, 0])),
    ("us_congestion", tone(480, 620, [250, 250, 0, 0])),
    ("gb_ringback", tone(400, 450, [400, 200, 400, 2000])),
    ("gb_busy", tone(400, 0, [375, 375, 0, 0])),
    ("gb_dial", tone(350, 440, [0, 0, 0, 0])),
    ("gb_congestion", tone(400, 0, [400, 350, 225, 525])),
    ("de_ringback", tone(425, 0, [1000, 4000, 0, 0])),
    ("de_busy", tone(425, 0, [480, 480, 0, 0])),
    ("de_dial", tone(425, 0, [0, 0, 0, 0])),
    ("de_congestion", tone(425, 0, [240, 240, 0, 0])),
    ("fr_ringback", tone(440, 0, [1500, 3500, 0, 0])),
    ("fr_busy", tone(440, 0, [500, 500, 0, 0])),
    ("fr_dial", tone(440, 0, [0, 0, 0, 0])),
    ("fr_congestion", tone(440, 0, [250, 250, 0, 0])),
    ("au_ringback", wavering(400, 17, [400, 200, 400, 2000])),
    ("au_busy", tone(400, 0, [375, 375, 0, 0])),
    ("au_dial", tone(400, 450, [0, 0, 0, 0])),
    ("au_congestion", tone(400, 0, [375, 375, 0, 0])),
    ("jp_ringback", wavering(400, 16, [1000, 2000, 0, 0])),
    ("jp_busy", tone(400, 0, [500, 500, 0, 0])),
    ("jp_dial", tone(400, 0, [0, 0, 0, 0])),
    ("jp_congestion", tone(400, 0, [250, 250, 0, 0])),
    ("it_ringback", tone(425, 0, [1000, 4000, 0, 0])),
    ("it_busy", tone(425, 0, [500, 500, 0, 0])),
    ("it_dial", tone(425, 0, [0, 0, 0, 0])),
    ("it_congestion", tone(425, 0, [200, 200, 0, 0])),
    ("in_ringback", wavering(400, 25, [400, 200, 400, 2600])),
    ("in_busy", tone(400, 0, [750, 750, 0, 0])),
    ("in_dial", tone(400, 0, [0, 0, 0, 0])),
    ("in_congestion", tone(400, 0, [250, 250, 0, 0])),
    ("br_ringback", tone(425, 0, [1000, 4000, 0, 0])),
    ("br_busy", tone(425, 0, [250, 250, 0, 0])),
    ("br_dial", tone(425, 0, [0, 0, 0, 0])),
    ("br_congestion", tone(425, 0, [250, 250, 0, 0])),
    ("pl_ringback", tone(425, 0, [1000, 4000, 0, 0])),
    ("pl_busy", tone(425, 0, [500, 500, 0, 0])),
    ("pl_dial", tone(425, 0, [0, 0, 0, 0])),
    ("pl_congestion", tone(425, 0, [500, 500, 0, 0])),
    ("ru_ringback", tone(425, 0, [800, 3200, 0, 0])),
    ("ru_busy", tone(425, 0, [350, 350, 0, 0])),
    ("ru_dial", tone(425, 0, [0, 0, 0, 0])),
    ("ru_congestion", tone(425, 0, [175, 175, 0, 0])),
];

/// The tone with this name: case-insensitive, trimmed, `us_` if no country is given, `uk` for `gb`.
#[must_use]
pub fn by_name(name: &str) -> Option<ToneSpec> {
    let name = name.trim().to_ascii_lowercase();
    let full = match name.split_once('_') {
        Some(("uk", kind)) => format!("gb_{kind}"),
        Some(_) => name,
        None => format!("us_{name}"),
    };
    TONES.iter().find(|(n, _)| *n == full).map(|(_, t)| *t)
}

/// The two frequencies of a DTMF digit.
#[must_use]
pub fn dtmf(digit: char) -> Option<ToneSpec> {
    const KEYS: &str = "123A456B789C*0#D";
    const LOW: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
    const HIGH: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
    let at = KEYS.find(digit.to_ascii_uppercase())?;
    Some(ToneSpec { freqs: [*LOW.get(at / 4)?, *HIGH.get(at % 4)?], waver: 0.0, cadence: [100, 100, 0, 0] })
}

/// Peak amplitude of all components together.
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
    /// Phase of the modulation, in turns.
    wavered: f64,
    /// Samples since the start of the cadence.
    at: u32,
}

impl ToneGenerator {
    /// A generator at `rate` Hz.
    #[must_use]
    pub fn new(spec: ToneSpec, rate: u32) -> Self {
        Self { spec, rate, phase: [0.0; 2], wavered: 0.0, at: 0 }
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
            if self.spec.waver > 0.0 {
                v *= 0.5 + 0.5 * (2.0 * PI * self.wavered).sin();
                self.wavered = (self.wavered + f64::from(self.spec.waver) / f64::from(self.rate)).fract();
            }
            *s = (v * PEAK / count * self.envelope()) as i16;
            self.at += 1;
        }
    }

    /// Gain from 0 to 1 according to the cadence.
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

    /// Samples per cadence period; 0: continuous.
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

    /// On and off times of the samples, ms.
    fn cadence(x: &[i16], rate: usize) -> Vec<usize> {
        let block = rate / 200;
        let loud: Vec<bool> = x.chunks(block).map(|c| c.iter().any(|s| s.abs() > 3000)).collect();
        let mut runs = vec![0];
        for pair in loud.windows(2) {
            *runs.last_mut().unwrap() += 5;
            if pair[0] != pair[1] {
                runs.push(0);
            }
        }
        runs.pop();
        runs
    }

    #[test]
    fn every_tone_has_its_frequencies_and_its_cadence() {
        for (name, spec) in TONES {
            for rate in [8000u32, 16_000, 48_000] {
                let mut g = ToneGenerator::new(*spec, rate);
                let mut x = vec![0i16; rate as usize * 12];
                g.fill(&mut x);
                let on = if spec.cadence[0] == 0 { 10_000 } else { usize::from(spec.cadence[0]) };
                let on = &x[rate as usize / 100..rate as usize * (on - 10) / 1000];
                let parts = spec.freqs.iter().filter(|f| **f > 0.0).count() as f64;
                let share = if spec.waver > 0.0 { 0.5 } else { 1.0 };
                for f in spec.freqs.iter().filter(|f| **f > 0.0) {
                    let found = level(on, f64::from(*f), f64::from(rate));
                    let want = PEAK / parts * share;
                    assert!(
                        (found / want - 1.0).abs() < 0.06,
                        "{name} at {rate}: {f} Hz is {found}, not {want}"
                    );
                }
                for other in [300.0, 520.0, 700.0, 1000.0] {
                    assert!(level(on, other, f64::from(rate)) < 1500.0, "{name} has {other} Hz");
                }
                if spec.waver > 0.0 {
                    let side = level(on, f64::from(spec.freqs[0] - spec.waver), f64::from(rate));
                    assert!((side / (PEAK / 4.0) - 1.0).abs() < 0.15, "{name} wavers: {side}");
                    continue;
                }
                let wanted = spec.cadence.iter().filter(|ms| **ms > 0).map(|ms| usize::from(*ms));
                let wanted: Vec<usize> = wanted.cycle().take(4).collect();
                for (found, want) in cadence(&x, rate as usize).iter().zip(&wanted) {
                    assert!(found.abs_diff(*want) <= 10, "{name} at {rate}: {found} ms, not {want}");
                }
            }
        }
        assert_eq!(TONES.len(), 44);
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
        assert_eq!((by_name("UK_Ringback "), by_name("us_busy")), (by_name("gb_ringback"), by_name("busy")));
        assert_eq!(dtmf('5').unwrap().freqs, [770.0, 1336.0]);
        assert_eq!(dtmf('D').unwrap().freqs, [941.0, 1633.0]);
        assert_eq!(dtmf('x'), None);
    }
}
