//! What events about playbacks and recordings say.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::text::Text;

/// A playback that begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlaybackStarted {
    /// The playback.
    pub playback_id: String,
}

/// A playback that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlaybackFinished {
    /// The playback.
    pub playback_id: String,
    /// `completed` or `stopped`.
    pub reason: &'static str,
    /// How much was heard, ms.
    pub played_ms: u64,
}

/// A playback that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlaybackError {
    /// The playback.
    pub playback_id: String,
    /// Why.
    pub error: Text,
    /// How much was heard, ms, if it had begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub played_ms: Option<u64>,
}

/// A recording that begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RecordingStarted {
    /// Its file.
    pub file: String,
    /// When it began.
    pub started_at: String,
}

/// A recording that pauses or goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RecordingPause {
    /// Empty.
    pub file: &'static str,
}

/// Where a leg is heard in a file with one channel a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChannelSpan {
    /// Channel, from 0.
    pub channel: usize,
    /// When it came, ms from the beginning of the recording.
    pub start_ms: u64,
    /// When it left for the last time, ms from the beginning.
    pub end_ms: u64,
}

/// The channels of a file, by the ids of their legs.
pub type Channels = BTreeMap<String, ChannelSpan>;

/// A recording that is complete, or what is left of one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct RecordingFinished {
    /// Its file.
    pub file: String,
    /// It was put right after a crash or power cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recovered: bool,
    /// When it began.
    pub started_at: String,
    /// Size of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Length of the sound, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Sampling rate of the file, Hz.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
    /// Channels of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_count: Option<u16>,
    /// Why it ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Text>,
    /// The file with one channel a leg, where that was wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_channel_file: Option<String>,
    /// Size of that file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_channel_bytes: Option<u64>,
    /// Length of that file, ms, where it is another than that of the recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_channel_duration_ms: Option<u64>,
    /// By leg: `channel`, `start_ms` and `end_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
    /// Why there is no file with one channel a leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_channel_error: Option<Text>,
    /// Where the files of the legs are then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracks: Option<String>,
    /// Legs that have no channel of their own, or not to the end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub omitted_legs: Vec<String>,
}

/// A recording in its bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RecordingUploaded {
    /// Where it is.
    pub file: String,
    /// Where it was.
    pub local_file: String,
    /// Its size.
    pub bytes: u64,
    /// Length of the sound, ms.
    pub duration_ms: u64,
}

/// A recording that will never be in its bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RecordingUploadFailed {
    /// Its file.
    pub file: String,
    /// Why.
    pub error: Text,
}
