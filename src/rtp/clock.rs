//! The clock of G.722's timestamps. It is 8,000 Hz (RFC 3551 §4.5.2), yet some products count the samples, which come at
//! 16,000 Hz, whatever they write into their descriptions: the packets tell.

/// Clock as it should be, and the sampling rate, Hz.
const USUAL: u32 = 8000;
const SAMPLES: u32 = 16_000;
/// Packets in a row that change what is known; silence that is not sent makes single steps of other lengths.
const SURE: u8 = 3;

/// Learns the clock of a stream of G.722 at 64 kbit/s from its steps.
#[derive(Debug, Clone)]
pub struct G722Clock {
    clock: u32,
    /// Nothing but the description has told it so far.
    assumed: bool,
    /// Packets in a row that say otherwise.
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
    /// The clock that a description names, Hz.
    #[must_use]
    pub fn described(clock: u32) -> Self {
        let clock = if clock == SAMPLES { SAMPLES } else { USUAL };
        Self { clock, assumed: true, against: 0, last: None }
    }

    /// As far as is known, Hz.
    #[must_use]
    pub fn hz(&self) -> u32 {
        self.clock
    }

    /// Another stream begins: it may count otherwise.
    pub fn restart(&mut self) {
        (self.assumed, self.against, self.last) = (true, 0, None);
    }

    /// Takes a packet by its extended number.
    pub fn note(&mut self, sequence: u64, timestamp: u32, payload: usize) {
        let before = self.last.replace((sequence, timestamp, u32::try_from(payload).unwrap_or(0)));
        let Some((last, stamp, bytes)) = before.filter(|(last, ..)| last + 1 == sequence) else { return };
        debug_assert!(last < sequence);
        // A byte is two samples, and one unit of the clock as it should be.
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
        // 20 ms of silence that were not sent, again and again, and a packet that was lost.
        for n in 0..10 {
            c.note(20 + 2 * n, (n as u32) * 640, 160);
            c.note(21 + 2 * n, (n as u32) * 640 + 160, 160);
        }
        c.note(50, 100_000, 160);
        c.note(52, 100_320, 160);
        assert_eq!(c.hz(), 8000);
        run(&mut c, 100, 5, 320);
        assert_eq!(c.hz(), 16_000, "but a far end that goes on so has changed");
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
