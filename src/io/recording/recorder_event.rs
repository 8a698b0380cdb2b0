//! Events of the recorder thread.

use crate::gateway::interface::work::{WorkId, Written};
use crate::media::command::RecordSlot;

/// An event of the recorder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecorderEvent {
    /// The file was created, or why not.
    Opened(WorkId, Result<(), String>),
    /// The file is complete: the reason if it ended early, and its properties.
    Closed(RecordSlot, Option<String>, Written),
}
