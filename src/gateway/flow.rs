//! The way a call's signalling goes along connections: a far end that connects anew is followed there.

use super::core::Gateway;
use super::leg::{Leg, LegId, Phase};
use crate::sip::target::Target;
use crate::sip::transactions::ServerId;

impl Leg {
    /// INVITEs of the far end whose answer may still have to be sent or repeated.
    fn unfinished(&self) -> impl Iterator<Item = ServerId> + use<> {
        let initial = match &self.phase {
            Phase::Ringing { tx, .. } | Phase::Answered { tx, .. } => Some(*tx),
            Phase::Inviting(_) | Phase::Up { .. } | Phase::Ending { .. } => None,
        };
        initial.into_iter().chain(self.reinvite)
    }
}

impl Gateway {
    /// A request in a call has come along `source`. A connection that the same host has opened anew leads to it now,
    /// where its Contact may not (a router in between); the remote target stays what it is.
    pub(super) fn heard_along(&mut self, id: LegId, source: Target) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let anew = |f: &Target| {
            let same_host = (f.transport, f.addr.ip()) == (source.transport, source.addr.ip());
            same_host && source.conn.is_some() && f.conn != source.conn
        };
        if leg.flow.as_ref().is_some_and(anew) {
            self.flow_leads(id, source);
        }
    }

    /// A phone of ours has registered along another way: its calls follow.
    pub(super) fn flow_moved(&mut self, from: Target, to: Target) {
        let pinned = |l: &Leg| l.flow == Some(from) && l.dialog().is_some_and(|d| d.pinned.is_some());
        let calls: Vec<LegId> = self.legs.iter().filter(|(_, l)| pinned(l)).map(|(id, _)| id).collect();
        for id in calls {
            self.flow_leads(id, to);
        }
    }

    fn flow_leads(&mut self, id: LegId, to: Target) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.flow = Some(to);
        if let Some(dialog) = leg.dialog_mut() {
            dialog.move_pin(Self::uri_of(to));
        }
        for tx in leg.unfinished() {
            self.ctx.sip.answer_along(tx, to);
        }
    }
}
