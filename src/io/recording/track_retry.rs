//! Cleanup of tracks after their recording ended: deleted when the merged file is safely stored; failed
//! merges are retried.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::track_merge::{Saved, remove_tracks};
use super::track_merger::TrackMerger;
use crate::base::time::Utc;
use crate::delivery::share::Origin;
use crate::gateway::events::{Event, EventBody, RecordingFinished};
use crate::gateway::recording::{dir_of, merged_file};
use crate::io::events::outbox_ops::hook_of;
use crate::io::events::pipeline::EventPipeline;
use crate::io::outbox::rows::{Op, base_name};
use crate::io::system::clock;
use crate::io::system::executor::Executor;
use crate::io::system::settings::Settings;
use crate::io::system::timer;
use crate::io::system::workers::FILES;

/// How long tracks are kept after the outbox has committed the merged file: until the outbox is synced.
const SETTLED: Duration = Duration::from_secs(3);

/// Cleanup and retry of tracks.
#[derive(Debug)]
pub struct TrackRetry {
    settings: Settings,
    events: Rc<EventPipeline>,
    merger: Rc<TrackMerger>,
    executor: Rc<Executor>,
    /// A retry is running.
    retrying: Cell<bool>,
}

impl TrackRetry {
    /// No retry is running yet.
    #[must_use]
    pub fn new(
        settings: Settings,
        events: Rc<EventPipeline>,
        merger: Rc<TrackMerger>,
        executor: Rc<Executor>,
    ) -> Self {
        Self { settings, events, merger, executor, retrying: Cell::new(false) }
    }

    /// Deletes tracks after the outbox has committed the merged file and had time to sync.
    pub fn settle(self: &Rc<Self>, event: &Event) {
        let EventBody::RecordingFinished(body) = &event.body else { return };
        let Some(merged) = body.multi_channel_file.clone() else { return };
        let mix = body.file.clone();
        let tracks = Rc::clone(self);
        self.executor.spawn(async move {
            // If the outbox cannot be queried, they are kept until the next retry.
            tracks.drop_tracks(&mix, &merged).await;
        });
    }

    /// Deletes tracks if the outbox contains the merged file.
    async fn drop_tracks(self: &Rc<Self>, mix: &str, merged: &str) {
        let id = base_name(merged);
        if let Some(Ok(Some(_))) = self.events.ask_outbox(move |store| store.recording(&id)).await {
            timer::sleep(SETTLED).await;
            let dir = dir_of(mix);
            // If no thread is available, they are deleted at the next retry.
            if FILES.run(move || remove_tracks(Path::new(&dir))).await.is_ok() {
                self.events.store(Op::ForgetKeys(base_name(mix)));
            }
        }
    }

    /// Retries merges that failed, for example because the disk was full.
    pub async fn retry(self: &Rc<Self>) {
        if self.retrying.replace(true) {
            return;
        }
        self.look_for_tracks().await;
        self.retrying.set(false);
    }

    async fn look_for_tracks(self: &Rc<Self>) {
        let dir = self.settings.current().recording_dir();
        for mix in FILES.run(move || left_in(&dir)).await.unwrap_or_default() {
            let ids = (base_name(&mix), base_name(&merged_file(&mix)));
            let rows =
                self.events.ask_outbox(move |store| (store.recording(&ids.0), store.recording(&ids.1))).await;
            let row = match rows {
                Some((Ok(Some(row)), Ok(None))) if row.state != "recording" => row,
                Some((Ok(_), Ok(Some(merged)))) => {
                    self.drop_tracks(&mix, &merged.file).await;
                    continue;
                }
                _ => continue,
            };
            match self.merger.save(mix.clone(), row.sample_rate, row.duration_ms).await {
                Ok(saved) => self.publish_merged(&mix, saved).await,
                Err(e) => log::debug!(error = e; "tracks cannot be merged yet"),
            }
        }
    }

    /// Publishes a file merged long after its recording.
    async fn publish_merged(self: &Rc<Self>, mix: &str, saved: Saved) {
        let id = base_name(mix);
        let row = match self.events.ask_outbox(move |store| store.recording(&id)).await {
            Some(Ok(Some(row))) => row,
            Some(Ok(None)) => {
                // The recording was deleted meanwhile: the merged file is deleted, too.
                let gone = FILES.run(move || std::fs::remove_file(saved.file)).await;
                return gone
                    .unwrap_or_else(|e| Err(e.into()))
                    .unwrap_or_else(|e| log::warn!(error:% = e; "a deleted recording cannot be removed"));
            }
            Some(Err(_)) | None => return,
        };
        let body = RecordingFinished {
            file: saved.file.clone(),
            recovered: true,
            started_at: Utc::from_millis(row.started_ms).rfc3339(),
            bytes: Some(saved.bytes),
            duration_ms: Some(saved.duration_ms),
            sample_rate: Some(saved.sample_rate),
            channel_count: u16::try_from(saved.channels).ok(),
            channels: Some(saved.table()),
            ..RecordingFinished::default()
        };
        self.events.publish(&Event {
            at: clock::now().utc,
            event_id: self.events.event_id(),
            leg_id: None,
            leg_seq: None,
            room_id: row.room,
            body: EventBody::RecordingFinished(body),
            webhook: hook_of(&row.hook),
            origin: Origin::Own,
            upload: row.upload,
        });
        self.events.flush();
        self.drop_tracks(mix, &saved.file).await;
    }
}

/// Recordings with track directories in this directory.
fn left_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.filter_map(|e| e.ok()?.path().to_str().map(str::to_owned));
    paths.filter_map(|p| Some(format!("{}.wav", p.strip_suffix(".tracks")?))).collect()
}
