//! Representation of rooms in the API.

use schemars::JsonSchema;
use serde::Serialize;

use crate::gateway::legs::leg_view::LegView;

/// A room as returned by the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Room")]
pub struct RoomView {
    /// Name of the room.
    pub id: String,
    /// Sampling rate, Hz: 8000, 16000 or 48000.
    pub sample_rate: u32,
    /// Legs in the room.
    pub participants: Vec<LegView>,
}

/// Supported sampling rates, Hz.
pub const ROOM_RATES: [u32; 3] = [8000, 16_000, 48_000];
