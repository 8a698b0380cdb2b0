//! Merges tracks on worker threads, few at a time.

use smol::lock::Semaphore;

use super::track_merge::{Saved, merge, save};
use crate::gateway::interface::work::Merge;
use crate::io::system::settings::Settings;
use crate::io::system::workers::FILES;

/// Maximum concurrent merges.
const MERGES: usize = 2;

/// Limits concurrent merges.
#[derive(Debug)]
pub struct TrackMerger {
    settings: Settings,
    turns: Semaphore,
}

impl TrackMerger {
    /// Nothing is merged yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, turns: Semaphore::new(MERGES) }
    }

    /// Merges the tracks of a recording that has just ended; returns the size of the file, bytes.
    ///
    /// # Errors
    /// The disk cannot be written, the maximum WAV size is exceeded, or no thread is available.
    pub async fn merge(&self, order: Box<Merge>) -> Result<u64, String> {
        let _turn = self.turns.acquire().await;
        let min_free = self.settings.min_free();
        let merged = FILES.run(move || merge(&order, min_free)).await;
        merged.unwrap_or_else(|e| Err(e.to_string()))
    }

    /// Merges the tracks of an earlier recording; rate in Hz and length in ms are those of its mix.
    ///
    /// # Errors
    /// No usable track, the disk cannot be written, or no thread is available.
    pub async fn save(&self, mix: String, rate: u32, duration_ms: u64) -> Result<Saved, String> {
        let min_free = self.settings.min_free();
        let _turn = self.turns.acquire().await;
        let saved = FILES.run(move || save(&mix, rate, duration_ms, min_free)).await;
        saved.unwrap_or_else(|e| Err(e.to_string()))
    }
}
