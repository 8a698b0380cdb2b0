//! Recordings of legs and rooms.

mod merged;
mod recordings;
mod tracks;

pub use merged::{Merged, dir_of, merged_file};
pub use recordings::{Layout, Paused, RecordingEvent, Recordings, Wanted};

#[cfg(test)]
mod recordings_test;
