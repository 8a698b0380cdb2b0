//! Rank 1: sums, rates, tones and what fills a gap. Frames are slices; nothing is allocated per frame.

pub mod conceal;
pub mod limiter;
pub mod resample;
pub mod tone;

/// Length of a frame, ms.
pub const FRAME_MS: u32 = 20;
/// Samples of a frame at the highest rate, 48 kHz.
pub const MAX_FRAME: usize = 960;

/// Samples of a frame at `rate` Hz.
#[must_use]
pub fn frame_len(rate: u32) -> usize {
    ((rate / 1000 * FRAME_MS) as usize).min(MAX_FRAME)
}

/// Adds a frame to a sum.
pub fn add(sum: &mut [i32], frame: &[i16]) {
    for (s, x) in sum.iter_mut().zip(frame) {
        *s += i32::from(*x);
    }
}

/// `out = sum − own`, softly limited: what one listener hears.
pub fn minus_own(sum: &[i32], own: &[i16], out: &mut [i16]) {
    for ((s, x), o) in sum.iter().zip(own).zip(out) {
        *o = limiter::soft(*s - i32::from(*x));
    }
}

/// `out = sum`, softly limited.
pub fn limited(sum: &[i32], out: &mut [i16]) {
    for (s, o) in sum.iter().zip(out) {
        *o = limiter::soft(*s);
    }
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
    fn frames_are_twenty_milliseconds() {
        assert_eq!([8000, 16_000, 48_000].map(frame_len), [160, 320, 960]);
    }
}
