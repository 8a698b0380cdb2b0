//! Bodies of requests, as clients send them. Everything is optional but what cannot be guessed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::patterns;
use crate::base::secret::Secret;
use crate::dsp::tone::TONES;

/// `POST /v1/legs`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(transform = required_type_and_uri)]
pub struct CreateLeg {
    /// `sip`.
    #[serde(rename = "type")]
    #[schemars(with = "SipType")]
    pub kind: Option<String>,
    /// SIP URI to dial.
    #[schemars(with = "String", regex(pattern = patterns::SIP_URI.text))]
    pub uri: Option<String>,
    /// Caller id: user part of From.
    #[schemars(regex(pattern = patterns::FROM.text))]
    pub from: Option<String>,
    /// SIP Privacy header, as `id` or `none`.
    #[schemars(regex(pattern = patterns::PRIVACY.text))]
    pub privacy: Option<String>,
    /// Seconds to wait for an answer; 0: as long as it rings.
    #[schemars(range(min = -86_400, max = 86_400))]
    pub ring_timeout: Option<i64>,
    /// Longest call in seconds from the answer on; 0: no limit.
    #[schemars(range(min = -604_800, max = 604_800))]
    pub max_duration: Option<i64>,
    /// Codecs in order of preference.
    #[schemars(with = "Option<Vec<CodecName>>")]
    pub codecs: Option<Vec<String>>,
    /// Further headers of the INVITE.
    #[schemars(extend("propertyNames" = { "pattern": "^X-[A-Za-z0-9-]{1,40}$" }, "additionalProperties" = { "type": "string", "pattern": "^[ -~]{0,200}$" }))]
    pub headers: Option<BTreeMap<String, String>>,
    /// Room to join once there is media; made if it does not exist.
    #[schemars(regex(pattern = patterns::ROOM_ID.text))]
    pub room_id: Option<String>,
    /// SIP digest credentials, for whoever challenges the call.
    #[serde(deserialize_with = "object")]
    pub auth: Option<Auth>,
    /// Answering-machine detection, from the answer on; `{}` for the defaults.
    #[serde(deserialize_with = "object")]
    pub amd: Option<DetectMachine>,
    /// Events of this leg go there and nowhere else.
    #[schemars(regex(pattern = patterns::HOOK_URL.text))]
    pub webhook_url: Option<String>,
    /// Secret that signs them.
    #[schemars(with = "Option<String>")]
    pub webhook_secret: Option<Secret>,
    /// Takes digits that others of its room send.
    pub accept_dtmf: Option<bool>,
}

/// `POST /v1/legs/{id}/amd`. All in ms; nothing, 0 and anything below stand for the default.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DetectMachine {
    /// Silence that means nobody speaks; 2500.
    #[schemars(range(max = 600_000))]
    pub initial_silence_timeout: Option<i64>,
    /// Speech that means a machine; 1500.
    #[schemars(range(max = 600_000))]
    pub greeting_duration: Option<i64>,
    /// Silence after speech that means a human; 800.
    #[schemars(range(max = 600_000))]
    pub after_greeting_silence: Option<i64>,
    /// When to give up; 5000. Not less than `initial_silence_timeout`.
    #[schemars(range(max = 600_000))]
    pub total_analysis_time: Option<i64>,
    /// Shorter bursts of speech are no words; 100.
    #[schemars(range(max = 600_000))]
    pub minimum_word_length: Option<i64>,
    /// How long to wait for a machine's beep; nothing: not at all.
    #[schemars(range(max = 600_000))]
    pub beep_timeout: Option<i64>,
}

/// An object or nothing: left to itself, serde takes an array of values for an object.
pub(super) fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(d: D) -> Result<Option<T>, D::Error> {
    match Value::deserialize(d)? {
        Value::Null => Ok(None),
        Value::Object(fields) => {
            serde_json::from_value(Value::Object(fields)).map(Some).map_err(D::Error::custom)
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(D::Error::custom("expected an object with named fields"))
        }
    }
}

/// SIP digest credentials. Debug output hides the password.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Auth {
    /// User name.
    #[schemars(regex(pattern = patterns::AUTH_USER.text))]
    pub username: Option<String>,
    /// Password; without one there are no credentials.
    #[schemars(with = "Option<String>", regex(pattern = patterns::AUTH_PASSWORD.text))]
    pub password: Option<Secret>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

/// `DELETE /v1/legs/{id}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DeleteLeg {
    /// Why an unanswered inbound leg is refused: busy, declined, rejected, unavailable, not_found,
    /// forbidden, server_error.
    pub reason: Option<String>,
}

/// `POST /v1/legs/{id}/transfer`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(transform = required_target)]
pub struct Transfer {
    /// SIP URI the far end is to call.
    #[schemars(regex(pattern = patterns::SIP_URI.text))]
    pub target: String,
    /// A connected leg whose call the target is to take over: an attended transfer.
    pub replaces_leg_id: Option<String>,
}

/// `POST /v1/legs/{id}/dtmf`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(transform = required_digits)]
pub struct SendDtmf {
    /// Digits: 0-9, *, #, A-D; spaces and hyphens are skipped.
    #[schemars(regex(pattern = patterns::DIGITS.text))]
    pub digits: String,
}

/// `POST …/play`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(transform = url_or_tone)]
pub struct Play {
    /// URL of a WAV or MP3 file, or `file:` and a name in the directory of prompts; either this or `tone`.
    #[schemars(regex(pattern = patterns::SOUND_URL.text))]
    pub url: Option<String>,
    /// Name of a tone, as `us_ringback`; either this or `url`.
    #[schemars(transform = tones)]
    pub tone: Option<String>,
    /// `audio/l16` or `audio/pcm`, with `;rate=HZ` unless that is 16000: bare samples. Everything else is recognised by
    /// its content.
    pub mime_type: Option<String>,
    /// How often the file is played; below 0: for ever.
    pub repeat: Option<i64>,
    /// Volume in steps of 3 dB.
    #[schemars(range(min = -8, max = 8))]
    pub volume: Option<i64>,
}

/// `PATCH …/play/{playback_id}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Volume {
    /// Volume in steps of 3 dB.
    #[schemars(range(min = -8, max = 8))]
    pub volume: Option<i64>,
}

/// `POST …/record`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Record {
    /// `file`, or `s3`: uploaded when it is over. `s3_bucket`, `s3_region`, `s3_endpoint`, `s3_prefix`, and
    /// `s3_access_key` with `s3_secret_key` (strings) override the settings of `[s3]`.
    #[schemars(extend("enum" = ["file", "s3", "", null]))]
    pub storage: Option<String>,
    /// Of rooms: beside the mix a file with one channel a participant. Legs are stereo anyway.
    pub multi_channel: Option<bool>,
    /// Bucket instead of the configured one.
    #[schemars(skip)]
    pub s3_bucket: Option<String>,
    /// Region instead of the configured one.
    #[schemars(skip)]
    pub s3_region: Option<String>,
    /// Server instead of the configured one, as `https://minio.example:9000`.
    #[schemars(skip)]
    pub s3_endpoint: Option<String>,
    /// What the key begins with, instead of the configured prefix.
    #[schemars(skip)]
    pub s3_prefix: Option<String>,
    /// S3 access key; goes with `s3_secret_key`.
    #[schemars(skip)]
    pub s3_access_key: Option<Secret>,
    /// S3 secret key; goes with `s3_access_key`.
    #[schemars(skip)]
    pub s3_secret_key: Option<Secret>,
}

/// `POST /v1/rooms`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CreateRoom {
    /// Name; made up when missing.
    #[schemars(regex(pattern = patterns::ROOM_ID.text))]
    pub id: Option<String>,
    /// Sampling rate in Hz.
    #[schemars(extend("enum" = [8000, 16000, 48000, null]))]
    pub sample_rate: Option<u32>,
    /// Events of this room go there.
    #[schemars(regex(pattern = patterns::HOOK_URL.text))]
    pub webhook_url: Option<String>,
    /// Secret that signs them.
    #[schemars(with = "Option<String>")]
    pub webhook_secret: Option<Secret>,
}

/// `POST /v1/rooms/{id}/legs`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(transform = required_leg_id)]
pub struct AddLeg {
    /// The leg.
    pub leg_id: String,
    /// Others do not hear it.
    pub mute: Option<bool>,
    /// It hears nobody.
    pub deaf: Option<bool>,
    /// Takes digits that others of the room send.
    pub accept_dtmf: Option<bool>,
}

/// Leg types that can be placed.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum SipType {
    Sip,
}

/// Codec names, whatever their case.
#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, clippy::upper_case_acronyms, reason = "only its schema is used")]
enum CodecName {
    #[schemars(rename = "opus")]
    Opus,
    G722,
    PCMU,
    PCMA,
}

fn required_type_and_uri(schema: &mut schemars::Schema) {
    schema.insert("required".to_owned(), serde_json::json!(["type", "uri"]));
}

fn required_leg_id(schema: &mut schemars::Schema) {
    schema.insert("required".to_owned(), serde_json::json!(["leg_id"]));
}

fn required_target(schema: &mut schemars::Schema) {
    schema.insert("required".to_owned(), serde_json::json!(["target"]));
}

fn required_digits(schema: &mut schemars::Schema) {
    schema.insert("required".to_owned(), serde_json::json!(["digits"]));
}

/// The names of tones, with the country and without.
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
