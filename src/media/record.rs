//! The media thread's side of a recording: writes one frame per tick into a ring.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rtrb::Producer;

use super::command::AudioTarget;
use crate::dsp::MAX_FRAME;

const SILENCE: [i16; MAX_FRAME] = [0; MAX_FRAME];

/// State shared by the media thread and the recorder in addition to the ring.
#[derive(Debug, Default)]
pub struct Shared {
    /// Frames dropped because the ring was full since last read by the recorder, which writes silence for
    /// them.
    pub dropped: AtomicU32,
    /// No more frames will follow.
    pub ended: AtomicBool,
    /// Tick of the first frame (lower 32 bits); 0: no frame yet.
    pub began: AtomicU32,
}

/// A running recording.
#[derive(Debug)]
pub struct Recording {
    /// What is recorded.
    pub target: AudioTarget,
    ring: Producer<i16>,
    shared: Arc<Shared>,
    paused: bool,
}

impl Recording {
    /// A recording into `ring`.
    #[must_use]
    pub fn new(target: AudioTarget, ring: Producer<i16>, shared: Arc<Shared>) -> Self {
        Self { target, ring, shared, paused: false }
    }

    /// Records silence instead of audio, or resumes.
    pub fn pause(&mut self, on: bool) {
        self.paused = on;
    }

    /// Writes a stereo frame of this tick, left channel first.
    pub fn stereo(&mut self, tick: u64, left: &[i16], right: &[i16]) {
        self.write(tick, left, right);
    }

    /// Writes a mono frame of this tick.
    pub fn mono(&mut self, tick: u64, frame: &[i16]) {
        self.write(tick, frame, &[]);
    }

    /// Adds silence for `ticks` that were skipped.
    pub fn skip(&self, ticks: u32) {
        self.shared.dropped.fetch_add(ticks, Ordering::Release);
    }

    fn write(&mut self, tick: u64, first: &[i16], second: &[i16]) {
        if self.shared.began.load(Ordering::Relaxed) == 0 {
            // 0 is reserved: if the counter wraps to 0 (every three years), the start is one tick off.
            self.shared.began.store((tick as u32).max(1), Ordering::Release);
        }
        if self.ring.slots() < first.len() + second.len() {
            self.shared.dropped.fetch_add(1, Ordering::Release);
            return;
        }
        for channel in [first, second] {
            // Cannot fail: space was checked above.
            let _put = if self.paused {
                self.ring.push_entire_slice(SILENCE.get(..channel.len()).unwrap_or_default())
            } else {
                self.ring.push_entire_slice(channel)
            };
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrb::RingBuffer;

    #[test]
    fn a_full_ring_loses_whole_frames_and_counts_them() {
        let (tx, mut rx) = RingBuffer::new(640);
        let shared = Arc::new(Shared::default());
        let mut r = Recording::new(AudioTarget::Leg(0), tx, Arc::clone(&shared));
        r.stereo(7, &[1; 160], &[2; 160]);
        r.pause(true);
        r.stereo(7, &[1; 160], &[2; 160]);
        r.stereo(7, &[1; 160], &[2; 160]);
        assert_eq!((shared.dropped.load(Ordering::Acquire), shared.began.load(Ordering::Acquire)), (1, 7));
        assert_eq!((rx.slots(), rx.pop(), rx.pop()), (640, Ok(1), Ok(1)));
        drop(r);
        assert!(shared.ended.load(Ordering::Acquire));
        assert_eq!(rx.read_chunk(638).unwrap().into_iter().filter(|s| *s == 2).count(), 160);
    }
}
