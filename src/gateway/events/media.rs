//! Bodies of playback and recording events.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::text::Text;

/// Start of a playback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlaybackStarted {
    /// Playback id.
    pub playback_id: String,
}

/// End of a playback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlaybackFinished {
    /// Playback id.
    pub playback_id: String,
    /// `completed` or `stopped`.
    pub reason: &'static str,
    /// Duration played, ms.
    pub played_ms: u64,
}

/// Failure of a playback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlaybackError {
    /// Playback id.
    pub playback_id: String,
    /// Reason.
    pub error: Text,
    /// Duration played before the failure, ms, if it had started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub played_ms: Option<u64>,
}

/// Start of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RecordingStarted {
    /// Path of the file.
    pub file: String,
    /// Start time.
    pub started_at: String,
}

/// Pause or resumption of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RecordingPause {
    /// Empty.
    pub file: &'static str,
}

/// Channel of a leg in a multi-channel file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChannelSpan {
    /// Channel, from 0.
    pub channel: usize,
    /// Time of joining, ms from the start of the recording.
    pub start_ms: u64,
    /// Time of leaving for the last time, ms from the start.
    pub end_ms: u64,
}

/// Channels of a file, by leg id.
pub type Channels = BTreeMap<String, ChannelSpan>;

/// A completed recording, or what could be recovered of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct RecordingFinished {
    /// Path of the file.
    pub file: String,
    /// Repaired after a crash or power cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recovered: bool,
    /// Start time.
    pub started_at: String,
    /// Size of the file, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Duration, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Sampling rate of the file, Hz.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
    /// Number of channels in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_count: Option<u16>,
    /// Error that ended it early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Text>,
    /// Multi-channel file with one channel per leg, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_channel_file: Option<String>,
    /// Size of that file, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_channel_bytes: Option<u64>,
    /// Duration of that file, ms, if it differs from that of the recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_channel_duration_ms: Option<u64>,
    /// By leg: `channel`, `start_ms` and `end_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
    /// Why there is no multi-channel file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_channel_error: Option<Text>,
    /// Directory of the tracks of the legs in that case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracks: Option<String>,
    /// Legs without a channel, or with an incomplete one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub omitted_legs: Vec<String>,
}

/// A recording uploaded to its bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RecordingUploaded {
    /// Location in the bucket.
    pub file: String,
    /// Former path on the disk.
    pub local_file: String,
    /// Size, bytes.
    pub bytes: u64,
    /// Duration, ms.
    pub duration_ms: u64,
}

/// A recording whose upload has failed permanently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RecordingUploadFailed {
    /// Path of the file.
    pub file: String,
    /// Reason.
    pub error: Text,
}
