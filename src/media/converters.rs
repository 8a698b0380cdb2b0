//! Sampling-rate converters between a party and its room, allocated before they are passed to the media
//! thread.

use crate::dsp::resample::Resampler;

/// Converters between a party and its room; both `None` if the rates are equal.
#[derive(Debug, Default)]
pub struct Converters {
    /// Party to room.
    pub up: Option<Resampler>,
    /// Room to party.
    pub down: Option<Resampler>,
}
