//! Answers to API calls whose outcome needs somebody else: the far end, the disk.

use super::recording::Merged;
use super::rooms::Joined;
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
