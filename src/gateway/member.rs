//! A leg with media, as rooms and their recordings see it.

use super::leg_id::LegId;
use crate::media::command::Slot;

/// A leg with media, as rooms and their recordings see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The leg.
    pub leg: LegId,
    /// Its UUID.
    pub name: String,
    /// Its place in the engine.
    pub slot: Slot,
    /// Sampling rate of its media, Hz.
    pub rate: u32,
}
