//! Upload of recordings, control-thread part: from the queues to the client, and the result to the outbox;
//! the file is deleted only after the outbox has stored its new location.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_channel::Sender;

use super::track_merge::{are_left, remove_file};
use crate::config::Place;
use crate::delivery::failure::Failure;
use crate::delivery::share::Origin;
use crate::delivery::uploads::{Counts, Job, View};
use crate::gateway::events::{Event, EventBody, RecordingUploadFailed, RecordingUploaded};
use crate::io::events::outbox_ops::hook_of;
use crate::io::events::pipeline::EventPipeline;
use crate::io::events::upload_queue::UploadQueue;
use crate::io::outbox::rows::{Op, RecordingRow, UPLOADED, UPLOADING};
use crate::io::system::clock;
use crate::io::system::executor::Executor;
use crate::io::system::settings::Settings;
use crate::io::system::timer;
use crate::io::system::workers::FILES;

/// Retry interval if the outbox could not be queried.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Result of an upload attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The recording is in its bucket, verified.
    Uploaded,
    /// To be retried; the reason, and the earliest time.
    Failed(Failure),
    /// It could not be attempted for a reason other than the destination: reason, and retry delay.
    PutOff(String, Duration),
    /// Permanent failure; the reason.
    Lost(String),
    /// The recording was deleted.
    Deleted,
}

/// Progress and cancellation of an upload.
#[derive(Debug, Default)]
pub struct Flight {
    /// Set to cancel it.
    pub cancelled: AtomicBool,
    /// Bytes of the recording sent so far.
    pub sent: AtomicU64,
    /// Bytes of the recording.
    pub bytes: AtomicU64,
}

impl RecordingRow {
    /// True if it has ended and waits for its upload.
    #[must_use]
    pub fn is_to_upload(&self) -> bool {
        self.state == UPLOADING && self.upload.is_some()
    }
}

/// Waiting and running uploads.
#[derive(Debug)]
pub struct Uploads {
    queue: Rc<UploadQueue>,
    events: Rc<EventPipeline>,
    settings: Settings,
    executor: Rc<Executor>,
    /// Running uploads.
    flying: RefCell<BTreeMap<String, Arc<Flight>>>,
    /// API calls waiting for an upload.
    waiting: RefCell<Vec<(String, Sender<()>)>>,
}

impl Uploads {
    /// The uploads of this queue; results are published as events.
    #[must_use]
    pub fn new(
        queue: Rc<UploadQueue>,
        events: Rc<EventPipeline>,
        settings: Settings,
        executor: Rc<Executor>,
    ) -> Self {
        let (flying, waiting) = (RefCell::default(), RefCell::default());
        Self { queue, events, settings, executor, flying, waiting }
    }

    /// The next upload to start; call until `None`.
    #[must_use]
    pub fn next(&self) -> Option<Job> {
        self.queue.queues().borrow_mut().poll(clock::now().mono)
    }

    /// Waits until an upload may be due.
    pub async fn due(self: &Rc<Self>) {
        self.poll_queue();
        let next = self.queue.queues().borrow().poll_timeout(clock::now().mono);
        smol::future::or(timer::sleep_until(next), self.queue.woken()).await;
    }

    /// Loads rows that the queues request from the outbox.
    fn poll_queue(self: &Rc<Self>) {
        loop {
            let load = self.queue.queues().borrow_mut().poll_load();
            let Some(load) = load else { break };
            let place = Arc::clone(&load.place);
            let asked = self.events.ask_outbox(move |store| store.to_upload(&place, load.most));
            let uploads = Rc::clone(self);
            self.executor.spawn(async move {
                if let Some(Ok(ids)) = asked.await {
                    uploads.queue.queues().borrow_mut().handle_loaded(load.place_id, ids, load.most);
                } else {
                    timer::sleep(ASK_AGAIN).await;
                    uploads.queue.queues().borrow_mut().handle_not_loaded(load.place_id);
                }
                uploads.queue.wake();
            });
        }
        if self.queue.queues().borrow_mut().poll_revive() {
            let uploads = Rc::clone(self);
            self.executor.spawn(async move { uploads.restore().await });
        }
    }

    /// Loads recordings waiting for upload from the outbox.
    pub async fn restore(self: Rc<Self>) {
        match self.events.ask_outbox(|store| store.upload_places()).await {
            Some(Ok(places)) => {
                let mut queues = self.queue.queues().borrow_mut();
                places.into_iter().for_each(|p| queues.restore(&Arc::new(p)));
            }
            Some(Err(e)) => log::error!(error:% = e; "the outbox cannot be read: uploads wait"),
            None => log::warn!("the outbox is busy: uploads wait"),
        }
        self.queue.wake();
    }

    /// Registers a starting upload.
    #[must_use]
    pub fn begin(&self, id: &str) -> Arc<Flight> {
        let flight = Arc::new(Flight::default());
        self.flying.borrow_mut().insert(id.to_owned(), Arc::clone(&flight));
        flight
    }

    /// Running uploads: recording, bytes sent, total bytes.
    #[must_use]
    pub fn under_way(&self) -> Vec<(String, u64, u64)> {
        let flying = self.flying.borrow();
        let bytes = |n: &AtomicU64| n.load(Ordering::Relaxed);
        flying.iter().map(|(id, f)| (id.clone(), bytes(&f.sent), bytes(&f.bytes))).collect()
    }

    /// Handles the result of an upload.
    pub async fn end(self: &Rc<Self>, job: &Job, outcome: Outcome) {
        self.flying.borrow_mut().remove(&job.id);
        let now = clock::now();
        let (place_id, id) = (job.place_id, job.id.as_str());
        match outcome {
            Outcome::Uploaded => {
                self.finish(job).await;
                self.queue.queues().borrow_mut().handle_done(place_id, id, true);
            }
            Outcome::Lost(why) => {
                self.fail(id, &why).await;
                self.queue.queues().borrow_mut().handle_done(place_id, id, false);
            }
            Outcome::Deleted => self.queue.queues().borrow_mut().handle_done(place_id, id, false),
            Outcome::PutOff(why, wait) => {
                log::warn!(recording = id, error = why; "a recording cannot be uploaded now");
                self.queue.queues().borrow_mut().handle_put_off(now.mono, place_id, id, wait);
            }
            Outcome::Failed(failure) => {
                let why = failure.why.clone();
                log::debug!(recording = id, error = why; "upload failed");
                let mut queues = self.queue.queues().borrow_mut();
                if queues.handle_failed(now.mono, place_id, id, failure) {
                    log::warn!(place:? = job.place, error = why; "uploads fail and are retried");
                }
            }
        }
        self.queue.wake();
    }

    /// Publishes the upload of a recording; deletes the file after the outbox has committed it.
    async fn finish(self: &Rc<Self>, job: &Job) {
        let Some(row) = self.row_to_upload(&job.id).await else { return };
        let location = job.place.location(&row.id);
        let body = RecordingUploaded {
            file: location,
            local_file: row.file.clone(),
            bytes: row.bytes,
            duration_ms: row.duration_ms,
        };
        self.publish(EventBody::RecordingUploaded(body), &row);
        let known = loop {
            match self.row(&row.id).await {
                Some(Some(now)) if now.state == UPLOADED => break true,
                Some(None) => break false,
                // The disk cannot be written: the file is kept until it can.
                _ => timer::sleep(ASK_AGAIN).await,
            }
        };
        if known {
            let path = row.file.clone();
            let removed = FILES.run(move || (remove_file(&path), are_left(&path))).await;
            let (removed, left) = removed.unwrap_or_else(|e| (Err(e.into()), true));
            if let Err(e) = removed {
                log::warn!(error:% = e; "the file of an uploaded recording cannot be deleted");
            }
            if !left {
                self.events.store(Op::ForgetKeys(row.id.clone()));
            }
        }
        self.notify_waiting(&row.id);
    }

    /// Wakes API calls waiting for this upload.
    fn notify_waiting(&self, of: &str) {
        self.waiting.borrow_mut().retain(|(id, tell)| id != of || tell.try_send(()).is_err());
    }

    async fn fail(self: &Rc<Self>, id: &str, why: &str) {
        let Some(row) = self.row_to_upload(id).await else { return };
        log::error!(recording = id, error = why; "a recording will never be uploaded");
        let body = RecordingUploadFailed { file: row.file.clone(), error: why.into() };
        self.publish(EventBody::RecordingUploadFailed(body), &row);
        self.notify_waiting(&row.id);
    }

    fn publish(&self, body: EventBody, row: &RecordingRow) {
        self.events.publish(&Event {
            at: clock::now().utc,
            event_id: self.events.event_id(),
            leg_id: row.leg.clone(),
            // The leg and its event numbers may no longer exist.
            leg_seq: None,
            room_id: row.room.clone(),
            body,
            webhook: hook_of(&row.hook),
            origin: Origin::Own,
            upload: row.upload.clone(),
        });
        self.events.flush();
    }

    /// A recording's row; `None`: the outbox cannot be queried now.
    async fn row(&self, id: &str) -> Option<Option<RecordingRow>> {
        let id = id.to_owned();
        self.events.ask_outbox(move |store| store.recording(&id)).await?.ok()
    }

    /// A recording that still waits for its upload.
    async fn row_to_upload(&self, id: &str) -> Option<RecordingRow> {
        loop {
            match self.row(id).await {
                Some(row) => return row.filter(RecordingRow::is_to_upload),
                None => timer::sleep(ASK_AGAIN).await,
            }
        }
    }

    /// Waits until a recording is uploaded, up to the configured time; returns its location.
    pub async fn wait_for(&self, id: &str) -> Option<String> {
        let wait = Duration::from_secs(self.settings.current().s3.wait_s.into());
        let (tell, told) = async_channel::bounded(1);
        self.waiting.borrow_mut().push((id.to_owned(), tell));
        let uploaded = async {
            // It may have completed already.
            let before = self.row(id).await.flatten().and_then(|r| r.location);
            if before.is_some() {
                return before;
            }
            told.recv().await.ok()?;
            self.row(id).await.flatten().and_then(|r| r.location)
        };
        let location = timer::within(wait, uploaded).await.flatten();
        told.close();
        self.waiting.borrow_mut().retain(|(_, tell)| !tell.is_closed());
        location
    }

    /// Cancels the upload of a deleted recording.
    pub fn give_up(&self, id: &str, place: &Arc<Place>) {
        if let Some(flight) = self.flying.borrow().get(id) {
            flight.cancelled.store(true, Ordering::Release);
        }
        self.queue.queues().borrow_mut().forget(place, id);
    }

    /// State of uploads to a destination.
    #[must_use]
    pub fn view(&self, place: &Place) -> View {
        self.queue.queues().borrow().view(place)
    }

    /// Number of recordings in memory waiting for upload.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        self.queue.queues().borrow().in_memory().1
    }

    /// Counters of uploads.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.queue.queues().borrow().counts()
    }
}
