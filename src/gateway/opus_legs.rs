//! How many legs use Opus, which costs ten times what the other codecs do: `limits.opus_legs`. Further calls get the others.

use super::core::Gateway;
use super::error::GatewayError;
use super::leg::{Leg, LegId, Phase};
use crate::codec::{Codec, opus};

impl Leg {
    /// It uses Opus, or the far end may still choose it: any of its phones, while none has answered. Who began with Opus keeps
    /// its sampling rate, and with it the place, until the call ends.
    pub(super) fn holds_opus(&self) -> bool {
        let offered = self.codecs.contains(&Codec::Opus);
        match (&self.phase, &self.stream) {
            (Phase::Inviting(_), _) | (Phase::Answered { .. } | Phase::Up { .. }, None) => offered,
            (_, Some(agreed)) => self.rate == opus::RATE || agreed.formats.codecs().any(|c| c == Codec::Opus),
            (Phase::Ringing { .. } | Phase::Ending { .. }, None) => false,
        }
    }

    /// What an offer of ours inside the call may have in it: no Opus where it is not in use, as another may take the last place
    /// before the answer comes.
    pub(super) fn codecs_to_offer_again(&self) -> Vec<Codec> {
        let holds = self.holds_opus();
        self.codecs.iter().filter(|c| holds || **c != Codec::Opus).copied().collect()
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
            let max = self.ctx.config.limits.opus_legs;
            return Err(GatewayError::Unavailable(format!(
                "all {max} legs with Opus are in use (limits.opus_legs)"
            )));
        }
        Ok(codecs)
    }

    /// True when a leg must not be offered Opus anew.
    pub(super) fn may_not_offer_opus(&self, id: LegId) -> bool {
        let holds = self.legs.get(id).is_some_and(Leg::holds_opus);
        !holds && self.opus_legs() >= self.ctx.config.limits.opus_legs
    }

    /// Which of `codecs` a leg may use now; `None` is one that begins.
    fn affordable(&self, id: Option<LegId>, codecs: &[Codec]) -> Vec<Codec> {
        let full =
            codecs.contains(&Codec::Opus) && self.opus_legs_beside(id) >= self.ctx.config.limits.opus_legs;
        codecs.iter().filter(|c| !full || **c != Codec::Opus).copied().collect()
    }

    /// Which codecs a leg may use now.
    pub(super) fn codecs_of(&self, id: LegId) -> Vec<Codec> {
        self.legs.get(id).map(|l| self.affordable(Some(id), &l.codecs)).unwrap_or_default()
    }
}
