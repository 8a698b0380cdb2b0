//! ADPCM in WAV files: Microsoft (format 2) and IMA (format 0x11), decoded block by block. Each block starts
//! with the decoder state, so that blocks are independent.

/// ADPCM variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Microsoft,
    Ima,
}

/// Block layout of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Adpcm {
    kind: Kind,
    channels: usize,
    /// Bytes of a block.
    align: usize,
}

/// Step adaptation after each nibble, 1/256 (Microsoft).
const ADAPTATION: [i32; 16] =
    [230, 230, 230, 230, 307, 409, 512, 614, 768, 614, 512, 409, 307, 230, 230, 230];
/// The standard predictors: weights of the last two samples, 1/256.
const WEIGHTS: [(i32, i32); 7] =
    [(256, 0), (512, -256), (0, 0), (192, 64), (240, 0), (460, -208), (392, -232)];
const LEAST_STEP: i32 = 16;
const LARGEST_STEP: i32 = i32::MAX / 768;

/// Step sizes of IMA, and index adaptation by nibble.
const STEPS: [i32; 89] = [
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88,
    97, 107, 118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658,
    724, 796, 876, 963, 1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660,
    4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845, 8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818,
    18500, 20350, 22385, 24623, 27086, 29794, 32767,
];
const MOVES: [i32; 8] = [-1, -1, -1, -1, 2, 4, 6, 8];

impl Adpcm {
    /// Blocks of `align` bytes; `None` if that is too small for one sample per channel.
    pub(super) fn new(kind: Kind, channels: usize, align: usize) -> Option<Self> {
        let head = match kind {
            Kind::Microsoft => 7,
            Kind::Ima => 4,
        };
        (channels > 0 && align >= head * channels).then_some(Self { kind, channels, align })
    }

    /// Bytes of a block.
    pub(super) fn align(self) -> usize {
        self.align
    }

    /// The frames of a block, channels interleaved; of a truncated block, the available ones.
    pub(super) fn decode(self, block: &[u8]) -> Vec<i16> {
        match self.kind {
            Kind::Microsoft => microsoft(block, self.channels),
            Kind::Ima => ima(block, self.channels),
        }
        .unwrap_or_default()
    }
}

fn short(bytes: &[u8], at: usize) -> Option<i32> {
    let bytes = bytes.get(at..)?.first_chunk::<2>()?;
    Some(i16::from_le_bytes(*bytes).into())
}

fn clamp(v: i32) -> i16 {
    v.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// Decoder state of a Microsoft ADPCM channel.
struct Predictor {
    weights: (i32, i32),
    step: i32,
    last: i32,
    before: i32,
}

impl Predictor {
    fn sample(&mut self, nibble: u8) -> i16 {
        let signed = i32::from(nibble) - if nibble & 8 != 0 { 16 } else { 0 };
        let (one, two) = self.weights;
        let expected = (self.last * one + self.before * two) / 256;
        let sample = clamp(expected.saturating_add(signed * self.step));
        (self.before, self.last) = (self.last, sample.into());
        let factor = ADAPTATION.get(usize::from(nibble)).copied().unwrap_or(256);
        self.step = (factor * self.step / 256).clamp(LEAST_STEP, LARGEST_STEP);
        sample
    }
}

fn microsoft(block: &[u8], channels: usize) -> Option<Vec<i16>> {
    let mut all = Vec::with_capacity(channels);
    for n in 0..channels {
        let word = |group: usize| short(block, channels + 2 * (group * channels + n));
        // No known tool uses custom predictors.
        let weights = *WEIGHTS.get(usize::from(*block.get(n)?))?;
        let step = word(0)?.clamp(-LARGEST_STEP, LARGEST_STEP);
        all.push(Predictor { weights, step, last: word(1)?, before: word(2)? });
    }
    // The two samples of the block header come first, the older one first.
    let mut out: Vec<i16> = all.iter().map(|p| clamp(p.before)).collect();
    out.extend(all.iter().map(|p| clamp(p.last)));
    let nibbles = block.get(7 * channels..)?.iter().flat_map(|b| [b >> 4, b & 15]);
    for (n, nibble) in nibbles.enumerate() {
        out.push(all.get_mut(n % channels)?.sample(nibble));
    }
    out.truncate(out.len() / channels * channels);
    Some(out)
}

/// Decoder state of an IMA ADPCM channel.
struct Stepper {
    sample: i32,
    index: i32,
}

impl Stepper {
    fn sample(&mut self, nibble: u8) -> i16 {
        let step = usize::try_from(self.index).ok().and_then(|i| STEPS.get(i)).copied().unwrap_or(7);
        let part = |bit: u8, of: i32| if nibble & bit != 0 { of } else { 0 };
        let change = (step >> 3) + part(4, step) + part(2, step >> 1) + part(1, step >> 2);
        let sample = clamp(self.sample + if nibble & 8 != 0 { -change } else { change });
        self.sample = sample.into();
        let to = MOVES.get(usize::from(nibble & 7)).copied().unwrap_or_default();
        self.index = (self.index + to).clamp(0, STEPS.len() as i32 - 1);
        sample
    }
}

fn ima(block: &[u8], channels: usize) -> Option<Vec<i16>> {
    let mut all = Vec::with_capacity(channels);
    for n in 0..channels {
        let index = i32::from(*block.get(4 * n + 2)?).min(STEPS.len() as i32 - 1);
        all.push(Stepper { sample: short(block, 4 * n)?, index });
    }
    let mut out: Vec<i16> = all.iter().map(|s| clamp(s.sample)).collect();
    // Groups of eight samples per channel.
    for group in block.get(4 * channels..)?.chunks_exact(4 * channels) {
        let eight = |(stepper, bytes): (&mut Stepper, &[u8])| -> Vec<i16> {
            bytes.iter().flat_map(|b| [b & 15, b >> 4]).map(|nibble| stepper.sample(nibble)).collect()
        };
        let columns: Vec<Vec<i16>> = all.iter_mut().zip(group.chunks_exact(4)).map(eight).collect();
        for i in 0..8 {
            out.extend(columns.iter().filter_map(|c| c.get(i)));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_microsoft_block_starts_from_its_header() {
        let adpcm = Adpcm::new(Kind::Microsoft, 1, 9).unwrap();
        // Predictor 1 (twice the last minus the previous), step 16, the samples 100 and, before it, 90.
        let block = [1, 16, 0, 100, 0, 90, 0, 0x10, 0xf7];
        // 110 + 16; 152 + 0; 178 − 16; 172 + 7 × 16.
        assert_eq!(adpcm.decode(&block), [90, 100, 126, 152, 162, 284]);
    }

    #[test]
    fn an_ima_block_starts_from_its_header() {
        let adpcm = Adpcm::new(Kind::Ima, 1, 8).unwrap();
        // Sample 1000, step 16; then nibbles +4, −4, 1, and zeros.
        let block = [0xe8, 3, 8, 0, 0xc4, 0x01, 0, 0];
        let out = adpcm.decode(&block);
        assert_eq!(out.len(), 9);
        // 16/8 + 16; then −(19/8 + 19); then 23/8 + 23/4; then 21/8.
        assert_eq!(out[..5], [1000, 1018, 997, 1004, 1006]);
    }

    #[test]
    fn channels_are_interleaved() {
        let stereo = Adpcm::new(Kind::Ima, 2, 16).unwrap();
        let block = [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0x77, 0x77, 0x77, 0x77];
        let out = stereo.decode(&block);
        assert_eq!((out.len(), &out[..2]), (18, &[1, 2][..]));
        let (left, right): (Vec<_>, Vec<_>) = out.chunks_exact(2).map(|f| (f[0], f[1])).unzip();
        assert!(left.iter().all(|s| *s == 1) && right.windows(2).all(|w| w[0] < w[1]), "{out:?}");
    }

    #[test]
    fn truncated_or_invalid_blocks_do_not_panic() {
        assert!(Adpcm::new(Kind::Microsoft, 2, 13).is_none() && Adpcm::new(Kind::Ima, 0, 256).is_none());
        for kind in [Kind::Microsoft, Kind::Ima] {
            for channels in 1..=2 {
                let adpcm = Adpcm::new(kind, channels, 256).unwrap();
                for len in 0..64 {
                    let out = adpcm.decode(&vec![0x88; len]);
                    assert!(out.len().is_multiple_of(channels), "{kind:?} {channels} {len}");
                    adpcm.decode(&vec![0x06; len]);
                }
                let loudest: Vec<u8> = [6, 6].into_iter().chain([0x7f; 254]).collect();
                adpcm.decode(&loudest);
            }
        }
    }
}
