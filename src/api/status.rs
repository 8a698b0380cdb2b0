//! `GET /v1/status`: activity and problems of the gateway, for its operator.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Endpoint, PlainAsync, endpoint};
use super::http::error::ApiError;
use super::request::{Call, Outcome};
use super::responses::{FULL, ok};
use crate::io::system::disk;
use crate::io::system::process::Process;
use crate::io::system::workers::FILES;

pub(super) static ENDPOINTS: &[Endpoint] = &[endpoint(
    "GET",
    "/status",
    "Status of the gateway, with recent warnings and errors",
    &PlainAsync(|c| Box::pin(status(c))),
    &[ok::<StatusView>(), FULL],
)];

/// Reply of `GET /v1/status`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "GatewayStatus")]
pub struct StatusView {
    /// `ok`; `stopping`: new calls are refused; `stalled`: the media thread is stuck; `damaged`: files of the
    /// state directory could not be read.
    pub state: String,
    /// Version of the program.
    pub version: String,
    /// Uptime, whole seconds.
    pub uptime_s: u64,
    /// Active board profile.
    pub board: String,
    /// Live legs.
    pub legs: u32,
    /// Rooms.
    pub rooms: u32,
    /// Trunks.
    pub trunks: Vec<TrunkState>,
    /// Number of registered contacts.
    pub phones: usize,
    /// Events waiting for delivery.
    pub events_waiting: u64,
    /// Webhooks whose last delivery failed.
    pub webhooks_failing: usize,
    /// Recordings waiting for upload, as far as they are in memory.
    pub uploads_waiting: u64,
    /// Uploads in progress.
    #[serde(default)]
    pub uploads: Vec<UploadState>,
    /// Disk of the recordings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
    /// Resident memory, bytes.
    pub memory_bytes: u64,
    /// Media ticks that started more than 5 ms late.
    pub ticks_late: u64,
    /// Media ticks skipped after a stall.
    pub ticks_skipped: u64,
    /// The last warnings and errors of the log, latest first, at most 32.
    pub faults: Vec<FaultView>,
}

/// Summary of a trunk.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct TrunkState {
    /// Its id.
    pub id: String,
    /// Status as in `GET /v1/sip/trunks`.
    pub status: String,
    /// Why it is not active.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub last_error: String,
}

/// An upload in progress.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct UploadState {
    /// The recording.
    pub recording: String,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Size, bytes.
    pub bytes: u64,
}

/// A disk.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Disk {
    /// Directory of the recordings.
    pub path: String,
    /// Free space, bytes.
    pub free_bytes: u64,
    /// Free space required to start a recording, bytes.
    pub reserved_bytes: u64,
}

/// A log line.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct FaultView {
    /// Time (RFC 3339).
    pub at: String,
    /// `warn` or `error`.
    pub level: String,
    /// Message.
    pub text: String,
}

/// `GET /v1/status`.
async fn status(call: Call<'_>) -> Outcome {
    let driver = &call.app.driver;
    let (summary, config) = (driver.summary(), call.app.config());
    let dir = config.recording_dir();
    // A hanging disk blocks this reply but no call.
    let free = FILES
        .run(move || disk::free_at(&dir))
        .await
        .map_err(|e| ApiError::Unavailable(format!("the disk cannot be asked now: {e}")))?;
    let disk = free.map(|free_bytes| Disk {
        path: config.recording_dir().display().to_string(),
        free_bytes,
        reserved_bytes: u64::from(config.recording.min_free_mb) << 20,
    });
    let trunks = driver.look(|view| view.trunks().views()).into_iter().map(|t| TrunkState {
        id: t.id,
        status: t.status.to_owned(),
        last_error: t.last_error,
    });
    let uploads = driver.uploads().under_way().into_iter();
    let uploads = uploads.map(|(recording, sent_bytes, bytes)| UploadState { recording, sent_bytes, bytes });
    let faults = driver.faults().into_iter().map(|f| FaultView {
        at: f.at.rfc3339(),
        level: f.level.as_str().to_ascii_lowercase(),
        text: f.text,
    });
    let state = match (summary.stopping, driver.standing_still(), driver.is_damaged()) {
        (true, _, _) => "stopping",
        (false, Some(_), _) => "stalled",
        (false, None, true) => "damaged",
        (false, None, false) => "ok",
    };
    let pulse = driver.pulse();
    let count = |n: &std::sync::atomic::AtomicU64| n.load(std::sync::atomic::Ordering::Relaxed);
    let body = StatusView {
        state: state.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: driver.uptime().as_secs(),
        board: config.board.clone(),
        legs: summary.legs,
        rooms: summary.rooms,
        trunks: trunks.collect(),
        phones: summary.phones,
        events_waiting: summary.events,
        webhooks_failing: driver.events().targets().iter().filter(|t| t.failures > 0).count(),
        uploads_waiting: summary.uploads,
        uploads: uploads.collect(),
        disk,
        memory_bytes: Process::read().resident,
        ticks_late: count(&pulse.late),
        ticks_skipped: count(&pulse.skipped),
        faults: faults.collect(),
    };
    Ok(call.object(200, body))
}
