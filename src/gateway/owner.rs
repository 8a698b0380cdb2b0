//! The leg or room that a playback or recording belongs to.

use super::events::About;
use crate::media::command::AudioTarget;

/// The leg or room of a playback or recording, as the API names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The leg of this id.
    Leg(&'a str),
    /// The room of this id.
    Room(&'a str),
}

/// The same with media: where it is in the engine, and what its events are about.
#[derive(Debug, Clone)]
pub struct MediaOwner {
    /// Its place in the engine.
    pub target: AudioTarget,
    /// Sampling rate of its media, Hz.
    pub rate: u32,
    /// What events of its playbacks and recordings are about.
    pub about: About,
}
