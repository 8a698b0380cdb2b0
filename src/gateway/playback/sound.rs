//! What can be played: tones, and sound fetched from URLs.

use crate::dsp::tone::{TONES, ToneSpec, by_name};
use crate::gateway::error::GatewayError;

/// What is to be played.
#[derive(Debug, Clone, PartialEq)]
pub enum Sound {
    /// A tone, until it is stopped.
    Tone(ToneSpec),
    /// An audio file.
    File {
        /// Where it is: an URL, or `file:` and a name in the directory of prompts.
        url: String,
        /// How often it is played, 0 for ever.
        repeat: u32,
        /// It holds bare samples at this rate, Hz.
        bare: Option<u32>,
    },
}

/// Steps of 3 dB a volume can have.
pub const VOLUMES: std::ops::RangeInclusive<i64> = -8..=8;

/// The tone of a name.
///
/// # Errors
/// The names that are known.
pub fn tone(name: &str) -> Result<ToneSpec, GatewayError> {
    by_name(name).ok_or_else(|| {
        let known: Vec<&str> = TONES.iter().map(|(n, _)| *n).collect();
        GatewayError::Invalid(format!("tone: unknown; known are {}", known.join(", ")))
    })
}
