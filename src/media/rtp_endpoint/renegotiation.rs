//! Another agreement with the far end, and converters for another room: with everything they need already allocated.

use std::net::IpAddr;

use super::coders::Coders;
use crate::dsp::resample::Resampler;
use crate::sdp::Negotiated;

/// Converters between a leg and its room; both `None` where the rates are equal.
#[derive(Debug, Default)]
pub struct Converters {
    /// Leg to room.
    pub up: Option<Resampler>,
    /// Room to leg.
    pub down: Option<Resampler>,
}

/// Another agreement with the far end.
#[derive(Debug)]
pub struct Renegotiation {
    /// What was agreed.
    pub stream: Negotiated,
    /// Where the signalling comes from.
    pub signalling: Option<IpAddr>,
    /// Coders, where the codec or what the far end wants of it is another.
    pub coders: Option<Box<Coders>>,
}
