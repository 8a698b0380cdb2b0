//! Recording of legs and rooms.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::endpoint::{Endpoint, JsonAsync, Plain, PlainAsync, endpoint};
use super::http::error::ApiError;
use super::playback::exists;
use super::request::{Call, Outcome};
use super::responses::{Answer, BAD, CONFLICT, DONE, FAILED, FULL, NOT_FOUND, ok};
use crate::base::secret::Secret;
use crate::config::Place;
use crate::config::s3::{UploadRequest, address_of};
use crate::gateway::interface::owner::Owner;
use crate::gateway::interface::replies;
use crate::gateway::recording::{Paused, RecordingRequest};
use crate::io::net::http_client::Rules;
use crate::io::outbox::rows::base_name;

const RECORD: &[Answer] = &[ok::<Recording>(), BAD, NOT_FOUND, CONFLICT, FAILED, FULL];
const STOP_RECORD: &[Answer] = &[ok::<Recording>(), NOT_FOUND, FAILED];

pub(super) static ENDPOINTS: &[Endpoint] = &[
    endpoint(
        "POST",
        "/legs/{id}/record",
        "Start recording a leg",
        &JsonAsync(|c, body| Box::pin(record(c, Owner::Leg(c.id()), body))),
        RECORD,
    ),
    endpoint(
        "DELETE",
        "/legs/{id}/record",
        "Stop recording",
        &PlainAsync(|c| Box::pin(stop(c, Owner::Leg(c.id())))),
        STOP_RECORD,
    ),
    endpoint(
        "POST",
        "/legs/{id}/record/pause",
        "Pause recording: silence is recorded",
        &Plain(|c| pause(c, Owner::Leg(c.id()), true)),
        &[DONE, NOT_FOUND],
    ),
    endpoint(
        "POST",
        "/legs/{id}/record/resume",
        "Resume recording",
        &Plain(|c| pause(c, Owner::Leg(c.id()), false)),
        &[DONE, NOT_FOUND],
    ),
    endpoint(
        "POST",
        "/rooms/{id}/record",
        "Start recording a room",
        &JsonAsync(|c, body| Box::pin(record(c, Owner::Room(c.id()), body))),
        RECORD,
    ),
    endpoint(
        "DELETE",
        "/rooms/{id}/record",
        "Stop recording",
        &PlainAsync(|c| Box::pin(stop(c, Owner::Room(c.id())))),
        STOP_RECORD,
    ),
    endpoint(
        "POST",
        "/rooms/{id}/record/pause",
        "Pause recording: silence is recorded",
        &Plain(|c| pause(c, Owner::Room(c.id()), true)),
        &[DONE, NOT_FOUND],
    ),
    endpoint(
        "POST",
        "/rooms/{id}/record/resume",
        "Resume recording",
        &Plain(|c| pause(c, Owner::Room(c.id()), false)),
        &[DONE, NOT_FOUND],
    ),
];

/// `POST …/record`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Record {
    /// `file`, or `s3`: uploaded at the end. `s3_bucket`, `s3_region`, `s3_endpoint`, `s3_prefix`, and
    /// `s3_access_key` with `s3_secret_key` (strings) override the settings of `[s3]`.
    #[schemars(extend("enum" = ["file", "s3", "", null]))]
    pub storage: Option<String>,
    /// Rooms: additionally record one channel per participant in a separate file. Legs are stereo anyway.
    pub multi_channel: Option<bool>,
    /// Bucket instead of the configured one.
    #[schemars(skip)]
    pub s3_bucket: Option<String>,
    /// Region instead of the configured one.
    #[schemars(skip)]
    pub s3_region: Option<String>,
    /// Server instead of the configured one, e.g. `https://minio.example:9000`.
    #[schemars(skip)]
    pub s3_endpoint: Option<String>,
    /// Key prefix instead of the configured one.
    #[schemars(skip)]
    pub s3_prefix: Option<String>,
    /// S3 access key; requires `s3_secret_key`.
    #[schemars(skip)]
    pub s3_access_key: Option<Secret>,
    /// S3 secret key; requires `s3_access_key`.
    #[schemars(skip)]
    pub s3_secret_key: Option<Secret>,
}

/// Time limit for completing a recording.
const PATIENCE: Duration = Duration::from_secs(25);

/// Reply of `POST|DELETE …/record`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Recording {
    /// Path of the file, or its upload location, `s3://…`.
    pub file: String,
    /// `recording` or `stopped`.
    pub status: &'static str,
    /// Multi-channel file of a room recording with `multi_channel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_channel_file: Option<String>,
    /// By leg: `channel`, and when it joined and left (`start_ms`, `end_ms`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<serde_json::Value>,
}

/// `POST …/record`.
async fn record(call: Call<'_>, owner: Owner<'_>, body: Record) -> Outcome {
    let app = call.app;
    exists(app, owner)?;
    let upload = place(app, &body)?;
    let multi_channel = body.multi_channel == Some(true) && matches!(owner, Owner::Room(_));
    let wanted = RecordingRequest { upload, multi_channel };
    let handle = app.driver.audio(|a| a.record(owner, wanted))?;
    finish(call, app.driver.reply(handle).await?, "recording")
}

/// Upload destination; `None`: not uploaded.
fn place(app: &App, body: &Record) -> Result<Option<Arc<Place>>, ApiError> {
    let text = |s: &Option<String>| s.clone().unwrap_or_default();
    let fields = [&body.s3_bucket, &body.s3_region, &body.s3_endpoint, &body.s3_prefix];
    let [bucket, region, endpoint, prefix] = fields.map(text);
    let [access_key, secret_key] = [&body.s3_access_key, &body.s3_secret_key]
        .map(|s| s.as_ref().map(|s| s.reveal().to_owned()).unwrap_or_default());
    match body.storage.as_deref().unwrap_or("") {
        "" | "file" if access_key.is_empty() == secret_key.is_empty() => Ok(None),
        "" | "file" => Err(ApiError::BadRequest("s3_access_key and s3_secret_key go together".to_owned())),
        "s3" => {
            let wish = UploadRequest {
                bucket: &bucket,
                region: &region,
                endpoint: &endpoint,
                prefix: &prefix,
                access_key: &access_key,
                secret_key: &secret_key,
            };
            let place = app.config().s3.place(&wish).map_err(ApiError::BadRequest)?;
            // Host names are checked when they are resolved.
            let literal = Some(&place.endpoint).filter(|_| !place.trusted).and_then(|e| address_of(e));
            if literal.is_some_and(|ip| !Rules::new(&app.config()).permit(ip)) {
                let refused =
                    "s3_endpoint: the address is not allowed for URLs of API clients (security.url_allow)";
                return Err(ApiError::BadRequest(refused.to_owned()));
            }
            Ok(Some(Arc::new(place)))
        }
        _ => Err(ApiError::BadRequest("storage: file or s3 is allowed".to_owned())),
    }
}

/// `DELETE …/record`. The reply waits some seconds for the upload, if there is one.
async fn stop(call: Call<'_>, owner: Owner<'_>) -> Outcome {
    let app = call.app;
    let merging = app.driver.look(|view| view.multi_channel_recording(owner));
    let handle = app.driver.audio(|a| a.stop_recording(owner))?;
    let mut outcome = match merging {
        Some(file) => match app.driver.reply_within(handle, PATIENCE).await {
            Some(outcome) => outcome?,
            // Its tracks are still being merged; the event will report them.
            None => replies::Reply::Recorded { file, upload: false, began: 0, merged: None },
        },
        None => app.driver.reply(handle).await?,
    };
    if let replies::Reply::Recorded { file, upload: true, merged, .. } = &mut outcome {
        let first = place_of(app, file);
        let second = async {
            if let Some(merged) = merged {
                place_of(app, &mut merged.file).await;
            }
        };
        smol::future::zip(first, second).await;
    }
    finish(call, outcome, "stopped")
}

/// Waits some time for the upload of a file; if it succeeds, `file` is its location.
async fn place_of(app: &App, file: &mut String) {
    if let Some(location) = app.driver.uploads().wait_for(&base_name(file)).await {
        *file = location;
    }
}

fn finish(call: Call<'_>, outcome: replies::Reply, status: &'static str) -> Outcome {
    let (file, merged) = outcome.recording().ok_or_else(ApiError::mismatched_reply)?;
    let (multi_channel_file, channels) = merged.map(|m| (m.file, serde_json::json!(m.channels))).unzip();
    Ok(call.object(200, Recording { file, status, multi_channel_file, channels }))
}

/// `POST …/record/pause` and `…/resume`.
fn pause(call: Call<'_>, owner: Owner<'_>, on: bool) -> Outcome {
    let outcome = call.app.driver.audio(|a| a.pause_recording(owner, on))?;
    Ok(call.done(match (outcome, on) {
        (Paused::Changed, true) => "paused",
        (Paused::Changed, false) => "resumed",
        (Paused::Already, true) => "already_paused",
        (Paused::Already, false) => "not_paused",
    }))
}
