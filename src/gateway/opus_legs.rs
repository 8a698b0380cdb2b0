//! How many legs use Opus, which costs ten times what the other codecs do: `limits.opus_legs`. Further calls get the others.

use super::core::Gateway;
use super::error::GatewayError;
use super::leg::{Leg, LegId, Phase};
use crate::codec::Codec;

impl Leg {
    /// It uses Opus, or the far end may still choose it.
    fn holds_opus(&self) -> bool {
        match &self.stream {
            Some(agreed) => agreed.formats.codecs().any(|c| c == Codec::Opus),
            None => {
                matches!(self.phase, Phase::Inviting(_) | Phase::Answered { .. })
                    && self.codecs.contains(&Codec::Opus)
            }
        }
    }
}

impl Gateway {
    /// Legs that hold a place for Opus.
    pub(super) fn opus_legs(&self) -> u32 {
        self.opus_legs_beside(None)
    }

    fn opus_legs_beside(&self, id: Option<LegId>) -> u32 {
        let holds = |(other, leg): &(LegId, &Leg)| Some(*other) != id && leg.holds_opus();
        u32::try_from(self.legs.iter().filter(holds).count()).unwrap_or(u32::MAX)
    }

    /// Which of the codecs that are wished for a call of ours can offer now.
    pub(super) fn codecs_to_offer(&self, wished: &[Codec]) -> Result<Vec<Codec>, GatewayError> {
        let codecs = self.affordable(None, wished);
        if codecs.is_empty() {
            let max = self.config.limits.opus_legs;
            return Err(GatewayError::Unavailable(format!(
                "all {max} legs with Opus are in use (limits.opus_legs)"
            )));
        }
        Ok(codecs)
    }

    /// Which of `codecs` a leg may use now; `None` is one that begins.
    fn affordable(&self, id: Option<LegId>, codecs: &[Codec]) -> Vec<Codec> {
        let full = codecs.contains(&Codec::Opus) && self.opus_legs_beside(id) >= self.config.limits.opus_legs;
        codecs.iter().filter(|c| !full || **c != Codec::Opus).copied().collect()
    }

    /// Which codecs a leg may use now.
    pub(super) fn codecs_of(&self, id: LegId) -> Vec<Codec> {
        self.legs.get(id).map(|l| self.affordable(Some(id), &l.codecs)).unwrap_or_default()
    }
}
