//! INVITE with Replaces (RFC 3891).

use std::collections::BTreeMap;

use crate::gateway::legs::Legs;
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::rooms::Rooms;
use crate::wire::Request;
use crate::wire::replaces::Replaces;

/// A leg being replaced, and its last known state.
#[derive(Debug, Clone)]
pub struct Predecessor {
    /// The leg.
    pub leg: LegId,
    /// Its room, or the room it was waiting to join.
    pub room: Option<String>,
    /// Other members did not hear it.
    pub muted: bool,
    /// It did not hear other members.
    pub deaf: bool,
    /// It received digits sent by other members of its room.
    pub accept_dtmf: bool,
}

impl Predecessor {
    /// The current state of the leg.
    #[must_use]
    pub fn seen(id: LegId, legs: &Legs, rooms: &Rooms) -> Option<Self> {
        let leg = legs.get(id)?;
        // An unanswered call joins its room later.
        let room = rooms.of_leg(id).or_else(|| rooms.wanted_by(id)).map(str::to_owned);
        let (muted, deaf) = (leg.media().is_muted(), leg.media().is_deaf());
        Some(Self { leg: id, room, muted, deaf, accept_dtmf: leg.accepts_dtmf() })
    }
}

/// Legs that replace others once they are connected.
#[derive(Debug, Default)]
pub struct Replacements(BTreeMap<LegId, Predecessor>);

impl Replacements {
    /// The leg to be replaced by an INVITE (§3).
    ///
    /// # Errors
    /// Status code and reason phrase if there is none that may be replaced.
    pub fn wanted_by(
        &self,
        request: &Request,
        legs: &Legs,
        rooms: &Rooms,
    ) -> Result<Option<Predecessor>, (u16, &'static str)> {
        let mut values = request.common.headers.all("Replaces");
        let Some(value) = values.next() else { return Ok(None) };
        let Ok(wanted) = Replaces::parse(value) else { return Err((400, "Bad Request: Replaces")) };
        if values.next().is_some() {
            return Err((400, "Bad Request: more than one Replaces"));
        }
        let key = (wanted.call_id, wanted.to_tag);
        let found = legs.of_dialog(&key).and_then(|id| Some((id, legs.get(id)?.call())));
        let Some((id, call)) = found else {
            let over = legs.had_dialog(&key);
            return Err(if over { (603, "Decline") } else { (481, "Call/Transaction Does Not Exist") });
        };
        if self.successor_of(id).is_some() {
            // It is already being replaced by another call.
            return Err((603, "Decline"));
        }
        let same = call.dialog().is_some_and(|d| d.remote.tag().unwrap_or("0") == wanted.from_tag);
        match () {
            () if same && wanted.early_only => Err((486, "Busy Here")),
            // Call pickup of an outbound leg that is ringing; inbound ringing legs cannot be replaced.
            () if same || call.rings(&wanted.from_tag) => Ok(Predecessor::seen(id, legs, rooms)),
            () => Err((481, "Call/Transaction Does Not Exist")),
        }
    }

    /// True without replacements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `successor` replaces this leg once it is connected.
    pub fn add(&mut self, successor: LegId, place: Predecessor) {
        self.0.insert(successor, place);
    }

    /// Removes and returns the leg to be replaced.
    pub fn take(&mut self, successor: LegId) -> Option<Predecessor> {
        self.0.remove(&successor)
    }

    /// The leg that will replace this one.
    #[must_use]
    pub fn successor_of(&self, leg: LegId) -> Option<LegId> {
        self.0.iter().find(|(_, p)| p.leg == leg).map(|(successor, _)| *successor)
    }

    /// Records the last state of the leg to be replaced.
    pub fn note_last(&mut self, successor: LegId, seen: Option<Predecessor>) {
        if let (Some(place), Some(seen)) = (self.0.get_mut(&successor), seen) {
            *place = seen;
        }
    }
}
