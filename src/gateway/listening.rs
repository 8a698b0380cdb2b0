//! What is heard of a leg: whether somebody speaks, answering machines, and how well its media travels.

use super::core::Gateway;
use super::error::GatewayError;
use super::events::{AmdBeep, AmdResult, Empty, EventBody};
use super::leg::{Kind, LegId, Phase};
use super::replies::{Handle, Reply};
use crate::base::time::Now;
use crate::media::amd::{News, Parameters};
use crate::media::command::{Command, Quality, Slot};

/// Callers that may wait for one leg's figures.
const MAX_ASKERS: usize = 64;

impl Gateway {
    /// `POST /legs/{id}/amd`; `amd.result` follows, once.
    ///
    /// # Errors
    /// No such leg (404), or it is not connected (409).
    pub fn detect_machine(&mut self, name: &str, parameters: Parameters) -> Result<(), GatewayError> {
        let id = self.legs.find(name)?;
        let connected = |l: &super::leg::Leg| l.connected && matches!(l.phase, Phase::Up { .. }) && !l.held;
        if !self.legs.get(id).is_some_and(connected) {
            return Err(GatewayError::Conflict("leg is not connected".to_owned()));
        }
        self.start_detection(id, parameters);
        Ok(())
    }

    fn start_detection(&mut self, id: LegId, parameters: Parameters) {
        let Some(leg) = self.legs.get(id) else { return };
        let Some(slot) = leg.slot else { return };
        self.ctx.media.push_back(Command::Amd { slot, parameters });
    }

    /// A leg is connected: from now on it is listened to.
    pub(super) fn listen(&mut self, id: LegId) {
        let Some(leg) = self.legs.get(id) else { return };
        let (slot, amd) = (leg.slot, leg.amd.filter(|_| leg.kind == Kind::SipOutbound));
        if let Some(slot) = slot.filter(|_| self.ctx.config.events.speaking) {
            self.ctx.media.push_back(Command::Speaking { slot });
        }
        if let Some(parameters) = amd {
            self.start_detection(id, parameters);
        }
    }

    /// Somebody began to speak, or fell silent.
    pub(super) fn speaking(&mut self, now: Now, slot: Slot, on: bool) {
        let Some(id) = self.legs.at(slot) else { return };
        let body =
            if on { EventBody::SpeakingStarted(Empty {}) } else { EventBody::SpeakingStopped(Empty {}) };
        match self.rooms.of_leg(id) {
            Some(room) => self.ctx.events.publish_in_room(now, id, room, body),
            None => self.ctx.events.publish(now, id, body),
        }
    }

    /// Who answered, or that the beep was heard.
    pub(super) fn detected(&mut self, now: Now, slot: Slot, news: News) {
        let Some(id) = self.legs.at(slot) else { return };
        match news {
            News::Outcome(o) => {
                let body = AmdResult {
                    result: o.verdict.as_str(),
                    initial_silence_ms: o.initial_silence_ms,
                    greeting_duration_ms: o.greeting_ms,
                    total_analysis_ms: o.total_ms,
                };
                self.ctx.events.publish(now, id, EventBody::AmdResult(body));
            }
            News::Beep(beep_ms) => {
                self.ctx.events.publish(now, id, EventBody::AmdBeep(AmdBeep { beep_ms }));
            }
        }
    }

    /// `GET /legs/{id}/quality`. The reply comes with the next tick of the media thread.
    ///
    /// # Errors
    /// No such leg (404), no media yet (409), too many ask at once (503).
    pub fn ask_quality(&mut self, name: &str) -> Result<Handle, GatewayError> {
        let id = self.legs.find(name)?;
        let handle = self.ctx.replies.expect();
        let leg = self.legs.get_mut(id).ok_or(GatewayError::NotFound("leg not found"))?;
        let Some(slot) = leg.slot else {
            return Err(GatewayError::Conflict("the leg has no media yet".to_owned()));
        };
        if leg.askers.len() >= MAX_ASKERS {
            return Err(GatewayError::Unavailable("too many ask for the figures of this leg".to_owned()));
        }
        leg.askers.push(handle);
        self.ctx.media.push_back(Command::Quality { slot });
        Ok(handle)
    }

    /// The figures of a leg are here.
    pub(super) fn quality_told(&mut self, slot: Slot, quality: &Quality) {
        let Some(leg) = self.legs.at(slot).and_then(|id| self.legs.get_mut(id)) else { return };
        for asker in std::mem::take(&mut leg.askers) {
            self.ctx.replies.send(asker, Ok(Reply::Quality(Box::new(*quality))));
        }
    }

    /// Nobody will hear of a leg's figures any more.
    pub(super) fn quality_untold(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        for asker in std::mem::take(&mut leg.askers) {
            self.ctx.replies.send(asker, Err(GatewayError::NotFound("leg not found")));
        }
    }
}
