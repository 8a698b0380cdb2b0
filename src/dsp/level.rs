//! Level of a frame, and energy at single frequencies.

use std::f32::consts::PI;

use multiversion::multiversion;

/// Root mean square of samples, in units of one 16-bit step.
#[must_use]
pub fn rms(frame: &[i16]) -> f32 {
    (energy(frame) / frame.len().max(1) as f32).sqrt()
}

/// Sum of squares.
#[must_use]
pub fn energy(frame: &[i16]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (chunks, rest) = frame.as_chunks::<8>();
    for chunk in chunks {
        for (s, x) in sums.iter_mut().zip(chunk) {
            *s += f32::from(*x) * f32::from(*x);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| f32::from(*x) * f32::from(*x)).sum::<f32>()
}

/// True if no sample exceeds `peak`.
#[must_use]
pub fn is_below(frame: &[i16], peak: i16) -> bool {
    // Usually decided by the first samples.
    frame.chunks(32).all(|part| {
        let mut most = 0u16;
        for x in part {
            most = most.max(x.unsigned_abs());
        }
        most <= peak.unsigned_abs()
    })
}

/// Energy at one frequency (Goertzel's algorithm).
#[derive(Debug, Clone, Copy)]
pub struct Goertzel {
    turn: f32,
}

impl Goertzel {
    /// For `freq` Hz at `rate` Hz.
    #[must_use]
    pub fn new(freq: f32, rate: u32) -> Self {
        Self { turn: 2.0 * (2.0 * PI * freq / rate as f32).cos() }
    }

    /// Energy of the frame at the frequency: half of the total for a pure sine.
    #[must_use]
    pub fn energy(&self, frame: &[i16]) -> f32 {
        let (mut a, mut b) = (0.0f32, 0.0f32);
        for x in frame {
            (a, b) = (f32::from(*x) + self.turn * a - b, a);
        }
        (a * a + b * b - self.turn * a * b).max(0.0) / frame.len().max(1) as f32
    }
}

/// Several frequencies in one pass, suited to vector units.
#[derive(Debug, Clone, Copy)]
pub struct Bank<const N: usize> {
    turns: [f32; N],
}

impl<const N: usize> Bank<N> {
    /// For these frequencies, Hz, at `rate` Hz.
    #[must_use]
    pub fn new(freqs: [f32; N], rate: u32) -> Self {
        Self { turns: freqs.map(|f| Goertzel::new(f, rate).turn) }
    }

    /// Like [`Goertzel::energy`], for each frequency.
    #[must_use]
    pub fn energies(&self, frame: &[i16]) -> [f32; N] {
        let mut out = [0.0; N];
        measure(&self.turns, frame, &mut out);
        out
    }
}

/// Lanes processed together.
const LANES: usize = 8;

#[multiversion(targets("x86_64+avx2"))]
fn measure(turns: &[f32], frame: &[i16], out: &mut [f32]) {
    for (turns, out) in turns.chunks(LANES).zip(out.chunks_mut(LANES)) {
        let mut turn = [0.0f32; LANES];
        turn.iter_mut().zip(turns).for_each(|(t, f)| *t = *f);
        let (mut a, mut b) = ([0.0f32; LANES], [0.0f32; LANES]);
        for x in frame {
            let x = f32::from(*x);
            for ((a, b), t) in a.iter_mut().zip(&mut b).zip(&turn) {
                (*a, *b) = (x + t * *a - *b, *a);
            }
        }
        let n = frame.len().max(1) as f32;
        for (((o, a), b), t) in out.iter_mut().zip(&a).zip(&b).zip(&turn) {
            *o = (a * a + b * b - t * a * b).max(0.0) / n;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(freq: f32, rate: u32, n: usize) -> Vec<i16> {
        (0..n).map(|i| (10_000.0 * (2.0 * PI * freq * i as f32 / rate as f32).sin()) as i16).collect()
    }

    #[test]
    fn a_sine_has_half_its_energy_at_its_frequency() {
        for rate in [8000, 16_000, 48_000] {
            let x = sine(1000.0, rate, rate as usize / 50);
            assert!((rms(&x) - 7071.0).abs() < 40.0);
            let share = |f: f32| Goertzel::new(f, rate).energy(&x) / energy(&x);
            assert!((share(1000.0) - 0.5).abs() < 0.01, "{}", share(1000.0));
            assert!(share(1300.0) < 0.01 && share(700.0) < 0.01);
        }
        let x = sine(440.0, 8000, 160);
        let freqs: [f32; 11] = std::array::from_fn(|i| 300.0 + 50.0 * i as f32);
        for (f, e) in freqs.iter().zip(Bank::new(freqs, 8000).energies(&x)) {
            let alone = Goertzel::new(*f, 8000).energy(&x);
            assert!((e - alone).abs() <= alone * 1e-3 + 1.0, "{f} Hz: {e} and {alone}");
        }
        assert!(rms(&[]) < 0.1 && is_below(&[], 0) && is_below(&[8, -8], 8) && !is_below(&[i16::MIN], 8));
    }
}
