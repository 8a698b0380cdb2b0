//! Calls that take the place of others: INVITE with Replaces (RFC 3891).

use std::collections::BTreeMap;

use crate::gateway::leg_id::LegId;
use crate::gateway::legs::Legs;
use crate::gateway::rooms::Rooms;
use crate::wire::Request;
use crate::wire::replaces::Replaces;

/// The leg whose place another takes, and how it was when last seen.
#[derive(Debug, Clone)]
pub struct Predecessor {
    /// The leg.
    pub leg: LegId,
    /// The room that it was in, or was to join.
    pub room: Option<String>,
    /// Others did not hear it.
    pub muted: bool,
    /// It heard nobody.
    pub deaf: bool,
    /// It took digits that others of its room send.
    pub accept_dtmf: bool,
}

impl Predecessor {
    /// How the leg is now.
    #[must_use]
    pub fn seen(id: LegId, legs: &Legs, rooms: &Rooms) -> Option<Self> {
        let leg = legs.get(id)?;
        // A call that is not answered yet joins its room later.
        let room = rooms.of_leg(id).or_else(|| rooms.wanted_by(id)).map(str::to_owned);
        let (muted, deaf) = (leg.media().is_muted(), leg.media().is_deaf());
        Some(Self { leg: id, room, muted, deaf, accept_dtmf: leg.accepts_dtmf() })
    }
}

/// The legs that take the place of others once they are connected.
#[derive(Debug, Default)]
pub struct Replacements(BTreeMap<LegId, Predecessor>);

impl Replacements {
    /// The leg whose place an INVITE wants; the refusal when there is none that may be replaced (§3).
    ///
    /// # Errors
    /// Code and reason phrase of the refusal.
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
            // Another call is taking its place already.
            return Err((603, "Decline"));
        }
        let same = call.dialog().is_some_and(|d| d.remote.tag().unwrap_or("0") == wanted.from_tag);
        match () {
            () if same && wanted.early_only => Err((486, "Busy Here")),
            // Somebody picks up what we make ring elsewhere; what rings here is not another's to take.
            () if same || call.rings(&wanted.from_tag) => Ok(Predecessor::seen(id, legs, rooms)),
            () => Err((481, "Call/Transaction Does Not Exist")),
        }
    }

    /// True when no leg takes the place of another.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `successor` takes this place once it is connected.
    pub fn add(&mut self, successor: LegId, place: Predecessor) {
        self.0.insert(successor, place);
    }

    /// The place that a leg takes, once.
    pub fn take(&mut self, successor: LegId) -> Option<Predecessor> {
        self.0.remove(&successor)
    }

    /// The leg that is about to take this one's place.
    #[must_use]
    pub fn successor_of(&self, leg: LegId) -> Option<LegId> {
        self.0.iter().find(|(_, p)| p.leg == leg).map(|(successor, _)| *successor)
    }

    /// How the leg before was when it ended.
    pub fn note_last(&mut self, successor: LegId, seen: Option<Predecessor>) {
        if let (Some(place), Some(seen)) = (self.0.get_mut(&successor), seen) {
            *place = seen;
        }
    }
}
