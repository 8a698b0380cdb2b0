//! The clock rate of G.722 timestamps. It is 8,000 Hz (RFC 3551 §4.5.2), but some products count samples at
//! 16,000 Hz regardless of their SDP: the rate is detected from the packets.

/// Correct clock rate and sampling rate, Hz.
const USUAL: u32 = 8000;
const SAMPLES: u32 = 16_000;
/// Consecutive packets needed to change the detected rate; silence suppression causes single steps of other
/// lengths.
const SURE: u8 = 3;

/// Detects the clock rate of a G.722 stream at 64 kbit/s from its timestamp steps.
#[derive(Debug, Clone)]
pub struct G722Clock {
    clock: u32,
    /// True until packets have confirmed the clock rate of the SDP.
    assumed: bool,
    /// Consecutive packets that contradict the current rate.
    against: u8,
    /// The last packet: extended number, timestamp, and payload in bytes.
    last: Option<(u64, u32, u32)>,
}

impl Default for G722Clock {
    fn default() -> Self {
        Self::described(USUAL)
    }
}

impl G722Clock {
    /// Starts from the clock rate given in the SDP, Hz.
    #[must_use]
    pub fn described(clock: u32) -> Self {
        let clock = if clock == SAMPLES { SAMPLES } else { USUAL };
        Self { clock, assumed: true, against: 0, last: None }
    }

    /// The current estimate, Hz.
    #[must_use]
    pub fn hz(&self) -> u32 {
        self.clock
    }

    /// A new stream starts; its clock rate may differ.
    pub fn restart(&mut self) {
        (self.assumed, self.against, self.last) = (true, 0, None);
    }

    /// Processes a packet with its extended sequence number.
    pub fn note(&mut self, sequence: u64, timestamp: u32, payload: usize) {
        let before = self.last.replace((sequence, timestamp, u32::try_from(payload).unwrap_or(0)));
        let Some((last, stamp, bytes)) = before.filter(|(last, ..)| last + 1 == sequence) else { return };
        debug_assert!(last < sequence);
        // One byte is two samples, that is, one unit of the correct clock.
        let step = timestamp.wrapping_sub(stamp);
        let told = match step {
            0 => return,
            s if s == bytes => USUAL,
            s if s == bytes.saturating_mul(2) => SAMPLES,
            _ => return,
        };
        if told == self.clock {
            (self.assumed, self.against) = (false, 0);
            return;
        }
        self.against += 1;
        if self.assumed || self.against >= SURE {
            (self.clock, self.assumed, self.against) = (told, false, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(clock: &mut G722Clock, from: u64, packets: u64, step: u32) {
        for n in from..from + packets {
            clock.note(n, (n as u32).wrapping_mul(step).wrapping_sub(400), 160);
        }
    }

    #[test]
    fn the_step_of_the_timestamps_tells() {
        for (described, step, want) in
            [(16_000, 160, 8000), (16_000, 320, 16_000), (8000, 160, 8000), (8000, 320, 16_000)]
        {
            let mut c = G722Clock::described(described);
            assert_eq!(c.hz(), described);
            run(&mut c, 10, 2, step);
            assert_eq!(c.hz(), want, "{described}, {step}");
        }
    }

    #[test]
    fn a_pause_does_not_change_what_is_known() {
        let mut c = G722Clock::default();
        run(&mut c, 1, 10, 160);
        // Repeated gaps of 20 ms (silence suppression), and one lost packet.
        for n in 0..10 {
            c.note(20 + 2 * n, (n as u32) * 640, 160);
            c.note(21 + 2 * n, (n as u32) * 640 + 160, 160);
        }
        c.note(50, 100_000, 160);
        c.note(52, 100_320, 160);
        assert_eq!(c.hz(), 8000);
        run(&mut c, 100, 5, 320);
        assert_eq!(c.hz(), 16_000, "several packets in a row change the rate");
    }

    #[test]
    fn another_stream_may_count_otherwise_at_once() {
        let mut c = G722Clock::default();
        run(&mut c, 1, 10, 160);
        c.restart();
        run(&mut c, 1, 2, 320);
        assert_eq!(c.hz(), 16_000);
    }
}
