//! The decoders of a stream: one for each negotiated codec, created in advance since a tick must not
//! allocate. Selected by the payload type of each packet.

use crate::codec::Codec;
use crate::codec::coder::Decoder;
use crate::dsp::conceal::Concealer;
use crate::dsp::resample::Resampler;

/// Decoding path of a codec, from payloads to audio at the leg's rate.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) codec: Codec,
    pub(super) decoder: Decoder,
    pub(super) concealer: Concealer,
    /// To the leg's rate, if that of the codec differs.
    pub(super) converter: Option<Resampler>,
}

impl Voice {
    fn new(codec: Codec, leg_rate: u32) -> Self {
        let rate = codec.sample_rate();
        Self {
            codec,
            decoder: Decoder::new(codec),
            concealer: Concealer::new(rate),
            converter: Resampler::new(rate, leg_rate),
        }
    }
}

/// The decoding paths of a stream.
#[derive(Debug)]
pub(super) struct Decoders {
    /// The one of the last packet decoded.
    pub(super) now: Voice,
    others: Box<[Voice]>,
}

impl Decoders {
    /// For a stream that starts with `first`, at a leg of `leg_rate` Hz.
    pub(super) fn new(first: Codec, others: &[Codec], leg_rate: u32) -> Self {
        let others = others.iter().filter(|c| **c != first).map(|c| Voice::new(*c, leg_rate)).collect();
        Self { now: Voice::new(first, leg_rate), others }
    }

    /// Switches to this codec; false if it is already selected, or was not negotiated.
    pub(super) fn select(&mut self, codec: Codec) -> bool {
        let Some(other) = self.others.iter_mut().find(|v| v.codec == codec) else { return false };
        std::mem::swap(&mut self.now, other);
        // Its converter state is out of date.
        self.now.converter.iter_mut().for_each(Resampler::reset);
        true
    }
}

/// Converts the first `len` samples of `fifo` in place between two rates, one a multiple of the other;
/// returns the new number of samples. Used for the rest of a packet at a codec change: linear interpolation
/// is sufficient.
pub(super) fn change_rate(fifo: &mut [i16], len: usize, from: u32, to: u32) -> usize {
    let len = len.min(fifo.len());
    let at = |fifo: &[i16], i: usize| fifo.get(i).copied().map_or(0, i32::from);
    if from > to {
        let ratio = (from / to.max(1)) as usize;
        let fewer = len / ratio;
        for i in 0..fewer {
            let sample = at(fifo, i * ratio);
            fifo.iter_mut().skip(i).take(1).for_each(|s| *s = sample as i16);
        }
        return fewer;
    }
    let ratio = (to / from.max(1)).max(1) as usize;
    let more = (len * ratio).min(fifo.len());
    // Backwards, so that samples are read before they are overwritten.
    for i in (0..more).rev() {
        let (before, step) = (i / ratio, i % ratio);
        let (a, b) = (at(fifo, before), at(fifo, (before + 1).min(len.saturating_sub(1))));
        let sample = a + (b - a) * step as i32 / ratio as i32;
        fifo.iter_mut().skip(i).take(1).for_each(|s| *s = sample as i16);
    }
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_packet_keeps_its_shape() {
        let mut fifo = [0i16; 24];
        fifo[..4].copy_from_slice(&[0, 60, 120, 60]);
        assert_eq!(change_rate(&mut fifo, 4, 8000, 16_000), 8);
        assert_eq!(fifo[..8], [0, 30, 60, 90, 120, 90, 60, 60]);
        assert_eq!(change_rate(&mut fifo, 8, 16_000, 8000), 4);
        assert_eq!(fifo[..4], [0, 60, 120, 60]);
        assert_eq!(change_rate(&mut fifo, 4, 8000, 48_000), 24);
        assert_eq!((fifo[3], fifo[6], fifo[23]), (30, 60, 60));
        assert_eq!(change_rate(&mut fifo, 24, 48_000, 8000), 4);
        assert_eq!(change_rate(&mut fifo, 24, 8000, 48_000), 24, "samples that do not fit are dropped");
        assert_eq!(change_rate(&mut fifo, 0, 8000, 48_000), 0);
    }

    #[test]
    fn only_agreed_codecs_are_selected() {
        let mut d = Decoders::new(Codec::Pcmu, &[Codec::Pcmu, Codec::G722], 8000);
        assert!(!d.select(Codec::Pcmu) && !d.select(Codec::Opus));
        assert!(d.select(Codec::G722) && d.now.codec == Codec::G722);
        assert!(!d.select(Codec::G722));
        assert!(d.select(Codec::Pcmu) && d.now.codec == Codec::Pcmu);
    }
}
