//! What a call reports to the core: what others have to know of, or do.

use super::outlived::Outlived;
use crate::gateway::leg_id::LegId;
use crate::sdp::Negotiated;
use crate::wire::Uri;

/// What has become of a call.
#[derive(Debug)]
pub enum CallEvent {
    /// Something else is agreed: the media is opened on it, or follows it.
    SessionChanged,
    /// Nothing is agreed any more: the media is quiet until something is.
    SessionPaused(Negotiated),
    /// Our answer is not acknowledged, so that nobody has proved to be there; or now it is.
    Unproven(bool),
    /// The far end has agreed to our hold, or to its end.
    HeldByUs(bool),
    /// Media of a call of ours is on before the answer.
    EarlyMedia,
    /// A provisional response to our INVITE, of this code and reason.
    Progressed(u16, String),
    /// A 3xx has sent the call on.
    Redirected(Uri),
    /// What delayed the answer that the API has asked for is done.
    AnswerDue,
    /// `leg.connected` has been published.
    Connected,
    /// A digit has come by INFO.
    Digit(char),
    /// The far end talks to the target of a transfer of ours; the leg that was replaced by it, if any.
    Transferred(Option<LegId>),
    /// The leg is to join this room, in the place of another.
    RoomWanted(String),
    /// It is over.
    Ended(Box<CallEnded>),
}

/// The end of a call.
#[derive(Debug)]
pub struct CallEnded {
    /// Why.
    pub reason: String,
    /// The final response that refused its INVITE.
    pub refusal: Option<(u16, String)>,
    /// Its dialog, where it had one: subscriptions may outlive the call.
    pub dialog: Option<Outlived>,
}
