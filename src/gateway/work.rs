//! What the shell does on the gateway's behalf and reports back.

use crate::config::TrunkFields;
use crate::media::command::{PlaySlot, RecordSlot};
use crate::sip::target::{NextHop, Target};

/// Names one piece of work.
pub type WorkId = u64;

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Find out where a name leads (RFC 3263).
    Locate {
        /// Goes back with the result.
        id: WorkId,
        /// The name, and what a URI says beside it.
        hop: NextHop,
        /// Over TLS, any certificate will do.
        lax: bool,
        /// Wait for all there is to know, since nobody waits for this.
        whole: bool,
    },
    /// Write the trunks down that the API made; they hold passwords.
    KeepTrunks(Vec<TrunkFields>),
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
        /// It holds bare samples at this rate, Hz.
        bare: Option<u32>,
    },
    /// What is being fetched is not wanted any more.
    GiveUp(WorkId),
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
    /// Put the tracks of a recording together.
    Merge(WorkId, Box<Merge>),
}

/// The tracks of a recording, and what is to become of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The file to make.
    pub file: String,
    /// Its channels.
    pub channels: usize,
    /// Rate of all of them, Hz.
    pub rate: u32,
    /// Tick in which the recording began; 0: it holds nothing.
    pub began: u32,
    /// Length of the recording, ms.
    pub duration_ms: u64,
    /// The tracks.
    pub pieces: Vec<Piece>,
}

/// A track that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its file.
    pub file: String,
    /// Its channel, from 0.
    pub channel: usize,
    /// Tick in which it began; 0: it holds nothing.
    pub began: u32,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkResult {
    /// The targets, best first; none when the name is not known.
    Located(Vec<Target>),
    /// The sound is ready, or why not.
    Fetched(Result<(), String>),
    /// The file is there, or why not.
    RecordingOpened(Result<(), String>),
    /// The tracks are together in a file of this size, or why not.
    Merged(Result<u64, String>),
}

/// What a recording's file holds when it is closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Size of the file, bytes.
    pub bytes: u64,
    /// Length of the sound, ms.
    pub duration_ms: u64,
    /// Sampling rate, Hz.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
    /// Tick of the media thread in which it began; 0: that is not known, or it holds nothing.
    pub began: u32,
}
