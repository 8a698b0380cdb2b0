//! Changes of a session that cross: which requests of the far end have to wait while something else is not done
//! (RFC 3261 §14.2, RFC 3311 §5.2, RFC 3262 §5).
//!
//! An INVITE crosses any INVITE of ours. What UPDATE and PRACK cross is an offer of either end that has no answer, and
//! only where they bring an offer themselves.

use super::core::Gateway;
use super::leg::{Leg, LegId, Phase};
use crate::base::time::Now;
use crate::sip::transactions::ServerId;
use crate::wire::{Method, Request};

/// The response that makes a request wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// An offer or INVITE of ours is not done: 491.
    Ours,
    /// An offer or INVITE of theirs is not done: 500 with Retry-After.
    Theirs,
}

/// Longest `Retry-After` of a 500 for crossing requests, seconds (RFC 3261 §14.2, RFC 3311 §5.2).
pub(super) const LONGEST_WAIT: u32 = 10;

impl Leg {
    /// Why a request of the far end has to wait.
    fn crosses(&self, request: &Request, offers: bool) -> Option<Wait> {
        let inviting = match &self.phase {
            Phase::Inviting(inviting) => Some(inviting),
            Phase::Ringing { .. } | Phase::Answered { .. } | Phase::Up { .. } | Phase::Ending { .. } => None,
        };
        let asks = self.change.as_ref().is_some_and(|c| c.asks_by(&Method::Invite));
        let ringing = matches!(self.phase, Phase::Ringing { .. });
        if request.method == Method::Invite {
            return match () {
                () if asks || inviting.is_some() => Some(Wait::Ours),
                () if ringing || self.reinvite.is_some() => Some(Wait::Theirs),
                () if self.offer_in_ack.is_some() => Some(Wait::Ours),
                () => None,
            };
        }
        let early = inviting.is_some_and(|i| !i.has_answer(request.common.from.tag()));
        match () {
            () if !offers => None,
            () if asks || early || self.offer_in_ack.is_some() => Some(Wait::Ours),
            () if ringing && !self.reliable.as_ref().is_some_and(|r| r.has_described()) => Some(Wait::Theirs),
            () => None,
        }
    }
}

impl Gateway {
    /// Refuses a request that crosses another change of the session, with or without an offer; true when it has done so.
    pub(super) fn refused_as_crossing(
        &mut self,
        now: Now,
        tx: ServerId,
        id: LegId,
        request: &Request,
        offers: bool,
    ) -> bool {
        let Some(leg) = self.legs.get(id) else { return false };
        let (code, reason) = match leg.crosses(request, offers) {
            Some(Wait::Ours) => (491, "Request Pending"),
            Some(Wait::Theirs) => (500, "Server Internal Error: another change is in progress"),
            None => {
                if offers || request.method == Method::Invite {
                    self.postpone_change(now, id);
                }
                return false;
            }
        };
        let Some(mut draft) = self.ctx.sip.draft(tx, code, reason) else { return true };
        if code == 500 {
            draft.push("Retry-After", (self.ctx.rng.below(LONGEST_WAIT)).to_string());
        }
        self.ctx.sip.respond(now.mono, tx, code, &draft);
        true
    }
}
