//! Crossing session changes: which requests of the far end must wait while another change is in progress (RFC
//! 3261 §14.2, RFC 3311 §5.2, RFC 3262 §5).
//!
//! An INVITE conflicts with any INVITE of ours. UPDATE and PRACK conflict with an unanswered offer of either
//! end, and only if they contain an offer themselves.

use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::sip::transactions::ServerId;

/// Session changes in progress.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unfinished {
    /// Our INVITE has no final response: of the call or of a change.
    pub(super) our_invite: bool,
    /// Our offer has not been answered in the early dialog of the requester.
    pub(super) our_offer: bool,
    /// The far end's INVITE has no final response.
    pub(super) their_invite: bool,
    /// The far end's offer has not been answered.
    pub(super) their_offer: bool,
}

/// The response that makes a request wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Our offer or INVITE is in progress: 491.
    Ours,
    /// The far end's offer or INVITE is in progress: 500 with Retry-After.
    Theirs,
}

/// Longest `Retry-After` of a 500 for crossing requests, seconds (RFC 3261 §14.2, RFC 3311 §5.2).
pub(super) const LONGEST_WAIT: u32 = 10;

impl Unfinished {
    /// Whether, and why, an INVITE must wait.
    pub(super) fn delays_invite(self) -> Option<Wait> {
        match self {
            Self { our_invite: true, .. } => Some(Wait::Ours),
            Self { their_invite: true, .. } => Some(Wait::Theirs),
            Self { our_offer: true, .. } => Some(Wait::Ours),
            Self { .. } => None,
        }
    }

    /// Whether, and why, another request with an offer must wait.
    pub(super) fn delays_offer(self) -> Option<Wait> {
        match self {
            Self { our_offer: true, .. } => Some(Wait::Ours),
            Self { their_offer: true, .. } => Some(Wait::Theirs),
            Self { .. } => None,
        }
    }
}

/// Refuses a request that must wait.
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
        // Our 2xx contains the offer, and its ACK is pending.
        let offered = Unfinished { our_offer: true, ..all };
        assert_eq!((offered.delays_invite(), offered.delays_offer()), (Some(Wait::Ours), Some(Wait::Ours)));
        let asked = Unfinished { their_offer: true, ..all };
        assert_eq!((asked.delays_invite(), asked.delays_offer()), (None, Some(Wait::Theirs)));
    }
}
