//! Recordings of legs and rooms.

mod layout;
mod merged;
mod recordings;
mod tracks;

pub use layout::Layout;
pub use merged::{Merged, dir_of, merged_file};
pub use recordings::{Paused, RecordingEvent, RecordingRequest, Recordings};

#[cfg(test)]
mod recordings_test;
