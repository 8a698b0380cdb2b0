//! Sequence numbers of one source, counted on over their turns (RFC 3550 §A.1).

/// Numbers ahead of the highest that still belong to the stream: a loss of a minute at 20 ms a packet.
const MAX_DROPOUT: u16 = 3000;
/// Numbers behind the highest that still belong to it: packets that were overtaken.
const MAX_MISORDER: u16 = 100;
/// Numbers in one turn of the 16 bits on the wire.
const CYCLE: u64 = 1 << 16;

/// What the number of a packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The first of its source, or the second of a sender that has begun anew; its extended number.
    Begins(u64),
    /// One of the stream, in order, late or a copy; its extended number.
    Continues(u64),
    /// Far outside the stream: a sender that begins anew, or a stray. Only a packet with the number after it tells; this
    /// one is dropped.
    Doubtful,
}

/// Extended sequence numbers of one source; never 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sequence {
    highest: Option<u64>,
    /// The number that would confirm a new start.
    expected: Option<u16>,
}

impl Sequence {
    /// Takes a number from the wire: those from 100 below the highest to 3,000 above it belong to the stream, two in order
    /// outside of that are a new start.
    pub fn note(&mut self, number: u16) -> Arrival {
        let Some(highest) = self.highest else {
            return self.begin(CYCLE + u64::from(number));
        };
        if self.expected == Some(number) {
            // A whole turn in between, so that packets before the first have numbers too.
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
    fn two_in_order_outside_the_window_are_a_new_start_wherever_they_lie() {
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
    fn strays_begin_nothing() {
        let got = fed([100, 101, 9_000, 102, 9_001, 103, 9_002, 20_000, 104, 50_000, 104]);
        assert_eq!(got.iter().filter(|a| **a == Arrival::Doubtful).count(), 5, "{got:?}");
        assert!(!got[1..].iter().any(|a| matches!(a, Arrival::Begins(_))), "{got:?}");
    }
}
