//! ITU-T G.722 at 64 kbit/s (mode 1): two sub-bands of ADPCM, split and joined by a quadrature mirror
//! filter. One byte holds two samples at 16 kHz: six bits of the lower band, two of the upper.
//!
//! Names and block numbers follow section 6 of the recommendation. Arithmetic is 16-bit, saturated where
//! specified.

/// Decision levels of the lower band's quantizer (table 15).
const Q6: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219,
    1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
/// Logarithmic scale factor multipliers, by codeword (table 18).
const WL: [i32; 8] = [-60, 3042, 1198, 538, 334, 172, 58, -30];
const WH: [i32; 4] = [798, -214, 798, -214];
/// Inverse of the logarithm (table 19).
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];
/// Output values of the inverse quantizers with 2, 4 and 6 bits.
const QM2: [i32; 4] = [-7408, -1616, 7408, 1616];
const QM4: [i32; 16] =
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0];
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360,
    -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688,
    -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856,
    7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136,
    -432, -136,
];
/// Half of the symmetric mirror filter (table 11).
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

fn sat(v: i32) -> i32 {
    v.clamp(-32_768, 32_767)
}

fn at<const N: usize>(table: &[i32; N], index: usize) -> i32 {
    table.get(index).copied().unwrap_or(0)
}

/// One sub-band: its scale factor and its predictor with two poles and six zeros.
#[derive(Debug, Clone)]
struct Band {
    /// Signal estimate for the next sample.
    s: i32,
    sz: i32,
    /// Scale factor and its logarithm.
    det: i32,
    nb: i32,
    /// Previous reconstructed and partially reconstructed signals.
    r: [i32; 2],
    p: [i32; 2],
    /// Poles and zeros.
    a: [i32; 2],
    b: [i32; 6],
    /// Previous quantized differences.
    d: [i32; 6],
}

impl Band {
    const fn new(det: i32) -> Self {
        Self { s: 0, sz: 0, det, nb: 0, r: [0; 2], p: [0; 2], a: [0; 2], b: [0; 6], d: [0; 6] }
    }

    /// LOGSCL and SCALEL, or LOGSCH and SCALEH: `limit` of the logarithm, `shift` of the band.
    fn scale(&mut self, step: i32, limit: i32, shift: i32) {
        self.nb = (((self.nb * 127) >> 7) + step).clamp(0, limit);
        let value = at(&ILB, ((self.nb >> 6) & 31) as usize);
        let down = shift - (self.nb >> 11);
        self.det = if down < 0 { value << -down } else { value >> down } << 2;
    }

    /// Adapts the predictor to a quantized difference (blocks 4L and 4H).
    fn adapt(&mut self, d: i32) {
        let r = sat(self.s + d);
        let p = sat(self.sz + d);
        let same = |x: i32| (p < 0) == (x < 0);
        let [a1, a2] = self.a;
        // UPPOL2
        let turned = if same(self.p[0]) { -sat(a1 << 2) } else { sat(a1 << 2) };
        let step = if same(self.p[1]) { 128 } else { -128 };
        let new2 = (step + (turned.min(32_767) >> 7) + ((a2 * 32_512) >> 15)).clamp(-12_288, 12_288);
        // UPPOL1
        let step = if same(self.p[0]) { 192 } else { -192 };
        let most = sat(15_360 - new2);
        let new1 = sat(step + ((a1 * 32_640) >> 15)).clamp(-most, most);
        // UPZERO
        let step = if d == 0 { 0 } else { 128 };
        for (b, before) in self.b.iter_mut().zip(&self.d) {
            let step = if (d < 0) == (*before < 0) { step } else { -step };
            *b = sat(step + ((*b * 32_640) >> 15));
        }
        // DELAYA
        self.d.rotate_right(1);
        self.d[0] = d;
        (self.r, self.p, self.a) = ([r, self.r[0]], [p, self.p[0]], [new1, new2]);
        // FILTEP, FILTEZ, PREDIC
        let pole = |a: i32, r: i32| (a * sat(r + r)) >> 15;
        let sp = sat(pole(new1, self.r[0]) + pole(new2, self.r[1]));
        self.sz = sat(self.b.iter().zip(&self.d).map(|(b, d)| (b * sat(d + d)) >> 15).sum());
        self.s = sat(sp + self.sz);
    }

    fn adapt_low(&mut self, code4: usize) {
        let d = (self.det * at(&QM4, code4)) >> 15;
        // The scale depends only on the magnitude of a codeword: 0 and 15 are the smallest.
        let size = [0, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7, 0];
        let step = at(&WL, size.get(code4).copied().unwrap_or(0));
        self.scale(step, 18_432, 8);
        self.adapt(d);
    }

    fn adapt_high(&mut self, code: usize) -> i32 {
        let d = (self.det * at(&QM2, code)) >> 15;
        self.scale(at(&WH, code), 22_528, 10);
        self.adapt(d);
        d
    }

    /// QUANTL: the six-bit codeword of a difference.
    fn quantize_low(&self, difference: i32) -> u8 {
        let size = if difference < 0 { -(difference + 1) } else { difference };
        let level = Q6.iter().take_while(|q| size >= (**q * self.det) >> 12).count() as u8;
        match (difference < 0, level) {
            (true, 0) => 63,
            (true, 1) => 62,
            (true, n) => 33 - n,
            (false, n) => 61 - n,
        }
    }

    /// QUANTH: the two-bit codeword of a difference.
    fn quantize_high(&self, difference: i32) -> u8 {
        let size = if difference < 0 { -(difference + 1) } else { difference };
        let large = size >= (564 * self.det) >> 12;
        match (difference < 0, large) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        }
    }
}

/// The last 24 samples of a mirror filter, stored twice so that they are always contiguous.
#[derive(Debug, Clone)]
struct Mirror {
    line: [i32; 48],
    at: usize,
}

impl Mirror {
    const fn new() -> Self {
        Self { line: [0; 48], at: 0 }
    }

    /// Adds two samples; returns the sums over odd and even taps.
    fn push(&mut self, first: i32, second: i32) -> (i32, i32) {
        for (i, v) in [first, second].into_iter().enumerate() {
            for place in [self.at + i, self.at + i + 24] {
                if let Some(x) = self.line.get_mut(place) {
                    *x = v;
                }
            }
        }
        self.at = (self.at + 2) % 24;
        let pairs = self.line.get(self.at..self.at + 24).unwrap_or_default().as_chunks::<2>().0;
        let (mut odd, mut even) = (0, 0);
        for (([x, y], forth), back) in pairs.iter().zip(&QMF).zip(QMF.iter().rev()) {
            odd += x * forth;
            even += y * back;
        }
        (odd, even)
    }
}

/// The encoder. A copy contains the complete state that the far end's decoder has followed.
#[derive(Debug, Clone)]
pub struct Encoder {
    low: Band,
    high: Band,
    mirror: Mirror,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { low: Band::new(32), high: Band::new(8), mirror: Mirror::new() }
    }
}

impl Encoder {
    /// Encodes pairs of samples at 16 kHz into one byte each; returns the number of bytes.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> usize {
        let pairs = samples.as_chunks::<2>().0;
        for (o, [x, y]) in out.iter_mut().zip(pairs) {
            let (odd, even) = self.mirror.push(i32::from(*x), i32::from(*y));
            let (low, high) = ((even + odd) >> 14, (even - odd) >> 14);
            let code_low = self.low.quantize_low(sat(low - self.low.s));
            self.low.adapt_low(usize::from(code_low >> 2));
            let code_high = self.high.quantize_high(sat(high - self.high.s));
            self.high.adapt_high(usize::from(code_high));
            *o = code_high << 6 | code_low;
        }
        pairs.len().min(out.len())
    }
}

/// The decoder.
#[derive(Debug, Clone)]
pub struct Decoder {
    low: Band,
    high: Band,
    mirror: Mirror,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { low: Band::new(32), high: Band::new(8), mirror: Mirror::new() }
    }
}

impl Decoder {
    /// Decodes bytes into pairs of samples at 16 kHz; returns the number of samples.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> usize {
        let pairs = out.as_chunks_mut::<2>().0;
        let done = payload.len().min(pairs.len()) * 2;
        for ([first, second], byte) in pairs.iter_mut().zip(payload) {
            let (code_low, code_high) = (usize::from(byte & 63), usize::from(byte >> 6));
            let fine = (self.low.det * at(&QM6, code_low)) >> 15;
            let low = (self.low.s + fine).clamp(-16_384, 16_383);
            self.low.adapt_low(code_low >> 2);
            let before = self.high.s;
            let high = (before + self.high.adapt_high(code_high)).clamp(-16_384, 16_383);
            let (odd, even) = self.mirror.push(low + high, low - high);
            (*first, *second) = (sat(even >> 11) as i16, sat(odd >> 11) as i16);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sweep, noise, a square wave, silence and a chord at 16 kHz; encoded by FFmpeg, and decoded by it
    /// again.
    const INPUT: &[u8] = include_bytes!("../../tests/vectors/g722_input.raw");
    const CODE: &[u8] = include_bytes!("../../tests/vectors/g722_code.bin");
    const OUTPUT: &[u8] = include_bytes!("../../tests/vectors/g722_output.raw");

    fn samples(raw: &[u8]) -> Vec<i16> {
        raw.as_chunks::<2>().0.iter().map(|b| i16::from_le_bytes(*b)).collect()
    }

    #[test]
    fn another_implementation_agrees_bit_by_bit() {
        let (input, output) = (samples(INPUT), samples(OUTPUT));
        let mut code = vec![0; CODE.len()];
        let mut encoder = Encoder::default();
        for (frame, out) in input.chunks(320).zip(code.chunks_mut(160)) {
            assert_eq!(encoder.encode(frame, out), 160);
        }
        let same = code.iter().zip(CODE).take_while(|(a, b)| a == b).count();
        assert_eq!(same, CODE.len(), "the codes differ from byte {same} on");
        let mut decoder = Decoder::default();
        let mut decoded = vec![0; output.len()];
        for (payload, out) in CODE.chunks(160).zip(decoded.chunks_mut(320)) {
            assert_eq!(decoder.decode(payload, out), 320);
        }
        let same = decoded.iter().zip(&output).take_while(|(a, b)| a == b).count();
        assert_eq!(same, output.len(), "the sound differs from sample {same} on");
    }

    #[test]
    fn odd_lengths_and_random_bytes_do_no_harm() {
        let mut d = Decoder::default();
        assert_eq!(d.decode(&[1, 2, 3], &mut [0; 5]), 4);
        assert_eq!(Encoder::default().encode(&[1; 5], &mut [0; 9]), 2);
        let mut rng = crate::base::rng::Rng::from_number(1);
        let mut out = [0; 320];
        for _ in 0..500 {
            let noise: Vec<u8> = (0..160).map(|_| rng.u32() as u8).collect();
            assert_eq!(d.decode(&noise, &mut out), 320);
        }
    }
}
