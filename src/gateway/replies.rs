//! Answers to API calls whose outcome needs somebody else: the far end, the disk.

use std::collections::VecDeque;

use super::core::Gateway;
use super::error::GatewayError;
use super::room::Joined;
use super::tracks::Merged;
use crate::media::command::Quality;

/// Names a reply that is still to come.
pub type Handle = u64;

/// A reply that has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A leg is in its room.
    Joined(Joined),
    /// The far end has agreed to a hold or resume.
    Changed,
    /// A recording has begun, into this file.
    Recording(String),
    /// A recording is finished.
    Recorded {
        /// Its file.
        file: String,
        /// It is uploaded now.
        upload: bool,
        /// Tick of the media thread in which it began, its lower 32 bits.
        began: u32,
        /// Its channels, one a leg, if that was wanted.
        merged: Option<Merged>,
    },
    /// How well the media of a leg travels.
    Quality(Box<Quality>),
}

impl Reply {
    /// How the media of a leg travels, if that was asked.
    #[must_use]
    pub fn quality(self) -> Option<Quality> {
        if let Self::Quality(quality) = self { Some(*quality) } else { None }
    }

    /// The file of a recording and its tracks, if it was one that was begun or ended.
    #[must_use]
    pub fn recording(self) -> Option<(String, Option<Merged>)> {
        match self {
            Self::Recording(file) => Some((file, None)),
            Self::Recorded { file, merged, .. } => Some((file, merged)),
            Self::Joined(_) | Self::Changed | Self::Quality(_) => None,
        }
    }
}

/// Replies kept for callers that have gone; the oldest are dropped.
const MAX_EARLY: usize = 64;

/// Replies waiting to be fetched.
pub type Replies = VecDeque<(Handle, Result<Reply, GatewayError>)>;

impl Gateway {
    /// Promises a reply.
    pub(super) fn expect_reply(&mut self) -> Handle {
        self.next_handle += 1;
        self.next_handle
    }

    /// Keeps the promise.
    pub(super) fn reply(&mut self, handle: Handle, outcome: Result<Reply, GatewayError>) {
        self.replies.push_back((handle, outcome));
    }

    /// Keeps replies nobody waits for yet.
    pub fn keep_replies(&mut self, early: Vec<(Handle, Result<Reply, GatewayError>)>) {
        self.replies.extend(early);
        while self.replies.len() > MAX_EARLY {
            self.replies.pop_front();
        }
    }

    /// The next reply, until `None`.
    #[must_use]
    pub fn poll_reply(&mut self) -> Option<(Handle, Result<Reply, GatewayError>)> {
        self.replies.pop_front()
    }
}
