//! Recordings: writing, syncing, merging, recovery, upload, deletion.

pub mod recorder;
pub mod recorder_event;
pub mod recovery;
pub mod retention;
mod sync_thread;
mod syncfs;
pub mod track_merge;
pub mod track_merger;
pub mod track_retry;
pub mod uploads;
