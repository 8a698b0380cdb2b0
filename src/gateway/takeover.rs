//! A call that takes the place of another: INVITE with Replaces (RFC 3891).

use super::core::Gateway;
use super::leg::{Leg, LegId, Phase};
use super::rooms::Rooms;
use crate::base::time::Now;
use crate::wire::Request;
use crate::wire::replaces::Replaces;

/// The leg whose place another takes, and how it was when last seen.
#[derive(Debug, Clone)]
pub struct Predecessor {
    /// The leg.
    pub(super) leg: LegId,
    room: Option<String>,
    muted: bool,
    deaf: bool,
    accept_dtmf: bool,
}

impl Predecessor {
    fn new(id: LegId, leg: &Leg, rooms: &Rooms) -> Self {
        // A call that is not answered yet joins its room later.
        let room = rooms.of_leg(id).or_else(|| rooms.wanted_by(id)).map(str::to_owned);
        Self {
            leg: id,
            room,
            muted: leg.media.is_muted(),
            deaf: leg.media.is_deaf(),
            accept_dtmf: leg.accept_dtmf,
        }
    }
}

impl Gateway {
    /// The leg whose place an INVITE wants; the refusal when there is none that may be replaced (§3).
    pub(super) fn replaced_by(&self, request: &Request) -> Result<Option<Predecessor>, (u16, &'static str)> {
        let mut values = request.common.headers.all("Replaces");
        let Some(value) = values.next() else { return Ok(None) };
        let Ok(wanted) = Replaces::parse(value) else { return Err((400, "Bad Request: Replaces")) };
        if values.next().is_some() {
            return Err((400, "Bad Request: more than one Replaces"));
        }
        let key = (wanted.call_id, wanted.to_tag);
        let found = self.legs.of_dialog(&key).and_then(|id| Some((id, self.legs.get(id)?)));
        let Some((id, leg)) = found else {
            let over = self.legs.had_dialog(&key);
            return Err(if over { (603, "Decline") } else { (481, "Call/Transaction Does Not Exist") });
        };
        if self.legs.iter().any(|(_, l)| l.replaces.as_ref().is_some_and(|p| p.leg == id)) {
            // Another call is taking its place already.
            return Err((603, "Decline"));
        }
        let rings = |tag: &str| matches!(&leg.phase, Phase::Inviting(i) if i.rings(tag));
        let same = leg.dialog().is_some_and(|d| d.remote.tag().unwrap_or("0") == wanted.from_tag);
        match leg.phase {
            Phase::Up { .. } | Phase::Answered { .. } if same && wanted.early_only => Err((486, "Busy Here")),
            Phase::Up { .. } | Phase::Answered { .. } if same => {
                Ok(Some(Predecessor::new(id, leg, &self.rooms)))
            }
            // Somebody picks up what we make ring elsewhere; what rings here is not another's to take.
            Phase::Inviting(_) if rings(&wanted.from_tag) => Ok(Some(Predecessor::new(id, leg, &self.rooms))),
            Phase::Up { .. }
            | Phase::Answered { .. }
            | Phase::Ringing { .. }
            | Phase::Inviting(_)
            | Phase::Ending { .. } => Err((481, "Call/Transaction Does Not Exist")),
        }
    }

    /// The leg is connected: it joins what the one before it was in, as that one was, and that one ends.
    pub(super) fn take_over(&mut self, now: Now, id: LegId) {
        let Some(mut before) = self.legs.get_mut(id).and_then(|l| l.replaces.take()) else { return };
        // One that is ending has left its room; what it was in is known from before.
        if let Some(old) = self.legs.get(before.leg).filter(|l| !l.is_ending()) {
            before = Predecessor::new(before.leg, old, &self.rooms);
        }
        // One that was deleted since then stays so.
        let room = before.room.filter(|r| self.rooms.contains(r));
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.media.set_muted(&mut self.ctx, before.muted);
        leg.media.set_deaf(&mut self.ctx, before.deaf);
        leg.accept_dtmf = before.accept_dtmf;
        self.hand_over_referral(before.leg, id);
        // First out, then in: the room may be full.
        self.hang_up(now, before.leg, "replaced", None);
        if let (Some(member), Some(room)) = (self.member(id), room) {
            self.rooms.join_or_create(&mut self.ctx, now, &member, &room);
        }
    }

    /// Who picks up the call of a transfer has answered it.
    fn hand_over_referral(&mut self, from: LegId, to: LegId) {
        let referral = self.legs.get_mut(from).and_then(|l| l.referral.take());
        if let (Some(leg), Some(referral)) = (self.legs.get_mut(to), referral) {
            leg.referral = Some(referral);
        }
    }

    /// A leg ends: should another be about to take its place, that one knows what it was in.
    pub(super) fn leave_to_successor(&mut self, id: LegId) {
        let Some((last, _)) =
            self.legs.iter().find(|(_, l)| l.replaces.as_ref().is_some_and(|p| p.leg == id))
        else {
            return;
        };
        self.hand_over_referral(id, last);
        let seen = self.legs.get(id).map(|old| Predecessor::new(id, old, &self.rooms));
        if let Some(leg) = self.legs.get_mut(last) {
            leg.replaces = seen;
        }
    }
}
