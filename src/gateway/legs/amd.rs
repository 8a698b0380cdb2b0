//! Events of answering-machine detection.

use crate::gateway::events::{AmdBeep, AmdResult, EventBody};
use crate::media::amd::AmdEvent;

/// The event for a detection result or beep.
#[must_use]
pub fn event_of(news: AmdEvent) -> EventBody {
    match news {
        AmdEvent::Outcome(o) => EventBody::AmdResult(AmdResult {
            result: o.verdict.as_str(),
            initial_silence_ms: o.initial_silence_ms,
            greeting_duration_ms: o.greeting_ms,
            total_analysis_ms: o.total_ms,
        }),
        AmdEvent::Beep(beep_ms) => EventBody::AmdBeep(AmdBeep { beep_ms }),
    }
}
