//! Stored recordings.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::app::App;
use super::endpoint::{Endpoint, PlainAsync, endpoint};
use super::http::conditional::{Choice, choose};
use super::http::error::ApiError;
use super::http::reply::{FilePart, Reply, timestamp};
use super::request::{Call, Outcome};
use super::responses::{Answer, CONFLICT, DONE, FULL, Shape, error, ok, text};
use crate::base::time::Utc;
use crate::delivery::uploads::View;
use crate::io::outbox::rows::{Op as Change, RecordingRow};
use crate::io::recording::track_merge::remove_recording;
use crate::io::system::clock;
use crate::io::system::workers::{FILES, WorkError};
use crate::io::wav::repair;

const NO_RECORDING: Answer = error(404, "No such recording");

pub(super) static ENDPOINTS: &[Endpoint] = &[
    endpoint(
        "GET",
        "/recordings",
        "Recordings, newest first, at most 1,000",
        &PlainAsync(|c| Box::pin(list(c))),
        &[ok::<Recordings>(), FULL],
    ),
    endpoint(
        "GET",
        "/recordings/{id}",
        "One recording",
        &PlainAsync(|c| Box::pin(one(c))),
        &[ok::<RecordingView>(), NO_RECORDING, FULL],
    ),
    endpoint(
        "GET",
        "/recordings/{id}/file",
        "Download a recording, or a byte range of it",
        &PlainAsync(|c| Box::pin(file(c))),
        &[
            text("audio/wav"),
            Answer { status: 206, when: "The requested range", shape: Shape::Text("audio/wav") },
            Answer { status: 304, when: "Unchanged since If-None-Match", shape: Shape::Empty },
            NO_RECORDING,
            error(412, "If-Match does not match"),
            error(416, "Range not satisfiable"),
            FULL,
        ],
    ),
    endpoint(
        "DELETE",
        "/recordings/{id}",
        "Delete a recording",
        &PlainAsync(|c| Box::pin(delete(c))),
        &[DONE, NO_RECORDING, CONFLICT, error(500, "The file cannot be removed"), FULL],
    ),
];

/// Most recordings listed.
const MOST: usize = 1000;

/// Reply of `GET /recordings`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Recordings {
    /// The recordings.
    pub recordings: Vec<RecordingView>,
}

/// A recording.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StoredRecording")]
pub struct RecordingView {
    /// File name.
    pub id: String,
    /// Path of the file.
    pub file: String,
    /// The leg that was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leg_id: Option<String>,
    /// The room that was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_id: Option<String>,
    /// `recording`, `finished`, `failed` (ended early, or the upload was rejected permanently: what was
    /// recorded is kept), `uploading` (finished, waiting for its upload) or `uploaded`.
    pub state: String,
    /// Size of the file, bytes.
    pub bytes: u64,
    /// Duration, ms.
    pub duration_ms: u64,
    /// Sampling rate, Hz.
    pub sample_rate: u32,
    /// Number of channels.
    pub channels: u16,
    /// Start time.
    pub started_at: String,
    /// State of its upload, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadView>,
}

/// The upload of a recording.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UploadView {
    /// Destination or location.
    pub location: String,
    /// Consecutive failures of that bucket, for any recording.
    pub failures: u32,
    /// Error of the last try; null if it succeeded.
    pub last_error: Option<String>,
    /// Time of the next try; null: at once, or none needed.
    pub next_try: Option<String>,
}

fn view(app: &App, r: RecordingRow) -> RecordingView {
    let upload = r.upload.as_ref().map(|place| {
        let now = clock::now();
        let how = if r.location.is_some() { View::default() } else { app.driver.uploads().view(place) };
        let next_try = how.next_try.filter(|_| r.is_to_upload());
        UploadView {
            location: r.location.clone().unwrap_or_else(|| place.location(&r.id)),
            failures: how.failures,
            last_error: how.last_error,
            next_try: next_try.map(|at| timestamp(now, at)),
        }
    });
    RecordingView {
        id: r.id,
        file: r.file,
        leg_id: r.leg,
        room_id: r.room,
        state: r.state,
        bytes: r.bytes,
        duration_ms: r.duration_ms,
        sample_rate: r.sample_rate,
        channels: r.channels,
        started_at: Utc::from_millis(r.started_ms).rfc3339(),
        upload,
    }
}

/// Queries the outbox; 503 if that is not possible now.
async fn ask<T: Send + 'static>(
    app: &App,
    f: impl FnOnce(&crate::io::outbox::store::Store) -> Result<T, crate::io::outbox::fault::Fault>
    + Send
    + 'static,
) -> Result<T, ApiError> {
    match app.driver.events().ask_outbox(move |store| f(store)).await {
        Some(Ok(found)) => Ok(found),
        Some(Err(e)) => Err(ApiError::Unavailable(format!("the list of recordings cannot be read: {e}"))),
        None => Err(ApiError::Unavailable("too much waits for the outbox".to_owned())),
    }
}

/// The size of a recording in progress is read from its file.
fn up_to_date(mut row: RecordingRow) -> RecordingRow {
    if row.state == "recording"
        && let Ok(facts) = repair::examine(row.file.as_ref())
    {
        (row.bytes, row.duration_ms) = (facts.bytes, facts.duration_ms);
        (row.sample_rate, row.channels) = (facts.sample_rate, facts.channels);
    }
    row
}

/// `GET /recordings`.
async fn list(call: Call<'_>) -> Outcome {
    let app = call.app;
    let rows = ask(app, |store| store.recordings(None, MOST)).await?;
    // Not on the outbox thread: a slow recording disk must not delay events.
    let rows = FILES.run(move || rows.into_iter().map(up_to_date).collect::<Vec<_>>()).await.map_err(busy)?;
    let recordings = rows.into_iter().map(|r| view(app, r)).collect();
    Ok(call.object(200, Recordings { recordings }))
}

/// Error if no thread is free.
fn busy(e: WorkError) -> ApiError {
    ApiError::Unavailable(format!("files cannot be read now: {e}"))
}

async fn find(app: &App, id: &str) -> Result<RecordingRow, ApiError> {
    let wanted = id.to_owned();
    let found = ask(app, move |store| store.recording(&wanted)).await?;
    let found = found.ok_or_else(|| ApiError::NotFound("recording not found".to_owned()))?;
    FILES.run(move || up_to_date(found)).await.map_err(busy)
}

/// `GET /recordings/{id}`.
async fn one(call: Call<'_>) -> Outcome {
    Ok(call.object(200, view(call.app, find(call.app, call.id()).await?)))
}

/// `GET /recordings/{id}/file`.
async fn file(call: Call<'_>) -> Outcome {
    let row = find(call.app, call.id()).await?;
    if let Some(location) = row.location {
        return Err(ApiError::NotFound(format!("the recording is not here any more, but at {location}")));
    }
    let path = PathBuf::from(&row.file);
    let opened = FILES.run(move || {
        let file = File::open(path)?;
        file.metadata().map(|m| (file, m))
    });
    let unread = |e: std::io::Error| {
        if e.kind() == ErrorKind::NotFound {
            return ApiError::NotFound("the file of the recording is gone".to_owned());
        }
        ApiError::Internal(format!("the file of the recording cannot be read: {e}"))
    };
    let (mut file, about) = opened.await.map_err(busy)?.map_err(unread)?;
    let (length, tag) = (about.len(), entity_tag(&about, row.state == "recording"));
    let mut reply = Reply::empty();
    reply.headers.push(("ETag", tag.clone()));
    let (from, len) = match choose(call.conditions, &tag, length) {
        Choice::Failed => return Err(ApiError::PreconditionFailed),
        Choice::NoPart => return Err(ApiError::NoSuchPart(length)),
        Choice::NotModified => {
            reply.status = 304;
            return Ok(reply);
        }
        Choice::Whole => {
            reply.status = 200;
            (0, length)
        }
        Choice::Part(from, to) => {
            reply.headers.push(("Content-Range", format!("bytes {from}-{to}/{length}")));
            reply.status = 206;
            (from, to - from + 1)
        }
    };
    reply.content_type = "audio/wav";
    reply.headers.push(("Accept-Ranges", "bytes".to_owned()));
    reply.headers.push(("Content-Disposition", format!("attachment; filename=\"{}\"", row.id)));
    file.seek(SeekFrom::Start(from)).map_err(unread)?;
    reply.file = Some(FilePart { file, len });
    Ok(reply)
}

/// Entity tag of a file: unique per response while it is being written, since its parts may not be
/// consistent.
fn entity_tag(of: &Metadata, growing: bool) -> String {
    let (len, changed) = (of.len(), of.mtime().wrapping_mul(1_000_000_000).wrapping_add(of.mtime_nsec()));
    let answer = if growing { format!("-{:x}", clock::now().utc.0.as_nanos()) } else { String::new() };
    format!("\"{len:x}-{changed:x}{answer}\"")
}

/// `DELETE /recordings/{id}`.
async fn delete(call: Call<'_>) -> Outcome {
    let app = call.app;
    let row = find(app, call.id()).await?;
    if row.state == "recording" {
        return Err(ApiError::Conflict("it is being recorded: stop the recording first".to_owned()));
    }
    let path = row.file.clone();
    if let Err(e) = FILES.run(move || remove_recording(&path)).await.map_err(busy)? {
        return Err(ApiError::Internal(format!("the file cannot be removed: {e}")));
    }
    if let Some(place) = &row.upload {
        app.driver.uploads().give_up(&row.id, place);
    }
    app.driver.events().store(Change::RecordingGone(row.id));
    Ok(call.done("deleted"))
}
