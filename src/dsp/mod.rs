//! Rank 1: mixing, resampling, tones, and concealment. Frames are slices; no allocation per frame.

pub mod comfort_noise;
pub mod conceal;
pub mod dtmf;
pub mod level;
pub mod limiter;
pub mod prefetch;
pub mod resample;
pub mod stretch;
pub mod tone;

use multiversion::multiversion;

/// Length of a frame, ms.
pub const FRAME_MS: u32 = 20;
/// Samples of a frame at the highest rate, 48 kHz.
pub const MAX_FRAME: usize = 960;

/// Samples processed together; frames of every rate are multiples of this.
const BLOCK: usize = 80;
/// 16-bit samples per vector operation.
const LANES: usize = 32;
const _: () = assert!(BLOCK.is_multiple_of(16));

/// Samples of a frame at `rate` Hz.
#[must_use]
pub fn frame_len(rate: u32) -> usize {
    ((rate / 1000 * FRAME_MS) as usize).min(MAX_FRAME)
}

/// Copies a frame; where the lengths differ, as much as fits.
pub fn copy(from: &[i16], to: &mut [i16]) {
    for (t, f) in to.iter_mut().zip(from) {
        *t = *f;
    }
}

/// Adds a frame to a mix.
#[multiversion(targets("x86_64+avx2"))]
pub fn add(sum: &mut [i32], frame: &[i16]) {
    for (s, x) in sum.as_chunks_mut::<BLOCK>().0.iter_mut().zip(frame.as_chunks::<BLOCK>().0) {
        for (s, x) in s.iter_mut().zip(x) {
            *s += i32::from(*x);
        }
    }
}

/// Adds a frame to a 16-bit mix, wrapping; returns the largest magnitude of the frame.
#[multiversion(targets("x86_64+avx2"))]
pub fn add_narrow(sum: &mut [i16], frame: &[i16]) -> i32 {
    let (mut low, mut high) = ([0i16; LANES], [0i16; LANES]);
    for (s, x) in sum.as_chunks_mut::<LANES>().0.iter_mut().zip(frame.as_chunks::<LANES>().0) {
        for (((s, x), l), h) in s.iter_mut().zip(x).zip(&mut low).zip(&mut high) {
            *s = s.wrapping_add(*x);
            *l = (*l).min(*x);
            *h = (*h).max(*x);
        }
    }
    magnitude(low, high)
}

/// Like [`add_narrow`] for two frames, which takes little longer than for one; returns the sum of their
/// largest magnitudes.
#[multiversion(targets("x86_64+avx2"))]
pub fn add_narrow_pair(sum: &mut [i16], first: &[i16], second: &[i16]) -> i32 {
    let (mut low, mut high) = ([0i16; LANES], [0i16; LANES]);
    let (mut low2, mut high2) = ([0i16; LANES], [0i16; LANES]);
    let frames = first.as_chunks::<LANES>().0.iter().zip(second.as_chunks::<LANES>().0);
    for (s, (x, y)) in sum.as_chunks_mut::<LANES>().0.iter_mut().zip(frames) {
        let sum = s.iter_mut().zip(x.iter().zip(y));
        let extremes = low.iter_mut().zip(&mut high).zip(low2.iter_mut().zip(&mut high2));
        for ((s, (x, y)), ((l, h), (l2, h2))) in sum.zip(extremes) {
            *s = s.wrapping_add(*x).wrapping_add(*y);
            (*l, *h) = ((*l).min(*x), (*h).max(*x));
            (*l2, *h2) = ((*l2).min(*y), (*h2).max(*y));
        }
    }
    magnitude(low, high) + magnitude(low2, high2)
}

/// The largest magnitude, given minimum and maximum per lane.
#[inline(always)]
fn magnitude(low: [i16; LANES], high: [i16; LANES]) -> i32 {
    let mut most = 0i16;
    for (l, h) in low.into_iter().zip(high) {
        // Magnitude 32768 does not fit: it appears as the maximum, see below.
        most = most.max(h.max(0i16.saturating_sub(l)));
    }
    i32::from(most) + i32::from(most == i16::MAX)
}

/// `out = a − b`, wrapping.
#[multiversion(targets("x86_64+avx2"))]
pub fn subtract(a: &[i16], b: &[i16], out: &mut [i16]) {
    let frames = a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0);
    for ((a, b), o) in frames.zip(out.as_chunks_mut::<LANES>().0) {
        for ((a, b), o) in a.iter().zip(b).zip(o) {
            *o = a.wrapping_sub(*b);
        }
    }
}

/// `out = sum − own`, softly limited: the mix for one listener.
pub fn minus_own<T: Copy + Into<i32>>(sum: &[T], own: &[i16], out: &mut [i16]) {
    for ((s, x), o) in sum.iter().zip(own).zip(out) {
        *o = limiter::soft((*s).into() - i32::from(*x));
    }
}

/// `out = sum`, softly limited.
pub fn limited<T: Copy + Into<i32>>(sum: &[T], out: &mut [i16]) {
    for (s, o) in sum.iter().zip(out) {
        *o = limiter::soft((*s).into());
    }
}

/// Converts the mix to 16 bits; false if a sample does not fit.
#[multiversion(targets("x86_64+avx2"))]
pub fn narrow(sum: &[i32], out: &mut [i16]) -> bool {
    let mut over = 0u32;
    for (s, o) in sum.as_chunks::<BLOCK>().0.iter().zip(out.as_chunks_mut::<BLOCK>().0) {
        for (s, o) in s.iter().zip(o) {
            // After adding an offset, sums beyond 16 bits have a bit set above them.
            over |= s.wrapping_add(0x8000) as u32;
            *o = *s as i16;
        }
    }
    over <= 0xffff
}

/// Like [`minus_own`], vectorized for a 16-bit mix; false if the result needs the limiter, and `out` is
/// invalid.
#[multiversion(targets("x86_64+avx2"))]
pub fn quiet_minus_own(sum: &[i16], own: &[i16], out: &mut [i16]) -> bool {
    let (mut low, mut high) = ([0i16; LANES], [0i16; LANES]);
    let frames = sum.as_chunks::<LANES>().0.iter().zip(own.as_chunks::<LANES>().0);
    for ((s, x), o) in frames.zip(out.as_chunks_mut::<LANES>().0) {
        for ((((s, x), o), l), h) in s.iter().zip(x).zip(o).zip(&mut low).zip(&mut high) {
            *o = s.saturating_sub(*x);
            *l = (*l).min(*o);
            *h = (*h).max(*o);
        }
    }
    magnitude(low, high) <= limiter::KNEE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_hears_all_but_itself() {
        let frames = [[100i16; 160], [-30; 160], [7; 160]];
        let mut sum = [0i32; 160];
        for f in &frames {
            add(&mut sum, f);
        }
        let mut out = [0i16; 160];
        minus_own(&sum, &frames[0], &mut out);
        assert_eq!(out, [-23; 160]);
        limited(&sum, &mut out);
        assert_eq!(out, [77; 160]);
    }

    #[test]
    fn quiet_sums_are_mixed_as_loud_ones_are() {
        // Too loud: the mix; the mix without a loud party; neither.
        for (scale, own, quiet) in
            [(40_000, 0, (false, true)), (16_000, 12_000, (true, false)), (9000, 400, (true, true))]
        {
            let sum: Vec<i32> = (0..320).map(|i| scale * (i % 21 - 10) / 10).collect();
            let own: Vec<i16> = (0..320).map(|i| (own * (10 - i % 21) / 10) as i16).collect();
            let (mut sum16, mut fast, mut slow) = ([0; 320], [0; 320], [0; 320]);
            assert_eq!(narrow(&sum, &mut sum16), quiet.0, "{scale}");
            minus_own(&sum, &own, &mut slow);
            if quiet.0 {
                assert_eq!(quiet_minus_own(&sum16, &own, &mut fast), quiet.1, "{scale}");
                assert_eq!(fast == slow, quiet.1, "{scale}");
            }
        }
        for (edge, quiet) in [(32_767, true), (32_768, false), (-32_768, true), (-32_769, false)] {
            assert_eq!(narrow(&[edge; 160], &mut [0; 160]), quiet, "{edge}");
        }
        let knee = limiter::KNEE as i16;
        assert!(quiet_minus_own(&[0; 160], &[knee; 160], &mut [0; 160]));
        assert!(!quiet_minus_own(&[0; 160], &[-1 - knee; 160], &mut [0; 160]));
        assert!(!quiet_minus_own(&[0; 160], &[i16::MIN; 160], &mut [0; 160]));
    }

    #[test]
    fn narrow_sums_wrap_and_come_back() {
        let (mut sum, mut back) = ([30_000i16; 160], [0; 160]);
        assert_eq!(add_narrow(&mut sum, &[5000; 160]), 5000);
        assert_eq!(sum, [-30_536; 160]);
        subtract(&sum, &[5000; 160], &mut back);
        assert_eq!(back, [30_000; 160]);
        assert_eq!(add_narrow(&mut sum, &[i16::MIN; 160]), 32_768);
    }

    #[test]
    fn frames_are_twenty_milliseconds() {
        assert_eq!([8000, 16_000, 48_000].map(frame_len), [160, 320, 960]);
    }
}
