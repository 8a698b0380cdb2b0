//! Resampling by 2, 3 and 6 between 8, 16 and 48 kHz: polyphase windowed-sinc filters that keep their state
//! across frames. Other rates are converted off the media tick.

use std::f64::consts::PI;

use multiversion::multiversion;

use super::MAX_FRAME;

/// Filter length per unit of the ratio: longer is steeper but adds delay.
const TAPS_PER_PHASE: usize = 26;
const RATIOS: [usize; 3] = [2, 3, 6];

/// Outputs of one phase computed together, for up- and downsampling: as many as utilize a vector unit and fit
/// its registers. Frames of every rate are multiples of these.
const UP: usize = 32;
const DOWN: usize = 16;

/// A converter between two rates, one a multiple of the other.
#[derive(Debug, Clone)]
pub struct Resampler {
    from: u32,
    to: u32,
    /// The low-pass filter, by phase.
    phases: Box<[Phase]>,
    /// Input, preceded by the last [`TAPS_PER_PHASE`] samples of the previous frame: one plane for
    /// upsampling, one per phase for downsampling.
    planes: Box<[Plane]>,
}

impl Resampler {
    /// A converter; `None` unless one rate is 2, 3 or 6 times the other.
    #[must_use]
    pub fn new(from: u32, to: u32) -> Option<Self> {
        let (low, high) = (from.min(to), from.max(to));
        let ratio = usize::try_from(high.checked_div(low)?).ok()?;
        if high % low != 0 || !RATIOS.contains(&ratio) {
            return None;
        }
        let taps = low_pass(ratio);
        // Zero stuffing reduces the level. The filter is symmetric: its direction does not matter.
        let (gain, planes) = if to > from { (ratio as f32, 1) } else { (1.0, ratio) };
        let phase = |p: usize| {
            let mut run = [0.0; TAPS_PER_PHASE];
            let every = taps.iter().skip(p).step_by(ratio);
            run.iter_mut().zip(every).for_each(|(r, t)| *r = t * gain);
            if to > from {
                run.reverse();
            }
            // In the phase with the center tap all other taps fall on zeros of the sinc.
            let middle = run.iter().position(|t| *t > gain / ratio as f32 * 0.99);
            Phase { taps: run, only: middle.filter(|_| p + 1 == ratio) }
        };
        let plane = || vec![0.0; TAPS_PER_PHASE + MAX_FRAME / planes].into_boxed_slice();
        Some(Self {
            from,
            to,
            phases: (0..ratio).map(phase).collect(),
            planes: (0..planes).map(|_| plane()).collect(),
        })
    }

    /// Input rate, Hz.
    #[must_use]
    pub fn from(&self) -> u32 {
        self.from
    }

    /// Output rate, Hz.
    #[must_use]
    pub fn to(&self) -> u32 {
        self.to
    }

    /// Resets the filter state.
    pub fn reset(&mut self) {
        self.planes.iter_mut().for_each(|p| p.fill(0.0));
    }

    /// Copies the state of another converter with the same rates.
    pub fn copy_from(&mut self, other: &Self) {
        for (to, from) in self.planes.iter_mut().zip(&other.planes) {
            to.iter_mut().zip(from).for_each(|(t, f)| *t = *f);
        }
    }

    /// Converts one frame; `out` must have the length of the same time at the output rate.
    pub fn process(&mut self, input: &[i16], out: &mut [i16]) {
        let n = input.len().min(MAX_FRAME) / self.planes.len();
        spread(input, &mut self.planes);
        if self.to > self.from {
            up(&self.planes, &self.phases, out)
        } else {
            down(&self.planes, &self.phases, out)
        }
        for plane in &mut self.planes {
            plane.copy_within(n..n + TAPS_PER_PHASE, 0);
        }
    }
}

/// Every `ratio`-th tap.
#[derive(Debug, Clone)]
struct Phase {
    taps: [f32; TAPS_PER_PHASE],
    /// Index of the only non-zero tap, if there is just one.
    only: Option<usize>,
}

type Plane = Box<[f32]>;

/// Appends a frame to the history, distributing samples over the planes.
#[multiversion(targets("x86_64+avx2"))]
fn spread(input: &[i16], planes: &mut [Plane]) {
    match planes {
        [all] => {
            for (b, x) in all.iter_mut().skip(TAPS_PER_PHASE).zip(input) {
                *b = f32::from(*x);
            }
        }
        // The common case, written so that the compiler can vectorize it.
        [even, odd] => {
            let rooms = even.iter_mut().skip(TAPS_PER_PHASE).zip(odd.iter_mut().skip(TAPS_PER_PHASE));
            for ((e, o), [x, y]) in rooms.zip(input.as_chunks().0) {
                (*e, *o) = (f32::from(*x), f32::from(*y));
            }
        }
        more => {
            let count = more.len();
            for (p, plane) in more.iter_mut().enumerate() {
                let samples = input.iter().skip(p).step_by(count);
                for (b, x) in plane.iter_mut().skip(TAPS_PER_PHASE).zip(samples) {
                    *b = f32::from(*x);
                }
            }
        }
    }
}

/// Each input sample produces one output of every phase.
#[multiversion(targets("x86_64+avx2"))]
fn up(planes: &[Plane], phases: &[Phase], out: &mut [i16]) {
    let Some(plane) = planes.first() else { return };
    match phases.len() {
        2 => up_by_two(plane, phases, out),
        3 => up_by::<3>(plane, phases, out),
        _ => up_by::<6>(plane, phases, out),
    }
}

/// The common case, written so that the compiler can vectorize it.
#[inline(always)]
fn up_by_two(plane: &[f32], phases: &[Phase], out: &mut [i16]) {
    let [first, second] = phases else { return };
    let (mut one, mut other) = ([0; UP], [0; UP]);
    for (block, out) in out.as_chunks_mut::<{ 2 * UP }>().0.iter_mut().enumerate() {
        round(&filter(plane, block * UP, first, [0.0; UP]), &mut one);
        round(&filter(plane, block * UP, second, [0.0; UP]), &mut other);
        for ((to, a), b) in out.as_chunks_mut().0.iter_mut().zip(&one).zip(&other) {
            *to = [*a, *b];
        }
    }
}

#[inline(always)]
fn up_by<const N: usize>(plane: &[f32], phases: &[Phase], out: &mut [i16]) {
    let mut samples = [[0; UP]; N];
    for (block, out) in out.chunks_mut(UP * N).enumerate() {
        for (samples, taps) in samples.iter_mut().zip(phases) {
            round(&filter(plane, block * UP, taps, [0.0; UP]), samples);
        }
        for (lane, group) in out.as_chunks_mut::<N>().0.iter_mut().enumerate().take(UP) {
            for (o, samples) in group.iter_mut().zip(&samples) {
                *o = samples.get(lane).copied().unwrap_or(0);
            }
        }
    }
}

/// Each output is the sum over all phases of the input.
#[multiversion(targets("x86_64+avx2"))]
fn down(planes: &[Plane], phases: &[Phase], out: &mut [i16]) {
    for (block, out) in out.as_chunks_mut::<DOWN>().0.iter_mut().enumerate() {
        let mut sums = [0.0; DOWN];
        for (plane, taps) in planes.iter().zip(phases) {
            sums = filter(plane, block * DOWN, taps, sums);
        }
        round(&sums, out);
    }
}

/// Adds the filter outputs from position `at` on, vectorized over the lanes.
#[inline(always)]
fn filter<const N: usize>(plane: &[f32], at: usize, phase: &Phase, mut sums: [f32; N]) -> [f32; N] {
    let span = plane.get(at + 1..at + TAPS_PER_PHASE + N).unwrap_or_default();
    if let Some(only) = phase.only {
        if let (Some(window), Some(t)) = (span.get(only..only + N), phase.taps.get(only)) {
            sums.iter_mut().zip(window).for_each(|(s, x)| *s += x * t);
        }
        return sums;
    }
    for (window, t) in span.array_windows::<N>().zip(&phase.taps) {
        for (s, x) in sums.iter_mut().zip(window) {
            *s += x * t;
        }
    }
    sums
}

/// Clamps to 16 bits and rounds, ties to even, by adding a number whose last digit has the value 1. A loop,
/// since `map` of an array is a function of its own, compiled without the vector unit.
#[inline(always)]
fn round<const N: usize>(sums: &[f32; N], out: &mut [i16; N]) {
    const LAST_DIGIT_IS_ONE: f32 = 12_582_912.0;
    for (o, v) in out.iter_mut().zip(sums) {
        *o = (v.clamp(-32_768.0, 32_767.0) + LAST_DIGIT_IS_ONE).to_bits() as i16;
    }
}

/// A Kaiser-windowed sinc with its edge at the lower rate's Nyquist frequency: flat up to 0.425 of that rate
/// (3.4 kHz at 8 kHz), −60 dB from 0.575 on (4.6 kHz), so that aliases stay out of the flat part.
fn low_pass(ratio: usize) -> Vec<f32> {
    let len = TAPS_PER_PHASE * ratio - 1;
    const BETA: f64 = 6.0;
    let middle = (len - 1) as f64 / 2.0;
    let cutoff = 1.0 / ratio as f64;
    let tap = |i: usize| {
        let t = i as f64 - middle;
        let sinc = if t.abs() < 1e-9 { 1.0 } else { (PI * cutoff * t).sin() / (PI * cutoff * t) };
        let r = t / (middle + 0.5);
        cutoff * sinc * bessel(BETA * (1.0 - r * r).max(0.0).sqrt()) / bessel(BETA)
    };
    let taps: Vec<f64> = (0..len).map(tap).collect();
    let total: f64 = taps.iter().sum();
    taps.iter().map(|t| (t / total) as f32).collect()
}

/// Modified Bessel function of order zero, by its power series.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..32 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::frame_len;

    /// Amplitude of `listen` in the second half of the output for a tone of amplitude 10000.
    fn response(from: u32, to: u32, tone: f64, listen: f64) -> f64 {
        let mut r = Resampler::new(from, to).unwrap();
        let (n, m) = (frame_len(from), frame_len(to));
        let mut out = Vec::new();
        for f in 0..50 {
            let frame: Vec<i16> = (0..n)
                .map(|i| (10_000.0 * (2.0 * PI * tone * (f * n + i) as f64 / f64::from(from)).sin()) as i16)
                .collect();
            let mut o = vec![0i16; m];
            r.process(&frame, &mut o);
            out.extend(o);
        }
        let half = &out[out.len() / 2..];
        let (mut re, mut im) = (0.0, 0.0);
        for (i, x) in half.iter().enumerate() {
            let a = 2.0 * PI * listen * i as f64 / f64::from(to);
            re += f64::from(*x) * a.cos();
            im += f64::from(*x) * a.sin();
        }
        2.0 * (re * re + im * im).sqrt() / half.len() as f64
    }

    #[test]
    fn the_pass_band_is_flat_and_images_and_aliases_are_far_down() {
        for (from, to) in [
            (8000, 16_000),
            (8000, 48_000),
            (16_000, 48_000),
            (16_000, 8000),
            (48_000, 8000),
            (48_000, 16_000),
        ] {
            let low = f64::from(from.min(to));
            let decibels =
                |tone: f64, listen: f64| 20.0 * (response(from, to, tone, listen) / 10_000.0).log10();
            for step in 1..=17 {
                let tone = low * 0.025 * f64::from(step);
                let level = decibels(tone, tone);
                assert!(level.abs() < 0.15, "{from}->{to}: {tone} Hz at {level} dB");
                // Upsampling: the image of a tone; downsampling: the alias of a tone above the new band.
                let (far, near) = (low - tone, tone);
                let level = if to > from { decibels(near, far) } else { decibels(far, near) };
                assert!(level < -60.0, "{from}->{to}: {far} and {near} Hz: {level} dB");
            }
        }
    }

    #[test]
    fn samples_are_rounded_to_the_nearest() {
        let mut out = [0; 8];
        round(&[0.4, 0.6, -0.6, 2.5, 3.5, -7.2, 4e9, -4e9], &mut out);
        assert_eq!(out, [0, 1, -1, 2, 4, -7, 32_767, -32_768]);
    }

    #[test]
    fn only_whole_ratios() {
        assert!(Resampler::new(8000, 8000).is_none());
        assert!(Resampler::new(44_100, 48_000).is_none());
        assert!(Resampler::new(0, 8000).is_none());
        assert!(Resampler::new(8000, 96_000).is_none());
        assert!(Resampler::new(8000, 32_000).is_none());
    }

    #[test]
    fn full_scale_does_not_wrap() {
        let mut r = Resampler::new(8000, 16_000).unwrap();
        let square: Vec<i16> = (0..160).map(|i| if i / 8 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let mut out = [0i16; 320];
        r.process(&square, &mut out);
        r.process(&square, &mut out);
        assert!(out.windows(2).all(|w| (i32::from(w[0]) - i32::from(w[1])).abs() < 45_000));
    }
}
