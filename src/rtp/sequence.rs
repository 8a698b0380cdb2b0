//! Extended sequence numbers of one source (RFC 3550 §A.1).

/// Numbers ahead of the highest still accepted: a loss of a minute at 20 ms per packet.
const MAX_DROPOUT: u16 = 3000;
/// Numbers behind the highest still accepted: reordered packets.
const MAX_MISORDER: u16 = 100;
/// Sequence numbers per cycle of 16 bits.
const CYCLE: u64 = 1 << 16;

/// Classification of a packet by its sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// First packet of its source, or second packet after a restart of the sender; extended number.
    Begins(u64),
    /// Part of the stream: in order, late or duplicate; extended number.
    Continues(u64),
    /// Far outside the stream: a restart of the sender, or a stray packet. Confirmed by the next packet; this
    /// one is dropped.
    Doubtful,
}

/// Extended sequence numbers of one source; never 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sequence {
    highest: Option<u64>,
    /// The number that would confirm a restart.
    expected: Option<u16>,
}

impl Sequence {
    /// Processes a sequence number: from 100 below the highest to 3,000 above it belong to the stream, two
    /// consecutive ones outside of that are a restart.
    pub fn note(&mut self, number: u16) -> Arrival {
        let Some(highest) = self.highest else {
            return self.begin(CYCLE + u64::from(number));
        };
        if self.expected == Some(number) {
            // Skips a whole cycle, so that packets before the first have numbers too.
            return self.begin((highest | (CYCLE - 1)) + 1 + CYCLE + u64::from(number));
        }
        let ahead = number.wrapping_sub(highest as u16);
        let behind = ahead.wrapping_neg();
        if ahead <= MAX_DROPOUT {
            (self.highest, self.expected) = (Some(highest + u64::from(ahead)), None);
            return Arrival::Continues(highest + u64::from(ahead));
        }
        if behind <= MAX_MISORDER {
            return Arrival::Continues(highest - u64::from(behind));
        }
        self.expected = Some(number.wrapping_add(1));
        Arrival::Doubtful
    }

    fn begin(&mut self, extended: u64) -> Arrival {
        *self = Self { highest: Some(extended), expected: None };
        Arrival::Begins(extended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(numbers: impl IntoIterator<Item = u16>) -> Vec<Arrival> {
        let mut s = Sequence::default();
        numbers.into_iter().map(|n| s.note(n)).collect()
    }

    #[test]
    fn numbers_count_on_over_the_turn_and_back() {
        use Arrival::{Begins, Continues};
        let base = CYCLE;
        assert_eq!(
            fed([65_534, 65_535, 1, 0, 65_535, 1]),
            [
                Begins(base + 65_534),
                Continues(base + 65_535),
                Continues(base + 65_537),
                Continues(base + 65_536),
                Continues(base + 65_535),
                Continues(base + 65_537)
            ]
        );
    }

    #[test]
    fn two_consecutive_numbers_outside_the_window_are_a_restart() {
        for jump in [-32_768i32, -20_000, -3_000, -500, -101, 3_001, 5_000, 32_767] {
            let at = |n: i32| (40_000 + jump + n) as u16;
            let got = fed([40_000, at(0), at(1), at(2)]);
            assert_eq!(got[1], Arrival::Doubtful, "{jump}");
            let Arrival::Begins(first) = got[2] else { panic!("{jump}: {got:?}") };
            assert_eq!(got[3], Arrival::Continues(first + 1), "{jump}");
            assert_eq!(first as u16, at(1), "{jump}");
        }
        for jump in [-100i32, -60, 60, 3_000] {
            let got = fed([40_000, (40_000 + jump) as u16]);
            assert_eq!(
                got[1],
                Arrival::Continues((i64::from(jump) + 40_000 + CYCLE as i64) as u64),
                "{jump}"
            );
        }
    }

    #[test]
    fn stray_packets_do_not_restart() {
        let got = fed([100, 101, 9_000, 102, 9_001, 103, 9_002, 20_000, 104, 50_000, 104]);
        assert_eq!(got.iter().filter(|a| **a == Arrival::Doubtful).count(), 5, "{got:?}");
        assert!(!got[1..].iter().any(|a| matches!(a, Arrival::Begins(_))), "{got:?}");
    }
}
