//! Limit of legs with Opus (`limits.opus_legs`), which takes about ten times the CPU of other codecs. Further
//! calls use others.

use crate::codec::Codec;
use crate::gateway::interface::error::GatewayError;

/// Capacity for legs with Opus.
#[derive(Debug, Clone, Copy)]
pub struct OpusPlaces {
    used: u32,
    most: u32,
}

impl OpusPlaces {
    /// At most `most` legs may use Opus.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { used: 0, most }
    }

    /// Legs that use Opus.
    #[must_use]
    pub fn used(self) -> u32 {
        self.used
    }

    /// True if no capacity is left.
    #[must_use]
    pub fn is_full(self) -> bool {
        self.used >= self.most
    }

    /// Takes or returns the place of a leg. The limit may be exceeded: a late codec choice of a far end is
    /// not refused.
    pub fn settle(&mut self, has: &mut bool, wants: bool) {
        match (*has, wants) {
            (false, true) => self.used += 1,
            (true, false) => self.used = self.used.saturating_sub(1),
            (true, true) | (false, false) => {}
        }
        *has = wants;
    }

    /// The codecs that a leg may use, depending on whether it `has` a place.
    #[must_use]
    pub fn affordable(self, has: bool, codecs: &[Codec]) -> Vec<Codec> {
        let full = self.used.saturating_sub(has.into()) >= self.most;
        codecs.iter().filter(|c| !full || **c != Codec::Opus).copied().collect()
    }

    /// The codecs of `wished` that an outbound call can offer now.
    ///
    /// # Errors
    /// Opus is the only codec, and no place is left.
    pub fn to_offer(self, wished: &[Codec]) -> Result<Vec<Codec>, GatewayError> {
        let codecs = self.affordable(false, wished);
        if codecs.is_empty() {
            return Err(GatewayError::Unavailable(format!(
                "all {} legs with Opus are in use (limits.opus_legs)",
                self.most
            )));
        }
        Ok(codecs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_place_keeps_it_and_others_get_the_other_codecs() {
        let mut places = OpusPlaces::new(1);
        let both = [Codec::Opus, Codec::Pcma];
        let (mut first, mut second) = (false, false);
        places.settle(&mut first, true);
        places.settle(&mut first, true);
        assert_eq!((places.used(), places.is_full()), (1, true));
        assert_eq!(places.affordable(first, &both), both);
        assert_eq!(places.affordable(second, &both), [Codec::Pcma]);
        assert!(matches!(places.to_offer(&both[..1]), Err(GatewayError::Unavailable(_))));
        places.settle(&mut second, true);
        assert_eq!(places.affordable(second, &both), [Codec::Pcma], "one more than there are");
        places.settle(&mut first, false);
        places.settle(&mut second, false);
        assert_eq!(places.to_offer(&both), Ok(both.to_vec()));
    }
}
