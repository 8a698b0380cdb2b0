//! What goes into a recording's file.

use crate::gateway::context::Context;
use crate::gateway::work::{Work, WorkId};
use crate::media::command::RecordSlot;

/// The sound of a recording and of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Rate of what comes in, Hz.
    pub input_rate: u32,
    /// Rate of the file, Hz.
    pub file_rate: u32,
    /// 1 or 2.
    pub channels: u16,
}

impl Layout {
    /// Asks for a file of this kind; `None` when too much waits for the disk already.
    pub(super) fn open(self, ctx: &mut Context, record: RecordSlot, file: &str) -> Option<WorkId> {
        let Self { input_rate, file_rate, channels } = self;
        let file = file.to_owned();
        ctx.io.start(|id| Work::OpenRecording { id, record, file, input_rate, file_rate, channels })
    }
}
