//! How many legs use Opus, which costs ten times what the other codecs do: `limits.opus_legs`. Further calls get the others.

use super::registry::Legs;
use crate::codec::Codec;
use crate::gateway::error::GatewayError;
use crate::gateway::leg::Leg;
use crate::gateway::leg_id::LegId;

/// The legs that hold a place for Opus, and how many may.
#[derive(Debug, Clone, Copy)]
pub struct OpusPlaces<'a> {
    legs: &'a Legs,
    most: u32,
}

impl<'a> OpusPlaces<'a> {
    /// Of `legs`, `most` may use Opus.
    #[must_use]
    pub fn new(legs: &'a Legs, most: u32) -> Self {
        Self { legs, most }
    }

    /// Legs that hold a place.
    #[must_use]
    pub fn used(self) -> u32 {
        self.used_beside(None)
    }

    fn used_beside(self, id: Option<LegId>) -> u32 {
        let holds = |(other, leg): &(LegId, &Leg)| Some(*other) != id && leg.holds_opus();
        u32::try_from(self.legs.iter().filter(holds).count()).unwrap_or(u32::MAX)
    }

    /// Which of the codecs that are wished for a call of ours can offer now.
    ///
    /// # Errors
    /// None: all places of the only codec are taken.
    pub fn to_offer(self, wished: &[Codec]) -> Result<Vec<Codec>, GatewayError> {
        let codecs = self.affordable(None, wished);
        if codecs.is_empty() {
            return Err(GatewayError::Unavailable(format!(
                "all {} legs with Opus are in use (limits.opus_legs)",
                self.most
            )));
        }
        Ok(codecs)
    }

    /// True when a leg must not be offered Opus anew.
    #[must_use]
    pub fn are_closed_to(self, id: LegId) -> bool {
        let holds = self.legs.get(id).is_some_and(Leg::holds_opus);
        !holds && self.used() >= self.most
    }

    /// Which of `codecs` a leg may use now; `None` is one that begins.
    fn affordable(self, id: Option<LegId>, codecs: &[Codec]) -> Vec<Codec> {
        let full = codecs.contains(&Codec::Opus) && self.used_beside(id) >= self.most;
        codecs.iter().filter(|c| !full || **c != Codec::Opus).copied().collect()
    }

    /// Which codecs a leg may use now.
    #[must_use]
    pub fn codecs_of(self, id: LegId) -> Vec<Codec> {
        self.legs.get(id).map(|l| self.affordable(Some(id), &l.codecs)).unwrap_or_default()
    }
}
