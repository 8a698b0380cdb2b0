//! Comfort noise, so that the line does not seem dead: faint noise in silent rooms, and noise at the level
//! signalled by a far end that has stopped sending (RFC 3389).

/// Peak of the underlying white noise.
const WHITE: f32 = 4.0;
/// Weight of new samples in the two low-pass filters, and gain that compensates their loss.
const ALPHA: f32 = 0.1;
const GAIN: f32 = 3.5;

/// White noise of ±4, twice low-passed: about −75 dBFS.
#[derive(Debug, Clone)]
pub struct ComfortNoise {
    state: u32,
    first: f32,
    second: f32,
}

impl ComfortNoise {
    /// Noise that differs for each `seed`.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        Self { state: seed | 1, first: 0.0, second: 0.0 }
    }

    /// Adds noise to a mix.
    pub fn add(&mut self, sum: &mut [i32]) {
        for s in sum {
            let white = next(&mut self.state) * WHITE;
            self.first += ALPHA * (white - self.first);
            self.second += ALPHA * (self.first - self.second);
            *s += (self.second * GAIN).round() as i32;
        }
    }
}

/// A random number from −1 to 1, by Marsaglia's xorshift: fast and good enough for audio.
fn next(state: &mut u32) -> f32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    (*state as i32 as f32) / 2_147_483_648.0
}

/// Louder levels are limited to this, dB below overload.
const LOUDEST: u8 = 30;

/// White noise at a given level.
#[derive(Debug, Clone)]
pub struct LevelNoise {
    state: u32,
    amplitude: f32,
}

impl LevelNoise {
    /// Noise `level` dB below overload, 0 to 127 (RFC 3389 §3.1); the upper bit of the byte is ignored.
    #[must_use]
    pub fn new(level: u8) -> Self {
        let rms = 32_768.0 * 10f32.powf(-f32::from((level & 0x7f).max(LOUDEST)) / 20.0);
        // Uniformly distributed values have a root mean square of peak/√3.
        Self { state: 0x9e37_79b9, amplitude: (rms * 3f32.sqrt()).min(32_767.0) }
    }

    /// Changes the level.
    pub fn set_level(&mut self, level: u8) {
        self.amplitude = Self::new(level).amplitude;
    }

    /// Generates the next samples.
    pub fn fill(&mut self, out: &mut [i16]) {
        out.fill_with(|| (next(&mut self.state) * self.amplitude).round() as i16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_of_a_level_has_that_level() {
        for level in [0u8, 30, 50, 70, 0xc6, 127] {
            let mut out = [0i16; 16_000];
            LevelNoise::new(level).fill(&mut out);
            let rms = (out.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 16_000.0).sqrt();
            let wanted = 32_768.0 * 10f64.powf(-f64::from((level & 0x7f).max(30)) / 20.0);
            assert!((rms - wanted).abs() < wanted * 0.02 + 0.3, "{level}: {rms} instead of {wanted}");
        }
    }

    #[test]
    fn it_is_faint_and_never_gone() {
        let mut noise = ComfortNoise::new(7);
        let mut all = Vec::new();
        for _ in 0..200 {
            let mut sum = [0i32; 320];
            noise.add(&mut sum);
            all.extend(sum);
        }
        assert!(all.iter().all(|s| s.abs() <= 8), "{:?}", all.iter().max());
        let rms = (all.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / all.len() as f64).sqrt();
        assert!((0.8..3.0).contains(&rms), "{rms}");
        let steps = all.windows(2).filter(|w| (w[0] - w[1]).abs() > 2).count();
        assert!(steps < 200, "low-passed: {steps} large steps");
    }
}
