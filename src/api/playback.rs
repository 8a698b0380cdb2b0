//! Playing and recording, on legs and rooms alike.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::dispatch::App;
use super::http::error::ApiError;
use super::http::reply::Reply;
use super::legs::status;
use super::patterns;
use super::requests::{Play, Record, Volume};
use crate::config::Place;
use crate::config::s3::{Wish, address_of};
use crate::gateway::playback::{Owner, Sound, VOLUMES, tone};
use crate::gateway::record::{Paused, Wanted};
use crate::gateway::replies;
use crate::io::event_ops::base_name;
use crate::io::http_client::Rules;
use crate::io::sound::Bare;

/// Longest that the end of a recording is waited for.
const PATIENCE: Duration = Duration::from_secs(25);

/// Reply of `POST …/play`.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Playing {
    /// Names the playback for PATCH, DELETE and its events.
    pub playback_id: String,
    /// `playing`.
    pub status: &'static str,
}

/// Reply of `POST|DELETE …/record`.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Recording {
    /// Path of the file, or where it is uploaded to, as `s3://…`.
    pub file: String,
    /// `recording` or `stopped`.
    pub status: &'static str,
    /// Of a room that was recorded with `multi_channel`: the file with a channel for each leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_channel_file: Option<String>,
    /// Leg → its `channel`, and when it came and left (`start_ms`, `end_ms`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<serde_json::Value>,
}

/// `POST …/play`.
pub fn play(app: &App, owner: Owner<'_>, body: Play) -> Result<Reply, ApiError> {
    exists(app, owner)?;
    let volume = volume(body.volume)?;
    let sound = match (body.url, body.tone) {
        (Some(url), None) => {
            patterns::SOUND_URL.check("url", &url)?;
            let bare = Bare::of_type(body.mime_type.as_deref().unwrap_or_default()).map(|b| b.rate);
            Sound::File { url, repeat: times(body.repeat.unwrap_or(0)), bare }
        }
        (None, Some(name)) => Sound::Tone(tone(&name)?),
        (Some(_), Some(_)) => return Err(ApiError::BadRequest("url and tone exclude each other".to_owned())),
        (None, None) => return Err(ApiError::BadRequest("url or tone is needed".to_owned())),
    };
    let playback_id = app.shell.call(|g, now| match owner {
        Owner::Leg(id) => g.play_on_leg(now, id, sound, volume),
        Owner::Room(id) => g.play_in_room(now, id, sound, volume),
    })?;
    Ok(Reply::object(200, &app.instance_id, Playing { playback_id, status: "playing" }))
}

/// 0 and 1 mean once, below 0 for ever; here 0 is for ever.
fn times(repeat: i64) -> u32 {
    match repeat {
        0 => 1,
        n if n < 0 => 0,
        n => u32::try_from(n).unwrap_or(u32::MAX),
    }
}

fn volume(given: Option<i64>) -> Result<i8, ApiError> {
    let given = given.unwrap_or(0);
    if !VOLUMES.contains(&given) {
        return Err(ApiError::BadRequest(format!("volume: {given} is out of range; -8 to 8 is allowed")));
    }
    Ok(i8::try_from(given).unwrap_or(0))
}

fn exists(app: &App, owner: Owner<'_>) -> Result<(), ApiError> {
    app.shell.look(|g| match owner {
        Owner::Leg(id) => g.leg(id).map(|_| ()),
        Owner::Room(id) => g.room(id).map(|_| ()),
    })?;
    Ok(())
}

/// `PATCH …/play/{playback_id}`.
pub fn set_volume(app: &App, owner: Owner<'_>, playback: &str, body: &Volume) -> Result<Reply, ApiError> {
    exists(app, owner)?;
    let volume = volume(body.volume)?;
    app.shell.call(|g, _| g.set_volume(owner, playback, volume))?;
    Ok(status(app, "ok"))
}

/// `DELETE …/play/{playback_id}`.
pub fn stop(app: &App, owner: Owner<'_>, playback: &str) -> Result<Reply, ApiError> {
    app.shell.call(|g, now| g.stop_play(now, owner, playback))?;
    Ok(status(app, "stopped"))
}

/// `POST …/record`.
pub async fn record(app: &App, owner: Owner<'_>, body: &Record) -> Result<Reply, ApiError> {
    exists(app, owner)?;
    let upload = place(app, body)?;
    let multi_channel = body.multi_channel == Some(true) && matches!(owner, Owner::Room(_));
    let wanted = Wanted { upload, multi_channel };
    let handle = app.shell.call(|g, now| g.record(now, owner, wanted))?;
    finish(app, app.shell.reply(handle).await?, "recording")
}

/// Where a recording is to be uploaded to; `None`: it stays.
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
            let wish = Wish {
                bucket: &bucket,
                region: &region,
                endpoint: &endpoint,
                prefix: &prefix,
                access_key: &access_key,
                secret_key: &secret_key,
            };
            let place = app.config().s3.place(&wish).map_err(ApiError::BadRequest)?;
            // Names are judged when they are looked up.
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
pub async fn stop_recording(app: &App, owner: Owner<'_>) -> Result<Reply, ApiError> {
    let merging = app.shell.look(|g| g.multi_channel_recording(owner));
    let handle = app.shell.call(|g, _| g.stop_recording(owner))?;
    let mut outcome = match merging {
        Some(file) => match app.shell.reply_within(handle, PATIENCE).await {
            Some(outcome) => outcome?,
            // Its tracks are still being put together; the event tells of them.
            None => replies::Reply::Recorded { file, upload: false, began: 0, merged: None },
        },
        None => app.shell.reply(handle).await?,
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
    finish(app, outcome, "stopped")
}

/// Waits a while for the upload of a file; if it is done, `file` is where it is.
async fn place_of(app: &App, file: &mut String) {
    if let Some(location) = app.shell.wait_for_upload(&base_name(file)).await {
        *file = location;
    }
}

fn finish(app: &App, outcome: replies::Reply, status: &'static str) -> Result<Reply, ApiError> {
    let (file, merged) = outcome.recording().ok_or_else(ApiError::mismatched_reply)?;
    let (multi_channel_file, channels) = merged.map(|m| (m.file, m.channels)).unzip();
    Ok(Reply::object(200, &app.instance_id, Recording { file, status, multi_channel_file, channels }))
}

/// `POST …/record/pause` and `…/resume`.
pub fn pause(app: &App, owner: Owner<'_>, on: bool) -> Result<Reply, ApiError> {
    let outcome = app.shell.call(|g, now| g.pause_recording(now, owner, on))?;
    Ok(status(
        app,
        match (outcome, on) {
            (Paused::Changed, true) => "paused",
            (Paused::Changed, false) => "resumed",
            (Paused::Already, true) => "already_paused",
            (Paused::Already, false) => "not_paused",
        },
    ))
}
