//! G.711 µ-law and A-law (ITU-T G.711): one byte per sample. A code consists of sign, segment and step, like
//! a floating-point number; conversion uses that format, vectorized and without tables, which would occupy
//! the cache.

use multiversion::multiversion;

/// Offset added to µ-law magnitudes, so that every segment starts at a power of two.
const BIAS: i32 = 0x84;
/// The largest magnitude with a µ-law code.
const ULAW_MAX: i32 = 32_635;
/// Below this, in segment 0, A-law steps have the size of those in segment 1.
const FIRST: i32 = 0x100;
/// Bit position of the upper four fraction bits in a 32-bit float.
const STEP_BITS: u32 = 19;
const EXPONENT_BIAS: i32 = 127;
/// Exponent field at the start of segment 0.
const SEGMENT_0: i32 = EXPONENT_BIAS + 7;
/// Samples processed together; frames of every rate are multiples of this.
const LANES: usize = 16;

/// Decodes µ-law into `out`, as far as it fits; returns the number of samples.
pub fn ulaw_to_samples(bytes: &[u8], out: &mut [i16]) -> usize {
    each(bytes, out, ulaw_decode)
}

/// Decodes A-law into `out`, as far as it fits; returns the number of samples.
pub fn alaw_to_samples(bytes: &[u8], out: &mut [i16]) -> usize {
    each(bytes, out, alaw_decode)
}

/// Encodes to the nearest µ-law codes, as far as `out` allows; returns the number of bytes.
pub fn samples_to_ulaw(samples: &[i16], out: &mut [u8]) -> usize {
    each(samples, out, ulaw_encode)
}

/// Encodes to the nearest A-law codes, as far as `out` allows; returns the number of bytes.
pub fn samples_to_alaw(samples: &[i16], out: &mut [u8]) -> usize {
    each(samples, out, alaw_encode)
}

#[multiversion(targets("x86_64+avx2"))]
fn each<A: Copy, B, F: Fn(A) -> B>(from: &[A], to: &mut [B], convert: F) -> usize {
    let n = from.len().min(to.len());
    let (from, to) = (from.get(..n).unwrap_or_default(), to.get_mut(..n).unwrap_or_default());
    let ((blocks, rest), (done, left)) = (from.as_chunks::<LANES>(), to.as_chunks_mut::<LANES>());
    for (block, done) in blocks.iter().zip(done) {
        for (b, d) in block.iter().zip(done) {
            *d = convert(*b);
        }
    }
    for (r, l) in rest.iter().zip(left) {
        *l = convert(*r);
    }
    n
}

/// Center of the step given by the seven lower bits of a code, relative to 2^7, the start of segment 0.
#[inline(always)]
fn middle(code: u32) -> i32 {
    let number = f32::from_bits((code << STEP_BITS) + ((SEGMENT_0 as u32) << 23) + (1 << (STEP_BITS - 1)));
    // Next to 2^23 the fraction has a resolution of 1.
    const LAST_DIGIT_IS_ONE: f32 = 8_388_608.0;
    ((number + LAST_DIGIT_IS_ONE).to_bits() & 0x007f_ffff) as i32
}

/// Segment and step of a magnitude of at least 2^7: the inverse of [`middle`].
#[inline(always)]
fn step(magnitude: i32) -> i32 {
    ((magnitude as f32).to_bits() >> STEP_BITS) as i32 - (SEGMENT_0 << 4)
}

/// The sample of a µ-law byte.
#[must_use]
#[inline(always)]
pub fn ulaw_decode(byte: u8) -> i16 {
    let code = u32::from(!byte);
    let magnitude = middle(code & 0x7f) - BIAS;
    let sign = -((code >> 7) as i32);
    ((magnitude ^ sign) - sign) as i16
}

/// The sample of an A-law byte.
#[must_use]
#[inline(always)]
pub fn alaw_decode(byte: u8) -> i16 {
    let code = u32::from(byte ^ 0x55);
    let low = ((code & 0x0f) << 4) as i32 + 8;
    let high = middle(code & 0x7f);
    let magnitude = if code & 0x70 == 0 { low } else { high };
    (if code & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

/// The µ-law byte nearest to a sample.
#[must_use]
#[inline(always)]
pub fn ulaw_encode(sample: i16) -> u8 {
    // 14 significant bits.
    let linear = i32::from(sample) & !3;
    let sign = (linear >> 24) & 0x80;
    let biased = linear.abs().min(ULAW_MAX) + BIAS;
    !((sign | step(biased)) as u8)
}

/// The A-law byte nearest to a sample.
#[must_use]
#[inline(always)]
pub fn alaw_encode(sample: i16) -> u8 {
    // 13 significant bits; negative numbers are mirrored at −½.
    let linear = i32::from(sample) & !7;
    let sign = (!linear >> 24) & 0x80;
    let magnitude = linear ^ (linear >> 31);
    let code = if magnitude < FIRST { magnitude >> 4 } else { step(magnitude) };
    ((sign | code) as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_of_the_recommendation() {
        assert_eq!((ulaw_decode(0xff), ulaw_decode(0x7f)), (0, 0));
        assert_eq!((ulaw_decode(0x80), ulaw_decode(0x00)), (32124, -32124));
        assert_eq!((alaw_decode(0xd5), alaw_decode(0x55)), (8, -8));
        assert_eq!((alaw_decode(0xaa), alaw_decode(0x2a)), (32256, -32256));
        assert_eq!((ulaw_encode(0), alaw_encode(0)), (0xff, 0xd5));
    }

    /// Segment by comparison, according to the tables of the recommendation.
    fn segment(magnitude: i32) -> u8 {
        (1..8).rev().find(|s| magnitude >= 0x80 << s).unwrap_or(0)
    }

    fn ulaw_of_the_tables(sample: i16) -> u8 {
        let linear = i32::from(sample) >> 2 << 2;
        let biased = linear.abs().min(32_635) + 0x84;
        let e = segment(biased);
        !(if linear < 0 { 0x80 } else { 0 } | e << 4 | (biased >> (e + 3)) as u8 & 15)
    }

    fn alaw_of_the_tables(sample: i16) -> u8 {
        let linear = i32::from(sample) >> 3 << 3;
        let (sign, magnitude) = if linear < 0 { (0, -linear - 1) } else { (0x80, linear) };
        let e = segment(magnitude);
        (sign | e << 4 | (magnitude >> (e.max(1) + 3)) as u8 & 15) ^ 0x55
    }

    #[test]
    fn every_sample_gets_the_code_of_the_tables_alone_and_in_a_frame() {
        let all: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        let (mut u, mut a) = (vec![0; all.len()], vec![0; all.len()]);
        assert_eq!((samples_to_ulaw(&all, &mut u), samples_to_alaw(&all, &mut a)), (65_536, 65_536));
        for ((s, u), a) in all.iter().zip(u).zip(a) {
            assert_eq!((u, a), (ulaw_of_the_tables(*s), alaw_of_the_tables(*s)), "{s}");
            assert_eq!((u, a), (ulaw_encode(*s), alaw_encode(*s)), "{s}");
        }
    }

    #[test]
    fn every_code_is_the_middle_of_its_step_alone_and_in_a_frame() {
        let all: Vec<u8> = (0..=255).collect();
        let (mut u, mut a) = ([0; 256], [0; 256]);
        assert_eq!((ulaw_to_samples(&all, &mut u), alaw_to_samples(&all, &mut a)), (256, 256));
        for (code, (u, a)) in all.iter().copied().zip(u.into_iter().zip(a)) {
            assert_eq!((u, a), (ulaw_decode(code), alaw_decode(code)));
            let v = !code;
            let (e, m) = ((v >> 4) & 7, i32::from(v & 15));
            assert_eq!(i32::from(u).abs(), (((m << 3) + 0x84) << e) - 0x84, "{code:#x}");
            let v = code ^ 0x55;
            let (e, m) = ((v >> 4) & 7, i32::from(v & 15));
            let want = if e == 0 { (m << 4) + 8 } else { ((m << 4) + 0x108) << (e - 1) };
            assert_eq!(i32::from(a).abs(), want, "{code:#x}");
        }
        let (mut few, mut bytes) = ([0; 5], [0; 21]);
        assert_eq!(ulaw_to_samples(&all, &mut few), 5);
        assert_eq!(samples_to_alaw(&[500; 21], &mut bytes), 21);
        assert_eq!((few[4], bytes), (ulaw_decode(4), [alaw_encode(500); 21]));
    }

    #[test]
    fn every_code_survives_a_round_trip() {
        for code in 0..=255u8 {
            // µ-law has two zeros; the negative one is decoded like the positive one.
            let want = if code == 0x7f { 0xff } else { code };
            assert_eq!(ulaw_encode(ulaw_decode(code)), want, "µ {code:#x}");
            assert_eq!(alaw_encode(alaw_decode(code)), code, "A {code:#x}");
        }
    }

    #[test]
    fn encoding_picks_the_right_segment() {
        for sample in (i16::MIN..=i16::MAX).step_by(7) {
            let error = |decoded: i16| (i32::from(decoded) - i32::from(sample)).abs();
            let limit = i32::from(sample).abs() / 16 + 16;
            let clipped = if sample < -32635 { 660 } else { 0 };
            assert!(error(ulaw_decode(ulaw_encode(sample))) <= limit + clipped, "µ {sample}");
            assert!(error(alaw_decode(alaw_encode(sample))) <= limit + 520, "A {sample}");
        }
    }
}
