//! Maps timestamps to one time base for a stream whose codecs may use different clock rates.

use crate::codec::Codec;
use crate::rtp::g722_clock::G722Clock;

/// Timeline units per second: a multiple of every clock and sampling rate.
pub(super) const RATE: u32 = 48_000;
/// Units in 10 ms, the granularity of packet lengths.
const STEP: i64 = RATE as i64 / 100;

/// The last packet mapped.
#[derive(Debug, Clone, Copy)]
struct Placed {
    /// Its RTP timestamp.
    timestamp: u32,
    at: i64,
    arrival_ns: u64,
}

/// The timeline of a stream.
#[derive(Debug)]
pub(super) struct Timeline {
    g722: G722Clock,
    /// The codec received last, and the clock rate of its timestamps.
    codec: Codec,
    clock: u32,
    last: Option<Placed>,
}

impl Timeline {
    /// For a stream that starts with this codec.
    pub(super) fn new(codec: Codec) -> Self {
        Self { g722: G722Clock::default(), codec, clock: codec.clock(), last: None }
    }

    /// Sets the clock rate of G.722 given in the SDP, Hz.
    pub(super) fn describe_clock(&mut self, clock: u32) {
        self.g722 = G722Clock::described(clock);
        self.clock = self.clock(self.codec);
    }

    /// Clock rate of a codec's timestamps, Hz.
    pub(super) fn clock(&self, codec: Codec) -> u32 {
        if codec == Codec::G722 { self.g722.hz() } else { codec.clock() }
    }

    /// A new stream starts.
    pub(super) fn restart(&mut self) {
        self.last = None;
        self.g722.restart();
    }

    /// Timeline position of the last packet.
    pub(super) fn last(&self) -> i64 {
        self.last.map_or(0, |l| l.at)
    }

    /// Timeline position of a packet by its extended sequence number and timestamp; `audio` is its codec and
    /// length in bytes. Events and comfort noise use the clock of the preceding audio.
    pub(super) fn place(
        &mut self,
        sequence: u64,
        timestamp: u32,
        audio: Option<(Codec, usize)>,
        arrival_ns: u64,
    ) -> i64 {
        let mut same_count = true;
        if let Some((codec, bytes)) = audio {
            if codec == Codec::G722 {
                self.g722.note(sequence, timestamp, bytes);
            }
            let clock = self.clock(codec);
            // A corrected estimate of one codec's clock rate is not a change of clock.
            same_count = clock == self.clock || codec == self.codec;
            (self.codec, self.clock) = (codec, clock);
        }
        let per_unit = i64::from(RATE / self.clock.max(1));
        let at = match self.last {
            None => i64::from(timestamp) * per_unit,
            Some(last) if same_count => {
                last.at + i64::from(timestamp.wrapping_sub(last.timestamp) as i32) * per_unit
            }
            // Timestamps of another clock are unrelated to the previous ones (RFC 7160 §3): the position is
            // derived from the arrival time.
            Some(last) => {
                let gone = arrival_ns.saturating_sub(last.arrival_ns).min(60_000_000_000) as i64;
                last.at + ((gone + 5_000_000) / 10_000_000).max(1) * STEP
            }
        };
        self.last = Some(Placed { timestamp, at, arrival_ns });
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const TICK: i64 = RATE as i64 / 50;

    #[test]
    fn alternating_clocks_share_one_timeline() {
        let mut t = Timeline::new(Codec::Pcmu);
        let mut at = Vec::new();
        // Each codec has its own timestamp offset; some arrivals are slightly late.
        for n in 0..30u64 {
            let (codec, stamp) = match n / 10 {
                0 => (Codec::Pcmu, 0xffff_fc00u32.wrapping_add(n as u32 * 160)),
                1 => (Codec::Opus, 77 + n as u32 * 960),
                _ => (Codec::Pcma, 5_000_000 + n as u32 * 160),
            };
            at.push(t.place(n + 1, stamp, Some((codec, 160)), (1000 + n * 20 + n % 3) * MS));
        }
        assert!(at.windows(2).all(|w| w[1] - w[0] == TICK), "{at:?}");
    }

    #[test]
    fn events_count_as_the_audio_before_them() {
        let mut t = Timeline::new(Codec::Opus);
        let a = t.place(1, 960, Some((Codec::Opus, 80)), 0);
        let b = t.place(2, 1920, None, 20 * MS);
        let c = t.place(3, 1920 + 3 * 960, Some((Codec::Opus, 80)), 80 * MS);
        assert_eq!((b - a, c - b, t.last()), (TICK, 3 * TICK, c));
    }

    #[test]
    fn g722_uses_the_detected_clock() {
        for (described, step) in [(8000, 160), (8000, 320), (16_000, 160), (16_000, 320)] {
            let mut t = Timeline::new(Codec::G722);
            t.describe_clock(described);
            let place =
                |n: u64, t: &mut Timeline| t.place(n, n as u32 * step, Some((Codec::G722, 160)), n * 20 * MS);
            let at: Vec<i64> = (1..10).map(|n| place(n, &mut t)).collect();
            assert!(at.windows(2).all(|w| w[1] - w[0] == TICK), "{described}, {step}: {at:?}");
            assert_eq!(t.clock(Codec::G722), step * 50);
        }
    }
}
