//! G.711 µ-law and A-law (ITU-T G.711): one byte a sample, tables made at compile time.

static ULAW_TO_LINEAR: [i16; 256] = decode_table(true);
static ALAW_TO_LINEAR: [i16; 256] = decode_table(false);
/// Indexed by the upper 14 (µ-law) or 13 (A-law) bits of the sample, offset to be positive.
static LINEAR_TO_ULAW: [u8; 16384] = ulaw_table();
static LINEAR_TO_ALAW: [u8; 8192] = alaw_table();

/// The sample of a µ-law byte.
#[must_use]
pub fn ulaw_decode(byte: u8) -> i16 {
    ULAW_TO_LINEAR.get(usize::from(byte)).copied().unwrap_or(0)
}

/// The sample of an A-law byte.
#[must_use]
pub fn alaw_decode(byte: u8) -> i16 {
    ALAW_TO_LINEAR.get(usize::from(byte)).copied().unwrap_or(0)
}

/// The µ-law byte nearest to a sample.
#[must_use]
pub fn ulaw_encode(sample: i16) -> u8 {
    let index = (i32::from(sample) + 32768) >> 2;
    LINEAR_TO_ULAW.get(index as usize).copied().unwrap_or(0xff)
}

/// The A-law byte nearest to a sample.
#[must_use]
pub fn alaw_encode(sample: i16) -> u8 {
    let index = (i32::from(sample) + 32768) >> 3;
    LINEAR_TO_ALAW.get(index as usize).copied().unwrap_or(0xd5)
}

const fn expand_ulaw(byte: u8) -> i32 {
    let v = !byte;
    let exponent = (v >> 4) & 7;
    let mantissa = (v & 15) as i32;
    let magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84;
    if v & 0x80 == 0 { magnitude } else { -magnitude }
}

const fn expand_alaw(byte: u8) -> i32 {
    let v = byte ^ 0x55;
    let exponent = (v >> 4) & 7;
    let mantissa = (v & 15) as i32;
    let magnitude = match exponent {
        0 => (mantissa << 4) + 8,
        e => ((mantissa << 4) + 0x108) << (e - 1),
    };
    if v & 0x80 == 0 { -magnitude } else { magnitude }
}

#[expect(clippy::indexing_slicing, reason = "the index runs over the table's own length at compile time")]
const fn decode_table(ulaw: bool) -> [i16; 256] {
    let mut table = [0i16; 256];
    let mut i = 0;
    while i < 256 {
        let linear = if ulaw { expand_ulaw(i as u8) } else { expand_alaw(i as u8) };
        table[i] = linear as i16;
        i += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "the index runs over the table's own length at compile time")]
const fn ulaw_table() -> [u8; 16384] {
    let mut table = [0u8; 16384];
    let mut i = 0;
    while i < 16384 {
        table[i] = compress_ulaw(((i as i32) << 2) - 32768);
        i += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "the index runs over the table's own length at compile time")]
const fn alaw_table() -> [u8; 8192] {
    let mut table = [0u8; 8192];
    let mut i = 0;
    while i < 8192 {
        table[i] = compress_alaw(((i as i32) << 3) - 32768);
        i += 1;
    }
    table
}

const fn compress_ulaw(linear: i32) -> u8 {
    let (sign, magnitude) = if linear < 0 { (0x80u8, -linear) } else { (0, linear) };
    let biased = if magnitude > 32635 { 32635 } else { magnitude } + 0x84;
    let mut exponent = 7u8;
    while exponent > 0 && biased < (0x80 << exponent) {
        exponent -= 1;
    }
    let mantissa = ((biased >> (exponent + 3)) & 15) as u8;
    !(sign | (exponent << 4) | mantissa)
}

const fn compress_alaw(linear: i32) -> u8 {
    let (sign, magnitude) = if linear < 0 { (0u8, -linear - 1) } else { (0x80, linear) };
    let m = if magnitude > 32767 { 32767 } else { magnitude };
    let mut exponent = 7u8;
    while exponent > 0 && m < (0x80 << exponent) {
        exponent -= 1;
    }
    let shift = if exponent < 1 { 4 } else { exponent + 3 };
    let mantissa = ((m >> shift) & 15) as u8;
    (sign | (exponent << 4) | mantissa) ^ 0x55
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

    #[test]
    fn every_code_survives_a_round_trip() {
        for code in 0..=255u8 {
            // µ-law has two zeros; the negative one comes back as the positive.
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
