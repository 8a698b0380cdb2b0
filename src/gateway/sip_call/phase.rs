//! Phases of a call; each owns the data valid in it.

use std::time::{Duration, Instant};

use super::inviting::Inviting;
use crate::gateway::interface::error::GatewayError;
use crate::sdp::Description;
use crate::sip::dialog::Dialog;
use crate::sip::transactions::ServerId;

/// How long the terminal event of a leg waits for the final media figures.
const TERMINAL_EVENT_WAIT: Duration = Duration::from_secs(10);

/// Phase of a call.
#[derive(Debug)]
pub(super) enum Phase {
    /// Outbound: the INVITE is in progress.
    Inviting(Box<Inviting>),
    /// Inbound: no final response yet.
    Ringing(Box<Ringing>),
    /// Inbound: the 200 was sent, the ACK is pending.
    Answered(Box<Answered>),
    /// Connected.
    Up(Box<Up>),
    /// Ended; its media is still being closed.
    Ending(Box<Ending>),
}

impl Phase {
    /// The dialog, if there is one.
    pub(super) fn dialog_mut(&mut self) -> Option<&mut Dialog> {
        match self {
            Self::Answered(answered) => Some(&mut answered.dialog),
            Self::Up(up) => Some(&mut up.dialog),
            Self::Inviting(_) | Self::Ringing(_) | Self::Ending(_) => None,
        }
    }

    /// Checks that it is connected.
    ///
    /// # Errors
    /// It is not (409).
    pub(super) fn must_be_up(&self) -> Result<(), GatewayError> {
        match self {
            Self::Up(_) => Ok(()),
            Self::Inviting(_) | Self::Ringing(_) | Self::Answered(_) | Self::Ending(_) => {
                Err(GatewayError::Conflict("leg is not connected".to_owned()))
            }
        }
    }

    /// When it was answered.
    pub(super) fn answered(&self) -> Option<Instant> {
        match self {
            Self::Answered(answered) => Some(answered.at),
            Self::Up(up) => Some(up.answered),
            Self::Ending(ending) => ending.answered,
            Self::Inviting(_) | Self::Ringing(_) => None,
        }
    }
}

/// An unanswered inbound call.
#[derive(Debug)]
pub(super) struct Ringing {
    /// The INVITE.
    pub(super) tx: ServerId,
    /// Its offer, if any.
    pub(super) offer: Option<Description>,
    /// Media is open.
    pub(super) early: bool,
    /// Ringing time limit.
    pub(super) until: Instant,
}

/// An inbound call whose 200 has not been acknowledged.
#[derive(Debug)]
pub(super) struct Answered {
    /// The INVITE.
    pub(super) tx: ServerId,
    /// The dialog.
    pub(super) dialog: Dialog,
    /// Media was opened before the answer.
    pub(super) early: bool,
    /// When it was answered.
    pub(super) at: Instant,
}

/// A connected call.
#[derive(Debug)]
pub(super) struct Up {
    /// The dialog.
    pub(super) dialog: Dialog,
    /// When it was answered.
    pub(super) answered: Instant,
    /// Time limit of the call.
    pub(super) max_until: Option<Instant>,
}

impl Up {
    /// Answered at `answered`; ends `max_duration` seconds later, 0: unlimited.
    pub(super) fn new(dialog: Dialog, answered: Instant, max_duration: u32) -> Self {
        let limit = Some(max_duration).filter(|s| *s > 0).map(|s| Duration::from_secs(s.into()));
        Self { dialog, answered, max_until: limit.map(|limit| answered + limit) }
    }
}

/// An ended call.
#[derive(Debug)]
pub(super) struct Ending {
    /// Why it ended.
    pub(super) reason: String,
    /// When it ended.
    pub(super) at: Instant,
    /// When it was answered.
    pub(super) answered: Option<Instant>,
    /// Deadline of the terminal event, even if the final media figures are missing.
    pub(super) latest: Instant,
}

impl Ending {
    /// Ends at `at`, for `reason`.
    pub(super) fn new(reason: &str, at: Instant, answered: Option<Instant>) -> Self {
        Self { reason: reason.to_owned(), at, answered, latest: at + TERMINAL_EVENT_WAIT }
    }
}
