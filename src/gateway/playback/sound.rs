//! Sounds that can be played: tones, and audio files from URLs.

use crate::dsp::tone::{TONES, ToneSpec, by_name};
use crate::gateway::interface::error::GatewayError;

/// A sound to play.
#[derive(Debug, Clone, PartialEq)]
pub enum Sound {
    /// A tone, until it is stopped.
    Tone(ToneSpec),
    /// An audio file.
    File {
        /// URL, or `file:` and a name in the prompt directory.
        url: String,
        /// Number of repetitions; 0: endless.
        repeat: u32,
        /// Headerless PCM at this rate, Hz.
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
