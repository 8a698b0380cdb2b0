//! Audio format of a recording.

use crate::gateway::context::Context;
use crate::gateway::interface::work::{Work, WorkId};
use crate::media::command::RecordSlot;

/// Audio format of a recording's input and file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Sampling rate of the input, Hz.
    pub input_rate: u32,
    /// Sampling rate of the file, Hz.
    pub file_rate: u32,
    /// 1 or 2.
    pub channels: u16,
}

impl Layout {
    /// Requests creation of the file; `None` if too many disk operations are pending.
    pub(super) fn open(self, ctx: &mut Context, record: RecordSlot, file: &str) -> Option<WorkId> {
        let Self { input_rate, file_rate, channels } = self;
        let file = file.to_owned();
        ctx.io.start(|id| Work::OpenRecording { id, record, file, input_rate, file_rate, channels })
    }
}
