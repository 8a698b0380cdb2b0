//! Whether a far end is really there: an answered call whose far end neither acknowledges the answer nor sends sound may
//! have a forged address, and what we send hits somebody else.

/// Ticks for which sound goes out to a far end that has not shown itself: 2 s.
const PATIENCE: u8 = 100;

/// What is known of a far end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is there, or nobody doubts it.
    #[default]
    Given,
    /// Its answer is not acknowledged; for so many ticks, at most [`PATIENCE`].
    Awaited(u8),
}

impl Proof {
    /// The call was answered just now, or (`on` false) the answer is acknowledged.
    pub(super) fn wait(&mut self, on: bool) {
        *self = if on { Self::Awaited(0) } else { Self::Given };
    }

    /// A tick has passed, in which something came from the far end or nothing.
    pub(super) fn tick(&mut self, heard: bool) {
        match self {
            Self::Awaited(_) if heard => *self = Self::Given,
            Self::Awaited(ticks) => *ticks = ticks.saturating_add(1).min(PATIENCE),
            Self::Given => {}
        }
    }

    /// True when nothing is to be sent.
    pub(super) fn is_missing(self) -> bool {
        self == Self::Awaited(PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_two_seconds_without_a_sign_nothing_more_is_sent_until_there_is_one() {
        let mut p = Proof::default();
        (0..200).for_each(|_| p.tick(false));
        assert!(!p.is_missing(), "of calls that nobody doubts");
        p.wait(true);
        (0..99).for_each(|_| p.tick(false));
        assert!(!p.is_missing());
        (0..300).for_each(|_| p.tick(false));
        assert!(p.is_missing());
        p.tick(true);
        (0..300).for_each(|_| p.tick(false));
        assert!(!p.is_missing(), "sound came");
        p.wait(true);
        (0..300).for_each(|_| p.tick(false));
        p.wait(false);
        assert!(!p.is_missing(), "the ACK came");
    }
}
