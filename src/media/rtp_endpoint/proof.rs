//! Protection against RTP amplification: the address in an answered call may be forged if the far end neither
//! sends the ACK nor audio; sending to it stops.

/// Ticks during which audio is sent to an unconfirmed far end: 2 s.
const PATIENCE: u8 = 100;

/// Confirmation state of a far end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Proof {
    /// Confirmed, or not in doubt.
    #[default]
    Given,
    /// ACK missing, for this many ticks, at most [`PATIENCE`].
    Awaited(u8),
}

impl Proof {
    /// The call has just been answered, or (`on` false) the ACK has arrived.
    pub(super) fn wait(&mut self, on: bool) {
        *self = if on { Self::Awaited(0) } else { Self::Given };
    }

    /// Call every tick; `heard`: audio from the far end was received.
    pub(super) fn tick(&mut self, heard: bool) {
        match self {
            Self::Awaited(_) if heard => *self = Self::Given,
            Self::Awaited(ticks) => *ticks = ticks.saturating_add(1).min(PATIENCE),
            Self::Given => {}
        }
    }

    /// True if nothing may be sent.
    pub(super) fn is_missing(self) -> bool {
        self == Self::Awaited(PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unconfirmed_far_end_gets_nothing_after_two_seconds() {
        let mut p = Proof::default();
        (0..200).for_each(|_| p.tick(false));
        assert!(!p.is_missing(), "not in doubt by default");
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
