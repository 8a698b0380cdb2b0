//! How far a call is; each phase owns what is valid in it.

use std::time::{Duration, Instant};

use super::inviting::Inviting;
use crate::gateway::error::GatewayError;
use crate::sdp::Description;
use crate::sip::dialog::Dialog;
use crate::sip::transactions::ServerId;

/// How long the last event of a leg waits for its media to report.
const TERMINAL_EVENT_WAIT: Duration = Duration::from_secs(10);

/// How far a call is.
#[derive(Debug)]
pub(super) enum Phase {
    /// We call: the INVITE is on its way.
    Inviting(Box<Inviting>),
    /// We are called: nothing final has been answered.
    Ringing(Box<Ringing>),
    /// We are called: the 200 is out, the ACK is not in.
    Answered(Box<Answered>),
    /// Connected.
    Up(Box<Up>),
    /// Over; its media has still to report.
    Ending(Box<Ending>),
}

impl Phase {
    /// The dialog, once there is one.
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

/// A call to us that is not answered.
#[derive(Debug)]
pub(super) struct Ringing {
    /// The INVITE.
    pub(super) tx: ServerId,
    /// Its offer, if it had one.
    pub(super) offer: Option<Description>,
    /// Media is on.
    pub(super) early: bool,
    /// It ends then.
    pub(super) until: Instant,
}

/// A call to us whose 200 is not acknowledged.
#[derive(Debug)]
pub(super) struct Answered {
    /// The INVITE.
    pub(super) tx: ServerId,
    /// The dialog.
    pub(super) dialog: Dialog,
    /// Media was on before.
    pub(super) early: bool,
    /// When it was answered.
    pub(super) at: Instant,
}

/// A call that is connected.
#[derive(Debug)]
pub(super) struct Up {
    /// The dialog.
    pub(super) dialog: Dialog,
    /// When it was answered.
    pub(super) answered: Instant,
    /// It ends then, whatever happens.
    pub(super) max_until: Option<Instant>,
}

impl Up {
    /// Answered then; it ends `max_duration` seconds later, 0: no limit.
    pub(super) fn new(dialog: Dialog, answered: Instant, max_duration: u32) -> Self {
        let limit = Some(max_duration).filter(|s| *s > 0).map(|s| Duration::from_secs(s.into()));
        Self { dialog, answered, max_until: limit.map(|limit| answered + limit) }
    }
}

/// A call that is over.
#[derive(Debug)]
pub(super) struct Ending {
    /// Why it ended.
    pub(super) reason: String,
    /// When it ended.
    pub(super) at: Instant,
    /// When it was answered.
    pub(super) answered: Option<Instant>,
    /// The last event goes out then, whatever has or has not been reported.
    pub(super) latest: Instant,
}

impl Ending {
    /// Over now, for `reason`; it was answered then.
    pub(super) fn new(reason: &str, at: Instant, answered: Option<Instant>) -> Self {
        Self { reason: reason.to_owned(), at, answered, latest: at + TERMINAL_EVENT_WAIT }
    }
}
