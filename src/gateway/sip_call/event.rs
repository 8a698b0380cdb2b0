//! Events of a call for the core.

use super::outlived::Outlived;
use crate::gateway::legs::leg_id::LegId;
use crate::sdp::Negotiated;
use crate::wire::Uri;

/// An event of a call.
#[derive(Debug)]
pub enum CallEvent {
    /// The negotiated session has changed: the media is opened or updated.
    SessionChanged,
    /// No session is negotiated any more: media is suspended.
    SessionPaused(Negotiated),
    /// Whether our answer lacks its acknowledgement, so that the far end's address is not verified.
    Unproven(bool),
    /// The far end has accepted our hold or its end.
    HeldByUs(bool),
    /// Media of an outbound call was opened before the answer.
    EarlyMedia,
    /// A provisional response to our INVITE: code and reason.
    Progressed(u16, String),
    /// A 3xx has redirected the call.
    Redirected(Uri),
    /// The answer requested by the API was delayed, and is now possible.
    AnswerDue,
    /// `leg.connected` has been published.
    Connected,
    /// A digit was received by INFO.
    Digit(char),
    /// Our transfer was completed; the leg that was replaced by it, if any.
    Transferred(Option<LegId>),
    /// The leg is to join this room in place of another.
    RoomWanted(String),
    /// The call has ended.
    Ended(Box<CallEnded>),
}

/// End of a call.
#[derive(Debug)]
pub struct CallEnded {
    /// Reason.
    pub reason: String,
    /// The final response that refused its INVITE.
    pub refusal: Option<(u16, String)>,
    /// Its dialog, if it had one: subscriptions may outlive the call.
    pub dialog: Option<Outlived>,
}
