//! How loud a frame is, and how much of it is one frequency.

use std::f32::consts::PI;

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

/// True when nothing in a frame is louder than `peak`.
#[must_use]
pub fn is_below(frame: &[i16], peak: i16) -> bool {
    let mut most = 0u16;
    for x in frame {
        most = most.max(x.unsigned_abs());
    }
    most <= peak.unsigned_abs()
}

/// Measures one frequency in frames of one rate (Goertzel's algorithm).
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

    /// Energy of the frame at the frequency: half of all there is for a sine of just that.
    #[must_use]
    pub fn energy(&self, frame: &[i16]) -> f32 {
        let (mut a, mut b) = (0.0f32, 0.0f32);
        for x in frame {
            (a, b) = (f32::from(*x) + self.turn * a - b, a);
        }
        (a * a + b * b - self.turn * a * b).max(0.0) / frame.len().max(1) as f32
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
        assert!(rms(&[]) < 0.1 && is_below(&[], 0) && is_below(&[8, -8], 8) && !is_below(&[i16::MIN], 8));
    }
}
