//! Deferred replies to API requests that depend on the far end or the disk.

use crate::gateway::recording::Merged;
use crate::gateway::rooms::Joined;
use crate::media::command::Quality;

/// Identifies a pending reply.
pub type Handle = u64;

/// A deferred reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A leg has joined its room.
    Joined(Joined),
    /// The far end has accepted a hold or resume.
    Changed,
    /// A recording was started with this file.
    Recording(String),
    /// A recording is complete.
    Recorded {
        /// Path of the file.
        file: String,
        /// Its upload has been queued.
        upload: bool,
        /// Tick of the media thread in which it started, lower 32 bits.
        began: u32,
        /// Its multi-channel file, if requested.
        merged: Option<Merged>,
    },
    /// Media quality of a leg.
    Quality(Box<Quality>),
}

impl Reply {
    /// The media quality, if this is such a reply.
    #[must_use]
    pub fn quality(self) -> Option<Quality> {
        if let Self::Quality(quality) = self { Some(*quality) } else { None }
    }

    /// File and multi-channel file of a recording that was started or ended.
    #[must_use]
    pub fn recording(self) -> Option<(String, Option<Merged>)> {
        match self {
            Self::Recording(file) => Some((file, None)),
            Self::Recorded { file, merged, .. } => Some((file, merged)),
            Self::Joined(_) | Self::Changed | Self::Quality(_) => None,
        }
    }
}
