//! Mute, deaf, and whether a leg takes the digits of others.

use super::core::Gateway;
use super::error::GatewayError;
use super::events::{Empty, EventBody};
use crate::base::time::Now;
use crate::media::command::Command;

impl Gateway {
    /// `POST|DELETE /legs/{id}/mute`: others hear the leg no more, or again.
    ///
    /// # Errors
    /// No such leg.
    pub fn mute(&mut self, now: Now, leg: &str, on: bool) -> Result<(), GatewayError> {
        let id = self.legs.find(leg)?;
        if let Some(l) = self.legs.get_mut(id) {
            l.muted = on;
            self.ctx.media.extend(l.slot.map(|slot| Command::Mute { slot, on }));
        }
        let body = if on { EventBody::LegMuted(Empty {}) } else { EventBody::LegUnmuted(Empty {}) };
        self.ctx.events.publish(now, id, body);
        Ok(())
    }

    /// `POST|DELETE /legs/{id}/deaf`: the leg hears nobody any more, or again.
    ///
    /// # Errors
    /// No such leg.
    pub fn deafen(&mut self, now: Now, leg: &str, on: bool) -> Result<(), GatewayError> {
        let id = self.legs.find(leg)?;
        if let Some(l) = self.legs.get_mut(id) {
            l.deaf = on;
            self.ctx.media.extend(l.slot.map(|slot| Command::Deaf { slot, on }));
        }
        let body = if on { EventBody::LegDeaf(Empty {}) } else { EventBody::LegUndeaf(Empty {}) };
        self.ctx.events.publish(now, id, body);
        Ok(())
    }

    /// `POST /legs/{id}/dtmf/accept` and `…/reject`.
    ///
    /// # Errors
    /// No such leg.
    pub fn accept_dtmf(&mut self, leg: &str, on: bool) -> Result<(), GatewayError> {
        let id = self.legs.find(leg)?;
        if let Some(l) = self.legs.get_mut(id) {
            l.accept_dtmf = on;
        }
        Ok(())
    }
}
