//! Playback of sounds on legs and rooms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::endpoint::{Endpoint, Json, Plain, endpoint};
use super::http::error::ApiError;
use super::patterns;
use super::request::{Call, Outcome};
use super::responses::{Answer, BAD, CONFLICT, DONE, FULL, NOT_FOUND, ok};
use crate::dsp::tone::TONES;
use crate::gateway::interface::owner::Owner;
use crate::gateway::playback::{Sound, VOLUMES, tone};
use crate::io::sound::decode::Bare;

const PLAY: &[Answer] = &[ok::<Playing>(), BAD, NOT_FOUND, CONFLICT, FULL];
const VOLUME: &[Answer] = &[DONE, BAD, NOT_FOUND];

pub(super) static ENDPOINTS: &[Endpoint] = &[
    endpoint(
        "POST",
        "/legs/{id}/play",
        "Start a playback on a leg",
        &Json(|c, body| play(c, Owner::Leg(c.id()), body)),
        PLAY,
    ),
    endpoint(
        "PATCH",
        "/legs/{id}/play/{playback_id}",
        "Change the volume of a playback",
        &Json(|c, body| set_volume(c, Owner::Leg(c.id()), body)),
        VOLUME,
    ),
    endpoint(
        "DELETE",
        "/legs/{id}/play/{playback_id}",
        "Stop a playback",
        &Plain(|c| stop(c, Owner::Leg(c.id()))),
        &[DONE, NOT_FOUND],
    ),
    endpoint(
        "POST",
        "/rooms/{id}/play",
        "Start a playback in a room",
        &Json(|c, body| play(c, Owner::Room(c.id()), body)),
        PLAY,
    ),
    endpoint(
        "PATCH",
        "/rooms/{id}/play/{playback_id}",
        "Change the volume of a playback",
        &Json(|c, body| set_volume(c, Owner::Room(c.id()), body)),
        VOLUME,
    ),
    endpoint(
        "DELETE",
        "/rooms/{id}/play/{playback_id}",
        "Stop a playback",
        &Plain(|c| stop(c, Owner::Room(c.id()))),
        &[DONE, NOT_FOUND],
    ),
];

/// `POST …/play`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(transform = url_or_tone)]
pub struct Play {
    /// URL of a WAV or MP3 file, or `file:` and a name in the prompt directory; either this or `tone`.
    #[schemars(regex(pattern = patterns::SOUND_URL.text))]
    pub url: Option<String>,
    /// Name of a tone, e.g. `us_ringback`; either this or `url`.
    #[schemars(transform = tones)]
    pub tone: Option<String>,
    /// `audio/l16` or `audio/pcm`, with `;rate=HZ` unless it is 16000: headerless PCM. Other formats are
    /// detected from the content.
    pub mime_type: Option<String>,
    /// Number of times the file is played; negative: endless.
    pub repeat: Option<i64>,
    /// Volume in steps of 3 dB.
    #[schemars(range(min = -8, max = 8))]
    pub volume: Option<i64>,
}

/// Names of tones, with and without country.
fn tones(schema: &mut schemars::Schema) {
    let mut names: Vec<Option<&str>> = TONES.iter().map(|(name, _)| Some(*name)).collect();
    names.extend(["ringback", "busy", "dial", "congestion"].map(Some));
    names.push(None);
    schema.insert("enum".to_owned(), serde_json::json!(names));
}

fn url_or_tone(schema: &mut schemars::Schema) {
    let given = |field: &str| serde_json::json!({ "required": [field], "properties": { field: { "type": "string" } } });
    schema.insert("oneOf".to_owned(), serde_json::json!([given("url"), given("tone")]));
}

/// `PATCH …/play/{playback_id}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Volume {
    /// Volume in steps of 3 dB.
    #[schemars(range(min = -8, max = 8))]
    pub volume: Option<i64>,
}

/// Reply of `POST …/play`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Playing {
    /// Id of the playback for PATCH, DELETE and its events.
    pub playback_id: String,
    /// `playing`.
    pub status: &'static str,
}

/// `POST …/play`.
fn play(call: Call<'_>, owner: Owner<'_>, body: Play) -> Outcome {
    exists(call.app, owner)?;
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
    let playback_id = call.app.driver.audio(|a| a.play(owner, sound, volume))?;
    Ok(call.object(200, Playing { playback_id, status: "playing" }))
}

/// 0 and 1 mean once, negative endless; the return value 0 means endless.
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

/// Checks that the leg or room exists.
pub(super) fn exists(app: &App, owner: Owner<'_>) -> Result<(), ApiError> {
    app.driver.look(|view| match owner {
        Owner::Leg(id) => view.leg(id).map(|_| ()),
        Owner::Room(id) => view.room(id).map(|_| ()),
    })?;
    Ok(())
}

/// `PATCH …/play/{playback_id}`.
fn set_volume(call: Call<'_>, owner: Owner<'_>, body: Volume) -> Outcome {
    exists(call.app, owner)?;
    let volume = volume(body.volume)?;
    call.app.driver.audio(|a| a.set_volume(owner, call.second_id(), volume))?;
    Ok(call.done("ok"))
}

/// `DELETE …/play/{playback_id}`.
fn stop(call: Call<'_>, owner: Owner<'_>) -> Outcome {
    call.app.driver.audio(|a| a.stop_play(owner, call.second_id()))?;
    Ok(call.done("stopped"))
}
