//! Retention of recordings by age and total size. Recordings that are running or waiting for upload are never
//! deleted.

use std::rc::Rc;
use std::time::Duration;

use super::track_merge::{are_left, remove_file, remove_recording};
use super::track_retry::TrackRetry;
use super::uploads::Uploads;
use crate::io::events::pipeline::EventPipeline;
use crate::io::outbox::rows::{Op, RecordingRow, UPLOADING};
use crate::io::system::clock;
use crate::io::system::settings::Settings;
use crate::io::system::timer;
use crate::io::system::workers::FILES;

/// Interval of the checks.
const ROUND: Duration = Duration::from_secs(600);
/// Delay of the first check after the start.
const FIRST: Duration = Duration::from_secs(5);
/// Maximum rows kept of uploaded recordings.
const MAX_UPLOADED: usize = 10_000;

/// Deletes expired recordings.
#[derive(Debug)]
pub struct Retention {
    settings: Settings,
    events: Rc<EventPipeline>,
    uploads: Rc<Uploads>,
    tracks: Rc<TrackRetry>,
}

impl Retention {
    /// Also retries tracks and uploads that failed earlier.
    #[must_use]
    pub fn new(
        settings: Settings,
        events: Rc<EventPipeline>,
        uploads: Rc<Uploads>,
        tracks: Rc<TrackRetry>,
    ) -> Self {
        Self { settings, events, uploads, tracks }
    }

    /// Deletes expired recordings until the process ends.
    pub async fn run(self) {
        let settings = self.settings.current();
        let (days, mb) = (settings.recording.keep_days, settings.recording.max_mb);
        timer::sleep(FIRST).await;
        let mut first = true;
        loop {
            self.clear_uploaded(first).await;
            // Both were done at the start.
            if !std::mem::take(&mut first) {
                self.tracks.retry().await;
                Rc::clone(&self.uploads).restore().await;
            }
            if let Some(Ok(rows)) = self.events.ask_outbox(|store| store.ended_recordings()).await {
                let over = over(&rows, clock::now().utc.millis(), days, u64::from(mb) << 20);
                let gone = FILES.run(move || over.into_iter().filter(remove).collect::<Vec<_>>()).await;
                let gone = gone.unwrap_or_default();
                if !gone.is_empty() {
                    log::info!(recordings = gone.len(); "recordings deleted: too old, or the size limit is exceeded");
                }
                gone.into_iter().for_each(|r| self.events.store(Op::RecordingGone(r.id)));
            }
            timer::sleep(ROUND).await;
        }
    }

    /// Deletes the oldest rows of uploaded recordings; the first time, also files left by a crash.
    async fn clear_uploaded(&self, first: bool) {
        let Some(Ok(rows)) = self.events.ask_outbox(|store| store.uploaded_recordings()).await else {
            return;
        };
        let over = rows.get(MAX_UPLOADED..).unwrap_or_default().to_vec();
        // Rows are needed while there are unmerged tracks.
        let free = |r: &RecordingRow| !are_left(&r.file);
        let free = FILES.run(move || over.into_iter().filter(free).collect::<Vec<RecordingRow>>()).await;
        let Ok(over) = free else { return };
        let looked_at = if first { rows } else { over.clone() };
        // Only the mix: unmerged tracks exist nowhere else.
        let clear = |r: &RecordingRow| {
            if let Err(e) = remove_file(&r.file) {
                log::warn!(error:% = e; "the file of an uploaded recording cannot be deleted");
            }
        };
        if FILES.run(move || looked_at.iter().for_each(clear)).await.is_err() {
            return;
        }
        over.into_iter().for_each(|r| self.events.store(Op::RecordingGone(r.id)));
    }
}

/// True if the file is deleted.
fn remove(row: &RecordingRow) -> bool {
    match remove_recording(&row.file) {
        Ok(()) => true,
        Err(e) => {
            log::warn!(error:% = e; "a recording cannot be deleted");
            false
        }
    }
}

/// The expired recordings; `rows` are sorted oldest first.
fn over(rows: &[RecordingRow], now_ms: u64, keep_days: u32, max_bytes: u64) -> Vec<RecordingRow> {
    let oldest = if keep_days == 0 { 0 } else { now_ms.saturating_sub(u64::from(keep_days) * 86_400_000) };
    let mut total: u64 = rows.iter().map(|r| r.bytes).sum();
    let mut out = Vec::new();
    for r in rows.iter().filter(|r| r.state != UPLOADING) {
        if r.started_ms < oldest || (max_bytes > 0 && total > max_bytes) {
            total -= r.bytes;
            out.push(r.clone());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_deleted_first_and_only_as_many_as_necessary() {
        let row = |id: &str, started_ms: u64, bytes: u64| RecordingRow {
            id: id.to_owned(),
            started_ms,
            bytes,
            ..RecordingRow::default()
        };
        let day = 86_400_000;
        let rows = [row("a", day, 10), row("b", 2 * day, 10), row("c", 5 * day, 30), row("d", 6 * day, 5)];
        let ids = |days, bytes| -> Vec<String> {
            over(&rows, 6 * day, days, bytes).into_iter().map(|r| r.id).collect()
        };
        assert_eq!(ids(0, 0), [""; 0]);
        assert_eq!(ids(2, 0), ["a", "b"]);
        assert_eq!(ids(0, 55), [""; 0]);
        assert_eq!(ids(0, 50), ["a"]);
        assert_eq!(ids(0, 5), ["a", "b", "c"]);
        assert_eq!(ids(1, 5), ["a", "b", "c"]);
    }
}
