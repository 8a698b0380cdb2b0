//! Work items executed by the shell, and their results.

use crate::config::TrunkFields;
use crate::media::command::{PlaySlot, RecordSlot};
use crate::sip::flow::{Flow, NextHop};

/// Identifies a work item.
pub type WorkId = u64;

/// A work item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Locate the servers of a host (RFC 3263).
    Locate {
        /// Returned with the result.
        id: WorkId,
        /// Host, transport and port of the URI.
        hop: NextHop,
        /// Over TLS, accept any certificate.
        lax: bool,
        /// Wait for all DNS responses; no call is waiting for this.
        whole: bool,
    },
    /// Store the trunks created by the API; they contain passwords.
    KeepTrunks(Vec<TrunkFields>),
    /// Download a sound and prepare it for a playback.
    Fetch {
        /// Returned with the result.
        id: WorkId,
        /// The playback.
        play: PlaySlot,
        /// Source.
        url: String,
        /// Sampling rate of the playback, Hz.
        rate: u32,
        /// Number of repetitions; 0: endless.
        repeat: u32,
        /// The sound is headerless PCM at this rate, Hz.
        bare: Option<u32>,
    },
    /// Cancel a download.
    GiveUp(WorkId),
    /// Create the file of a recording.
    OpenRecording {
        /// Returned with the result.
        id: WorkId,
        /// The recording.
        record: RecordSlot,
        /// Its path.
        file: String,
        /// Sampling rate of the input, Hz.
        input_rate: u32,
        /// Sampling rate of the file, Hz.
        file_rate: u32,
        /// 1 or 2.
        channels: u16,
    },
    /// Merge the tracks of a recording.
    Merge(WorkId, Box<Merge>),
}

/// The tracks of a recording, and the file to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The file to create.
    pub file: String,
    /// Number of channels.
    pub channels: usize,
    /// Sampling rate of all files, Hz.
    pub rate: u32,
    /// Tick in which the recording started; 0: it is empty.
    pub began: u32,
    /// Duration of the recording, ms.
    pub duration_ms: u64,
    /// The tracks.
    pub pieces: Vec<Piece>,
}

/// A finished track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Path of the file.
    pub file: String,
    /// Its channel, from 0.
    pub channel: usize,
    /// Tick in which it started; 0: it is empty.
    pub began: u32,
}

/// Result of a work item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkResult {
    /// Targets, best first; empty if the name cannot be resolved.
    Located(Vec<Flow>),
    /// The sound is ready, or an error.
    Fetched(Result<(), String>),
    /// The file is open, or an error.
    RecordingOpened(Result<(), String>),
    /// The merged file has this size, or an error.
    Merged(Result<u64, String>),
}

/// Content of a recording's file when it is closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Size of the file, bytes.
    pub bytes: u64,
    /// Duration, ms.
    pub duration_ms: u64,
    /// Sampling rate, Hz.
    pub sample_rate: u32,
    /// Number of channels.
    pub channels: u16,
    /// Tick of the media thread in which it started; 0: unknown, or empty.
    pub began: u32,
}
