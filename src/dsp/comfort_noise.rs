//! The faint noise of a room in which nobody says anything, so that nobody takes the line for dead.

/// Largest sample of the white noise it is made of.
const WHITE: f32 = 4.0;
/// Weight of each new sample in the two low-passes, and what makes up for their loss.
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
    /// Noise that differs from that of another `seed`.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        Self { state: seed | 1, first: 0.0, second: 0.0 }
    }

    /// Adds noise to a sum.
    pub fn add(&mut self, sum: &mut [i32]) {
        for s in sum {
            // Marsaglia's xorshift: quick, and random enough for the ear.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 17;
            self.state ^= self.state << 5;
            let white = (self.state as i32 as f32) * (WHITE / 2_147_483_648.0);
            self.first += ALPHA * (white - self.first);
            self.second += ALPHA * (self.first - self.second);
            *s += (self.second * GAIN).round() as i32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
