//! Changes of a session that cross: which requests of the far end have to wait while something else is not done
//! (RFC 3261 §14.2, RFC 3311 §5.2, RFC 3262 §5).
//!
//! An INVITE crosses any INVITE of ours. What UPDATE and PRACK cross is an offer of either end that has no answer, and
//! only where they bring an offer themselves.

use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::sip::transactions::ServerId;

/// What is not done of a call's session.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unfinished {
    /// An INVITE of ours has no final response: of the call, or of a change.
    pub(super) our_invite: bool,
    /// Our offer has no answer in the early dialog of the one who asks.
    pub(super) our_offer: bool,
    /// An INVITE of theirs has no final response.
    pub(super) their_invite: bool,
    /// Their offer has no answer.
    pub(super) their_offer: bool,
}

/// The response that makes a request wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// An offer or INVITE of ours is not done: 491.
    Ours,
    /// An offer or INVITE of theirs is not done: 500 with Retry-After.
    Theirs,
}

/// Longest `Retry-After` of a 500 for crossing requests, seconds (RFC 3261 §14.2, RFC 3311 §5.2).
pub(super) const LONGEST_WAIT: u32 = 10;

impl Unfinished {
    /// Why an INVITE has to wait.
    pub(super) fn delays_invite(self) -> Option<Wait> {
        match self {
            Self { our_invite: true, .. } => Some(Wait::Ours),
            Self { their_invite: true, .. } => Some(Wait::Theirs),
            Self { our_offer: true, .. } => Some(Wait::Ours),
            Self { .. } => None,
        }
    }

    /// Why another request with an offer has to wait.
    pub(super) fn delays_offer(self) -> Option<Wait> {
        match self {
            Self { our_offer: true, .. } => Some(Wait::Ours),
            Self { their_offer: true, .. } => Some(Wait::Theirs),
            Self { .. } => None,
        }
    }
}

/// Refuses a request that has to wait.
pub(super) fn refuse(ctx: &mut Context, now: Now, tx: ServerId, wait: Wait) {
    let (code, reason) = match wait {
        Wait::Ours => (491, "Request Pending"),
        Wait::Theirs => (500, "Server Internal Error: another change is in progress"),
    };
    let Some(mut draft) = ctx.sip.draft(tx, code, reason) else { return };
    if code == 500 {
        draft.push("Retry-After", (ctx.rng.below(LONGEST_WAIT)).to_string());
    }
    ctx.sip.respond(now.mono, tx, code, &draft);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_waits_for_invites_and_an_offer_for_offers() {
        let all = Unfinished::default();
        assert_eq!((all.delays_invite(), all.delays_offer()), (None, None));
        let ours = Unfinished { our_invite: true, ..all };
        assert_eq!((ours.delays_invite(), ours.delays_offer()), (Some(Wait::Ours), None));
        let theirs = Unfinished { their_invite: true, ..all };
        assert_eq!((theirs.delays_invite(), theirs.delays_offer()), (Some(Wait::Theirs), None));
        // Our 2xx has the offer, and its ACK is to come.
        let offered = Unfinished { our_offer: true, ..all };
        assert_eq!((offered.delays_invite(), offered.delays_offer()), (Some(Wait::Ours), Some(Wait::Ours)));
        let asked = Unfinished { their_offer: true, ..all };
        assert_eq!((asked.delays_invite(), asked.delays_offer()), (None, Some(Wait::Theirs)));
    }
}
