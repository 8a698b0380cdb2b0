//! Reception statistics of a stream: loss and jitter (RFC 3550 §A.3, §A.8).

use super::sequence::Arrival;

/// Reception statistics of one stream.
#[derive(Debug, Clone, Default)]
pub struct Reception {
    started: bool,
    base: u64,
    highest: u64,
    received: u64,
    /// Totals of streams before a restart.
    past_expected: u64,
    past_received: u64,
    /// Jitter in clock units, scaled by 16.
    jitter: f64,
    transit: Option<f64>,
    /// Totals at the last report.
    reported_expected: u64,
    reported_received: u64,
}

impl Reception {
    /// Records a packet with the classification of its sequence number; doubtful ones do not count.
    /// `arrival_ns`: monotonic time in ns, `clock`: clock rate of the payload in Hz; telephone events
    /// (`audio` false) do not affect the jitter.
    pub fn note(&mut self, arrival: Arrival, timestamp: u32, arrival_ns: u64, clock: u32, audio: bool) {
        match arrival {
            Arrival::Begins(extended) => self.begin(extended),
            Arrival::Continues(extended) if self.started => self.highest = self.highest.max(extended),
            Arrival::Continues(extended) => self.begin(extended),
            Arrival::Doubtful => return,
        }
        self.received += 1;
        if audio && clock > 0 {
            let arrival = arrival_ns as f64 * f64::from(clock) / 1e9;
            self.note_transit(arrival - f64::from(timestamp), f64::from(clock));
        }
    }

    fn begin(&mut self, extended: u64) {
        self.past_expected = self.expected();
        self.past_received = self.received;
        (self.started, self.base, self.highest) = (true, extended, extended);
        self.transit = None;
    }

    fn note_transit(&mut self, transit: f64, clock: f64) {
        if let Some(before) = self.transit {
            // Timestamps wrap; a step of more than a second is a restart, not jitter.
            let d = (transit - before).abs();
            if d < clock {
                self.jitter += (d - self.jitter) / 16.0;
            }
        }
        self.transit = Some(transit);
    }

    /// A new stream starts; totals of the old one are kept.
    pub fn new_stream(&mut self) {
        self.past_expected = self.expected();
        self.past_received = self.received;
        (self.reported_expected, self.reported_received) = (self.past_expected, self.past_received);
        self.started = false;
    }

    /// Packets lost in the current stream, as reported in RTCP.
    #[must_use]
    pub fn stream_lost(&self) -> u64 {
        let expected = self.expected() - self.past_expected;
        expected.saturating_sub(self.received - self.past_received)
    }

    /// Packets expected.
    #[must_use]
    pub fn expected(&self) -> u64 {
        let now = if self.started { self.highest - self.base + 1 } else { 0 };
        self.past_expected + now
    }

    /// Packets received, including duplicates.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    /// Interarrival jitter, in clock units.
    #[must_use]
    pub fn jitter(&self) -> f64 {
        self.jitter
    }

    /// The low 32 bits of the extended highest sequence number, as reports carry it.
    #[must_use]
    pub fn highest(&self) -> u32 {
        self.highest as u32
    }

    /// Share of packets lost since the last call, in 1/256.
    pub fn fraction_lost(&mut self) -> u8 {
        let expected = self.expected().saturating_sub(self.reported_expected);
        let received = self.received.saturating_sub(self.reported_received);
        (self.reported_expected, self.reported_received) = (self.expected(), self.received);
        let lost = expected.saturating_sub(received);
        (lost * 256).checked_div(expected).map_or(0, |f| u8::try_from(f).unwrap_or(255))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sequence::Sequence;
    use super::*;

    #[test]
    fn loss_is_right_over_a_wrap_and_with_disorder() {
        let (mut r, mut s) = (Reception::default(), Sequence::default());
        // Every tenth packet is lost, every 97th comes after its successor.
        let mut order: Vec<u32> = (0..100_000).collect();
        for i in (1..99_000).step_by(97) {
            order.swap(i, i + 1);
        }
        for i in order.into_iter().filter(|i| i % 10 != 3) {
            let arrival = s.note(65_000u16.wrapping_add(i as u16));
            r.note(arrival, i * 160, u64::from(i) * 20_000_000, 8000, true);
        }
        assert_eq!(r.expected(), 100_000);
        assert_eq!((r.received(), r.lost()), (90_000, 10_000));
        assert_eq!(r.fraction_lost(), 25);
        assert_eq!(r.fraction_lost(), 0);
        assert!(r.jitter() < 0.01, "{}", r.jitter());
    }

    #[test]
    fn jitter_is_that_of_the_arrivals() {
        let (mut r, mut s) = (Reception::default(), Sequence::default());
        for i in 0..2_000u64 {
            let late = if i % 2 == 0 { 0 } else { 5_000_000 };
            r.note(s.note(i as u16), i as u32 * 160, i * 20_000_000 + late, 8000, true);
        }
        assert!((r.jitter() - 40.0).abs() < 0.5, "5 ms are 40 units: {}", r.jitter());
    }

    #[test]
    fn a_restart_counts_no_loss_wherever_it_is() {
        for first in [40_000u16, 700, 9_000, 13_100] {
            let (mut r, mut s) = (Reception::default(), Sequence::default());
            for n in [10_000, 10_001, 10_002, first, first + 1, first + 2] {
                r.note(s.note(n), 0, 0, 8000, false);
            }
            assert_eq!((r.expected(), r.received(), r.lost()), (5, 5, 0), "{first}");
        }
    }
}
