//! Runs due uploads, one try each, and reports the outcome to the queues.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::client::{Client, Fault, Task};
use crate::config::S3;
use crate::delivery::uploads::Job;
use crate::io::events::pipeline::EventPipeline;
use crate::io::net::http_client::Rules;
use crate::io::outbox::rows::{Op, RecordingRow};
use crate::io::recording::uploads::{Outcome, Uploads};
use crate::io::system::clock;
use crate::io::system::executor::Executor;
use crate::io::system::workers::UPLOADS;

/// Multipart upload ids waiting to be stored, at most.
const MAX_NOTES: usize = 256;
/// Delay for a recording that cannot be read or is not yet in the outbox.
const LATER: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(5);
/// How long after startup a missing disk may still be mounted.
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// What carries out the uploads that are due.
#[derive(Debug)]
struct Uploader {
    uploads: Rc<Uploads>,
    events: Rc<EventPipeline>,
    client: Arc<Client>,
    started: Instant,
}

/// Uploads recordings until the program ends.
pub async fn run(
    executor: Rc<Executor>,
    uploads: Rc<Uploads>,
    events: Rc<EventPipeline>,
    settings: S3,
    rules: Rules,
) {
    let (tell, notes) = async_channel::bounded(MAX_NOTES);
    let client = Arc::new(Client::new(&settings, &rules, tell));
    let parts = Rc::clone(&events);
    executor.spawn(async move {
        while let Ok((id, upload_id)) = notes.recv().await {
            parts.store(Op::Multipart(id, upload_id));
        }
    });
    let uploader = Rc::new(Uploader { uploads, events, client, started: clock::now().mono });
    loop {
        while let Some(job) = uploader.uploads.next() {
            let uploader = Rc::clone(&uploader);
            executor.spawn(async move { uploader.upload(job).await });
        }
        uploader.uploads.due().await;
    }
}

impl Uploader {
    /// One try.
    async fn upload(&self, job: Job) {
        let flight = self.uploads.begin(&job.id);
        let id = job.id.clone();
        let outcome = match self.events.ask_outbox(move |store| store.recording(&id)).await {
            Some(Ok(Some(row))) if row.is_to_upload() => {
                flight.bytes.store(row.bytes, Ordering::Relaxed);
                let task = Task { job: job.clone(), row, flight: Arc::clone(&flight) };
                let uptime = clock::now().mono.saturating_duration_since(self.started);
                let client = Arc::clone(&self.client);
                let tried = UPLOADS.run(move || outcome(client.upload(&task), &task, uptime)).await;
                tried.unwrap_or_else(|e| again(&e.to_string()))
            }
            // What the outbox could not write yet still stands there as it was.
            Some(Ok(Some(row))) if row.state == "recording" => again("the outbox does not know of it yet"),
            Some(Ok(None)) if !flight.cancelled.load(Ordering::Acquire) => {
                again("the outbox does not know of it yet")
            }
            Some(Ok(_)) => Outcome::Deleted,
            Some(Err(_)) | None => again("the outbox cannot be asked"),
        };
        self.uploads.end(&job, outcome).await;
    }
}

fn again(why: &str) -> Outcome {
    Outcome::PutOff(why.to_owned(), SOON)
}

fn outcome(result: Result<(), Fault>, task: &Task, uptime: Duration) -> Outcome {
    match result {
        Ok(()) => Outcome::Uploaded,
        Err(Fault::Cancelled) => Outcome::Deleted,
        Err(Fault::Never(why)) => Outcome::Lost(why),
        Err(Fault::Lost(why)) if uptime > WEEK || is_mounted(&task.row) => Outcome::Lost(why.to_owned()),
        Err(fault @ (Fault::Lost(_) | Fault::Local(_))) => Outcome::PutOff(fault.to_string(), LATER),
        Err(Fault::Later(failure)) => Outcome::Failed(failure),
        Err(Fault::Anew(why)) => Outcome::Failed(why.into()),
    }
}

/// False if the directory of a file is missing or empty: its disk may be mounted later.
fn is_mounted(row: &RecordingRow) -> bool {
    let dir = Path::new(&row.file).parent();
    dir.and_then(|d| std::fs::read_dir(d).ok()).is_some_and(|mut entries| entries.next().is_some())
}
