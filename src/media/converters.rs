//! Converters between the sampling rates of a party and of its room, allocated before they cross to the media thread.

use crate::dsp::resample::Resampler;

/// Converters between a party and its room; both `None` where the rates are equal.
#[derive(Debug, Default)]
pub struct Converters {
    /// Party to room.
    pub up: Option<Resampler>,
    /// Room to party.
    pub down: Option<Resampler>,
}
