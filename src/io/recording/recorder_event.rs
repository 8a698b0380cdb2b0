//! What the recorder reports.

use crate::gateway::interface::work::{WorkId, Written};
use crate::media::command::RecordSlot;

/// An event of the recorder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecorderEvent {
    /// The file is there, or why not.
    Opened(WorkId, Result<(), String>),
    /// The file is complete; why it ended early, if it did, and what it holds.
    Closed(RecordSlot, Option<String>, Written),
}
