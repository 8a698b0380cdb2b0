//! A leg with media as a room member.

use crate::gateway::legs::leg_id::LegId;
use crate::media::command::Slot;

/// A leg with media as a room member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The leg.
    pub leg: LegId,
    /// Its UUID.
    pub name: String,
    /// Its slot in the engine.
    pub slot: Slot,
    /// Sampling rate of its media, Hz.
    pub rate: u32,
}
