//! Packet loss concealment: repeats the last pitch period, fading to silence, with a smooth transition back.
//! For speech at 8 and 16 kHz.

/// History kept, ms: three of the longest pitch periods.
const HISTORY_MS: usize = 45;

/// Conceals the gaps of one stream.
#[derive(Debug, Clone)]
pub struct Concealer {
    /// The last samples, the oldest at `oldest`.
    history: Box<[i16]>,
    oldest: usize,
    rate: u32,
    /// Pitch period being repeated, samples; 0 outside a gap.
    period: usize,
    phase: usize,
    /// Gain in 32768ths.
    gain: i32,
    /// Consecutive concealed frames.
    run: u32,
}

impl Concealer {
    /// A concealer for audio at `rate` Hz.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        let history = vec![0; rate as usize / 1000 * HISTORY_MS].into_boxed_slice();
        Self { history, oldest: 0, rate, period: 0, phase: 0, gain: 0, run: 0 }
    }

    /// Handles a received frame; the first one after a gap is crossfaded with the concealment.
    pub fn good(&mut self, frame: &mut [i16]) {
        if self.period > 0 {
            let overlap = (self.rate / 250) as usize;
            let n = overlap.min(frame.len());
            for (i, s) in frame.iter_mut().take(n).enumerate() {
                let made = i32::from(self.next_sample());
                let (new, old) = (i as i32, (n - i) as i32);
                *s = ((i32::from(*s) * new + made * old) / n as i32) as i16;
            }
            (self.period, self.run) = (0, 0);
        }
        self.remember(frame);
    }

    /// Generates a concealed frame.
    pub fn missing(&mut self, frame: &mut [i16]) {
        if self.period == 0 {
            self.history.rotate_left(self.oldest);
            self.oldest = 0;
            self.period = self.pitch();
            self.phase = 0;
            self.gain = 32_768;
        }
        self.run += 1;
        for s in frame.iter_mut() {
            *s = self.next_sample();
        }
    }

    /// The next sample of the repeated period, fading from the start (scores better in PESQ than 10 ms at
    /// full level), silent after 60 ms.
    fn next_sample(&mut self) -> i16 {
        let at = self.history.len() - self.period + self.phase;
        let sample = self.history.get(at).copied().unwrap_or(0);
        self.phase = (self.phase + 1) % self.period.max(1);
        let out = (i32::from(sample) * self.gain) >> 15;
        let fade = 32_768 / (self.rate as i32 / 1000 * 60).max(1);
        self.gain = (self.gain - fade - 1).max(0);
        out as i16
    }

    /// Where the next `n` samples are stored, contiguous up to the end of the ring buffer.
    #[must_use]
    pub fn next_to_go(&self, n: usize) -> &[i16] {
        let end = (self.oldest + n).min(self.history.len());
        self.history.get(self.oldest..end).unwrap_or_default()
    }

    fn remember(&mut self, frame: &[i16]) {
        let n = frame.len().min(self.history.len());
        let fresh = frame.get(frame.len() - n..).unwrap_or_default();
        let (first, rest) = fresh.split_at(n.min(self.history.len() - self.oldest));
        for (at, part) in [(self.oldest, first), (0, rest)] {
            if let Some(to) = self.history.get_mut(at..at + part.len()) {
                to.copy_from_slice(part);
            }
        }
        self.oldest = (self.oldest + n) % self.history.len().max(1);
    }

    /// The lag, between 66 and 400 Hz, with the best match of the last 10 ms in the history.
    fn pitch(&self) -> usize {
        let (per_ms, end) = ((self.rate / 1000) as usize, self.history.len());
        let window = per_ms * 10;
        let (shortest, longest) = (per_ms * 5 / 2, per_ms * 15);
        let recent = self.history.get(end - window..).unwrap_or_default();
        let mut best = (0.0f32, longest);
        for lag in shortest..=longest {
            let from = end - window - lag;
            let Some(before) = self.history.get(from..from + window) else { continue };
            let (mut cross, mut energy) = (0.0f32, 1.0f32);
            for (a, b) in recent.iter().zip(before).step_by(2) {
                cross += f32::from(*a) * f32::from(*b);
                energy += f32::from(*b) * f32::from(*b);
            }
            let score = if cross > 0.0 { cross * cross / energy } else { 0.0 };
            if score > best.0 {
                best = (score, lag);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voiced(from: usize, n: usize) -> Vec<i16> {
        // 160 Hz with harmonics: vowel-like, with a period of whole samples.
        let at = |i: usize| {
            let t = (from + i) as f64 * 2.0 * std::f64::consts::PI * 160.0 / 8000.0;
            (6000.0 * t.sin() + 3000.0 * (2.0 * t).sin() + 1500.0 * (3.0 * t).cos()) as i16
        };
        (0..n).map(at).collect()
    }

    #[test]
    fn a_lost_frame_of_a_vowel_goes_on() {
        let mut c = Concealer::new(8000);
        for f in 0..10 {
            c.good(&mut voiced(f * 160, 160));
        }
        let mut made = [0i16; 160];
        c.missing(&mut made);
        let want = voiced(1600, 160);
        let (mut cross, mut a, mut b) = (0.0, 0.0, 0.0);
        for (x, y) in made.iter().zip(&want) {
            cross += f64::from(*x) * f64::from(*y);
            a += f64::from(*x).powi(2);
            b += f64::from(*y).powi(2);
        }
        assert!(cross / (a * b).sqrt() > 0.95, "{}", cross / (a * b).sqrt());
        // The transition back has no larger step than the vowel itself.
        let mut next = voiced(1760, 160);
        c.good(&mut next);
        let largest = want.windows(2).map(|w| (i32::from(w[0]) - i32::from(w[1])).abs()).max().unwrap();
        let seam = (i32::from(made[159]) - i32::from(next[0])).abs();
        assert!(seam <= largest * 2, "{seam} against {largest}");
    }

    #[test]
    fn a_long_gap_ends_in_silence() {
        let mut c = Concealer::new(8000);
        for f in 0..10 {
            c.good(&mut voiced(f * 160, 160));
        }
        let mut made = [0i16; 160];
        for _ in 0..4 {
            c.missing(&mut made);
        }
        assert_eq!(made, [0; 160]);
    }
}
