//! A playback: a tone, or audio that a feeder thread writes into a ring.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rtrb::Consumer;

use super::command::{AudioTarget, Over};
use crate::dsp::tone::ToneGenerator;
use crate::dsp::{frame_len, limiter};

/// Source of the audio.
#[derive(Debug)]
pub enum Source {
    /// Generated here.
    Tone(ToneGenerator),
    /// Samples at the playback's rate, and the state of the feeder.
    Ring(Consumer<i16>, Arc<Feeding>),
}

/// State of the feeder.
#[derive(Debug, Default)]
pub struct Feeding(AtomicU8);

const ENDED: u8 = 1;
const FAILED: u8 = 2;

impl Feeding {
    /// No more samples will follow; `failed`: the source could not be read to the end.
    pub fn end(&self, failed: bool) {
        self.0.store(if failed { FAILED } else { ENDED }, Ordering::Release);
    }

    /// The reason for the end, if it has ended.
    fn over(&self) -> Option<Over> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            FAILED => Some(Over::Failed),
            _ => Some(Over::Completed),
        }
    }
}

/// A running playback.
#[derive(Debug)]
pub struct Play {
    /// Target.
    pub target: AudioTarget,
    rate: u32,
    source: Source,
    gain: f32,
    played: u64,
    /// The reason for its end, once ended.
    pub over: Option<Over>,
}

/// Linear gain of a volume in steps of 3 dB.
#[must_use]
pub fn gain(volume: i8) -> f32 {
    10f32.powf(0.15 * f32::from(volume))
}

impl Play {
    /// A playback at `rate` Hz.
    #[must_use]
    pub fn new(target: AudioTarget, rate: u32, source: Source, volume: i8) -> Self {
        Self { target, rate, source, gain: gain(volume), played: 0, over: None }
    }

    /// Sets the linear gain.
    pub fn set_gain(&mut self, gain: f32) {
        self.gain = gain;
    }

    /// Time played, ms.
    #[must_use]
    pub fn played_ms(&self) -> u64 {
        self.played * 1000 / u64::from(self.rate.max(1))
    }

    /// Samples of a frame.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        frame_len(self.rate)
    }

    /// Fills the next frame; false if there is none in this tick. Sets `over` at the end.
    pub fn fill(&mut self, frame: &mut [i16]) -> bool {
        let heard = match &mut self.source {
            Source::Tone(tone) => {
                tone.fill(frame);
                frame.len()
            }
            Source::Ring(ring, feeding) => {
                // Read before the number of samples, so that all samples written before the end are seen.
                let over = feeding.over();
                let last = over.is_some();
                let n = ring.slots().min(frame.len());
                if n < frame.len() && !last {
                    return false;
                }
                let Ok(chunk) = ring.read_chunk(n) else { return false };
                let (a, b) = chunk.as_slices();
                for (f, x) in frame.iter_mut().zip(a.iter().chain(b)) {
                    *f = *x;
                }
                chunk.commit_all();
                frame.iter_mut().skip(n).for_each(|f| *f = 0);
                if last && ring.slots() == 0 {
                    self.over = over;
                }
                n
            }
        };
        self.played += heard as u64;
        if (self.gain - 1.0).abs() > 1e-6 {
            for f in frame.iter_mut() {
                *f = limiter::soft((f32::from(*f) * self.gain) as i32);
            }
        }
        heard > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrb::RingBuffer;

    #[test]
    fn a_ring_is_played_to_its_end_and_padded() {
        let (mut tx, rx) = RingBuffer::new(1000);
        let ended = Arc::new(Feeding::default());
        let mut p = Play::new(AudioTarget::Leg(0), 8000, Source::Ring(rx, Arc::clone(&ended)), 0);
        let mut frame = [9i16; 160];
        assert!(!p.fill(&mut frame), "an empty ring is not the end");
        for i in 0..200 {
            tx.push(i).unwrap();
        }
        assert!(p.fill(&mut frame));
        assert_eq!(frame[159], 159);
        ended.end(false);
        assert!(p.fill(&mut frame));
        assert_eq!((frame[39], frame[40], p.over, p.played_ms()), (199, 0, Some(Over::Completed), 25));
    }

    #[test]
    fn a_step_is_three_decibels() {
        assert!((gain(-8) - 0.0631).abs() < 0.001);
        assert!((gain(1) - 1.4125).abs() < 0.001);
        let tone = crate::dsp::tone::by_name("dial").unwrap();
        let loud = Source::Tone(ToneGenerator::new(tone, 8000));
        let mut p = Play::new(AudioTarget::Leg(0), 8000, loud, 8);
        let mut frame = [0i16; 160];
        p.fill(&mut frame);
        let peak = frame.iter().map(|s| s.unsigned_abs()).max().unwrap();
        assert!(
            (30_000..32_767).contains(&peak),
            "loud samples are limited, neither clipped nor wrapped: {peak}"
        );
    }
}
