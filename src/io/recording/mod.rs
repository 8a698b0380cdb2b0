//! Recordings: written, synced, merged, recovered, uploaded, deleted.

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
