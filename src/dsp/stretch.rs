//! Time stretching: removes or repeats one pitch period with a crossfade, so that the pitch is kept and
//! nothing clicks.

/// Shortest and longest piece removed or inserted, in 1/400 s: 2.5 to 10 ms.
const SHORTEST: usize = 1;
const LONGEST: usize = 4;
/// Samples compared are at least this far apart: 8 kHz.
const LOOK_RATE: u32 = 8000;
/// Correlation from which two pieces count as periods of one sound.
const ALIKE: f32 = 0.7;
/// Mean square below which it is silence, where everything correlates.
const SILENT: f32 = 40.0 * 40.0;

/// The period with the highest correlation, if sufficient; `at` is the sampling rate, Hz.
fn period(x: &[i16], at: u32) -> Option<usize> {
    let unit = (at / 400) as usize;
    let step = (at / LOOK_RATE).max(1) as usize;
    let longest = (LONGEST * unit).min(x.len() / 2);
    let window = longest;
    let base: f32 = energy(x.get(..window)?, step);
    if base < SILENT * (window / step) as f32 {
        return Some(longest);
    }
    let mut best = (0.0f32, 0);
    for lag in (SHORTEST * unit..=longest).step_by(step) {
        let Some(later) = x.get(lag..lag + window) else { break };
        let pairs = x.iter().zip(later).step_by(step);
        let cross: f32 = pairs.map(|(a, b)| f32::from(*a) * f32::from(*b)).sum();
        let likeness = cross / (base * energy(later, step)).sqrt().max(1.0);
        if likeness > best.0 {
            best = (likeness, lag);
        }
    }
    (best.0 >= ALIKE).then_some(best.1)
}

fn energy(x: &[i16], step: usize) -> f32 {
    x.iter().step_by(step).map(|s| f32::from(*s) * f32::from(*s)).sum()
}

/// Interpolates between two samples, `share` of `whole`.
fn fade(from: i16, to: i16, share: usize, whole: usize) -> i16 {
    let (s, w) = (share as i32, whole.max(1) as i32);
    ((i32::from(from) * (w - s) + i32::from(to) * s) / w) as i16
}

/// Removes one period at the start of `x`; returns the number of samples left: all if the sound is not
/// periodic.
pub fn shorten(x: &mut [i16], rate: u32) -> usize {
    let Some(lag) = period(x, rate) else { return x.len() };
    for i in 0..lag {
        let (Some(from), Some(to)) = (x.get(i).copied(), x.get(i + lag).copied()) else { break };
        if let Some(s) = x.get_mut(i) {
            *s = fade(from, to, i, lag);
        }
    }
    x.copy_within(2 * lag.., lag);
    x.len() - lag
}

/// Repeats the first period of the first `len` samples of `x`; returns the new number of samples, unchanged
/// if the sound is not periodic or `x` is too short.
pub fn lengthen(x: &mut [i16], len: usize, rate: u32) -> usize {
    let Some(lag) = x.get(..len).and_then(|x| period(x, rate)).filter(|lag| len + lag <= x.len()) else {
        return len;
    };
    // The first period, then the second crossfaded with the first, then the second and the rest.
    x.copy_within(lag..len, 2 * lag);
    for i in 0..lag {
        let (Some(from), Some(to)) = (x.get(2 * lag + i).copied(), x.get(i).copied()) else { break };
        if let Some(s) = x.get_mut(lag + i) {
            *s = fade(from, to, i, lag);
        }
    }
    len + lag
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    fn vowel(rate: u32, n: usize) -> Vec<i16> {
        let at = |i: usize| {
            let t = i as f64 * 2.0 * PI * 170.0 / f64::from(rate);
            (6000.0 * t.sin() + 3000.0 * (3.0 * t).sin()) as i16
        };
        (0..n).map(at).collect()
    }

    fn largest_step(x: &[i16]) -> i32 {
        x.windows(2).map(|w| (i32::from(w[0]) - i32::from(w[1])).abs()).max().unwrap_or(0)
    }

    #[test]
    fn a_vowel_gets_shorter_and_longer_without_a_click() {
        for rate in [8000, 16_000, 48_000] {
            let n = rate as usize / 25;
            let whole = vowel(rate, n);
            let mut short = whole.clone();
            let left = shorten(&mut short, rate);
            assert!(
                (n - left).abs_diff(rate as usize / 170) <= 3 * rate as usize / 8000,
                "{rate}: {}",
                n - left
            );
            assert!(largest_step(&short[..left]) <= largest_step(&whole) * 5 / 4, "{rate}");
            let mut long = vec![0; n * 2];
            long[..n].copy_from_slice(&whole);
            let more = lengthen(&mut long, n, rate);
            assert!(more > n && largest_step(&long[..more]) <= largest_step(&whole) * 5 / 4, "{rate}");
            // What follows is unchanged.
            assert_eq!(long[more - 50..more], whole[n - 50..]);
            assert_eq!(short[left - 50..left], whole[n - 50..]);
        }
    }

    #[test]
    fn noise_is_left_alone_and_silence_is_not() {
        let mut rng = crate::base::rng::Rng::from_number(3);
        let mut noise: Vec<i16> = (0..320).map(|_| rng.below(20_000) as i16 - 10_000).collect();
        assert_eq!(shorten(&mut noise, 8000), 320);
        assert_eq!(lengthen(&mut noise, 160, 8000), 160);
        assert_eq!(shorten(&mut [3; 160], 8000), 80);
        assert_eq!(lengthen(&mut [0; 320], 160, 8000), 240);
        assert_eq!(lengthen(&mut [0; 170], 160, 8000), 160, "no room");
        assert_eq!(shorten(&mut [], 8000), 0);
    }
}
