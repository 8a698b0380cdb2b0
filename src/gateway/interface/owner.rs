//! The leg or room to which a playback or recording belongs.

use crate::gateway::events::About;
use crate::media::command::AudioTarget;

/// The leg or room of a playback or recording, by its API id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// Leg id.
    Leg(&'a str),
    /// Room id.
    Room(&'a str),
}

/// The owner with its media: slot in the engine, and subject of events.
#[derive(Debug, Clone)]
pub struct MediaOwner {
    /// Slot in the engine.
    pub target: AudioTarget,
    /// Sampling rate of its media, Hz.
    pub rate: u32,
    /// Subject of the events of its playbacks and recordings.
    pub about: About,
}
