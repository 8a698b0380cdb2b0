//! What the shell does on the gateway's behalf and reports back.

use std::net::IpAddr;

use crate::media::command::{PlaySlot, RecordSlot};

/// Names one piece of work.
pub type WorkId = u64;

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Look up the addresses of a host.
    Resolve {
        /// Goes back with the result.
        id: WorkId,
        /// The name.
        host: String,
    },
    /// Fetch a sound and get ready to feed it to a playback.
    Fetch {
        /// Goes back with the result.
        id: WorkId,
        /// The playback.
        play: PlaySlot,
        /// Where from.
        url: String,
        /// Rate the playback wants, Hz.
        rate: u32,
        /// How often; 0: for ever.
        repeat: u32,
    },
    /// Make a recording's file.
    OpenRecording {
        /// Goes back with the result.
        id: WorkId,
        /// The recording.
        record: RecordSlot,
        /// Its path.
        file: String,
        /// Rate of what comes in, Hz.
        input_rate: u32,
        /// Rate of the file, Hz.
        file_rate: u32,
        /// 1 or 2.
        channels: u16,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkResult {
    /// The addresses, best first; empty when the name is not known.
    Resolved(Vec<IpAddr>),
    /// The sound is ready, or why not.
    Fetched(Result<(), String>),
    /// The file is there, or why not.
    RecordingOpened(Result<(), String>),
}
