//! Legs: list, details, placing and ending calls.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::amd::{DetectMachine, parameters};
use super::app::App;
use super::endpoint::{Endpoint, Json, Plain, endpoint};
use super::http::body::object;
use super::http::error::ApiError;
use super::http::reply::Reply;
use super::patterns;
use super::request::{Call, Outcome};
use super::responses::{BAD, DONE, FULL, NOT_FOUND, document, ok, returns};
use super::webhooks::hook;
use crate::base::secret::Secret;
use crate::codec::KNOWN;
use crate::gateway::interface::command::codecs_by_name;
use crate::gateway::interface::command::{Originate, check_header};
use crate::gateway::legs::leg_view::LegView;
use crate::sip::digest::Credentials;
use crate::wire::Uri;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    endpoint("GET", "/legs", "All legs", &Plain(|c| Ok(list(c))), &[document::<Vec<LegView>>()]),
    endpoint(
        "POST",
        "/legs",
        "Place a call",
        &Json(create),
        &[returns::<LegView>(201, "The leg, ringing"), BAD, FULL],
    ),
    endpoint("GET", "/legs/{id}", "One leg", &Plain(one), &[ok::<LegView>(), NOT_FOUND]),
    endpoint("DELETE", "/legs/{id}", "Hang up", &Json(hang_up), &[DONE, BAD, NOT_FOUND]),
];

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
    /// SIP Privacy header, e.g. `id` or `none`.
    #[schemars(regex(pattern = patterns::PRIVACY.text))]
    pub privacy: Option<String>,
    /// Longest ringing time, seconds; 0: unlimited.
    #[schemars(range(min = -86_400, max = 86_400))]
    pub ring_timeout: Option<i64>,
    /// Longest duration after the answer, seconds; 0: unlimited.
    #[schemars(range(min = -604_800, max = 604_800))]
    pub max_duration: Option<i64>,
    /// Codecs in order of preference.
    #[schemars(with = "Option<Vec<CodecName>>")]
    pub codecs: Option<Vec<String>>,
    /// Further headers of the INVITE.
    #[schemars(extend("propertyNames" = { "pattern": "^X-[A-Za-z0-9-]{1,40}$" }, "additionalProperties" = { "type": "string", "pattern": "^[ -~]{0,200}$" }))]
    pub headers: Option<BTreeMap<String, String>>,
    /// Room to join once there is media; created if necessary.
    #[schemars(regex(pattern = patterns::ROOM_ID.text))]
    pub room_id: Option<String>,
    /// SIP digest credentials, used if the call is challenged.
    #[serde(deserialize_with = "object")]
    pub auth: Option<Auth>,
    /// Answering-machine detection after the answer; `{}` for the defaults.
    #[serde(deserialize_with = "object")]
    pub amd: Option<DetectMachine>,
    /// Webhook for the events of this leg, instead of the global one.
    #[schemars(regex(pattern = patterns::HOOK_URL.text))]
    pub webhook_url: Option<String>,
    /// Secret that signs them.
    #[schemars(with = "Option<String>")]
    pub webhook_secret: Option<Secret>,
    /// Receives DTMF digits sent by other members of its room.
    pub accept_dtmf: Option<bool>,
}

/// SIP digest credentials. Debug output hides the password.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Auth {
    /// User name.
    #[schemars(regex(pattern = patterns::AUTH_USER.text))]
    pub username: Option<String>,
    /// Password; required for credentials to be used.
    #[schemars(with = "Option<String>", regex(pattern = patterns::AUTH_PASSWORD.text))]
    pub password: Option<Secret>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

/// Supported leg types.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum SipType {
    Sip,
}

/// Codec names, case-insensitive.
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

/// `DELETE /v1/legs/{id}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DeleteLeg {
    /// Reason for refusing an unanswered inbound leg: busy, declined, rejected, unavailable, not_found,
    /// forbidden, server_error.
    pub reason: Option<String>,
}

/// `GET /legs`.
fn list(call: Call<'_>) -> Reply {
    Reply::json(200, &call.app.driver.look(|view| view.legs()))
}

/// `GET /legs/{id}`.
fn one(call: Call<'_>) -> Outcome {
    let leg = call.app.driver.look(|view| view.leg(call.id()))?;
    Ok(call.object(200, leg))
}

/// `POST /legs`.
fn create(call: Call<'_>, body: CreateLeg) -> Outcome {
    let wanted = originate(call.app, body)?;
    let leg = call.app.driver.legs(|l| l.originate(wanted))?;
    Ok(call.object(201, leg))
}

fn originate(app: &App, body: CreateLeg) -> Result<Originate, ApiError> {
    let bad = |text: String| ApiError::BadRequest(text);
    let kind = body.kind.unwrap_or_default();
    if kind.is_empty() {
        return Err(bad("type is required: \"sip\"".to_owned()));
    }
    if kind != "sip" {
        return Err(bad(format!("unsupported leg type: {}; sip is supported", kind.escape_default())));
    }
    let uri = body.uri.unwrap_or_default();
    patterns::SIP_URI.check("uri", &uri)?;
    let uri = Uri::parse(&uri).map_err(|e| bad(format!("uri: {e}")))?;
    let from = body.from.unwrap_or_default();
    patterns::FROM.check("from", &from)?;
    let privacy = body.privacy.unwrap_or_default();
    patterns::PRIVACY.check("privacy", &privacy)?;
    let room_id = body.room_id.unwrap_or_default();
    patterns::ROOM_ID.check("room_id", &room_id)?;
    let headers: Vec<(String, String)> = body.headers.unwrap_or_default().into_iter().collect();
    if headers.len() > 32 {
        return Err(bad("headers: at most 32 are allowed".to_owned()));
    }
    for (name, value) in &headers {
        check_header(name, value).map_err(bad)?;
    }
    Ok(Originate {
        uri,
        from,
        privacy,
        ring_timeout: seconds("ring_timeout", body.ring_timeout, 86_400)?,
        max_duration: seconds("max_duration", body.max_duration, 604_800)?,
        codecs: codecs(app, body.codecs.unwrap_or_default())?,
        headers,
        room_id,
        accept_dtmf: body.accept_dtmf.unwrap_or(true),
        auth: credentials(body.auth.unwrap_or_default())?,
        amd: body.amd.as_ref().map(parameters).transpose()?,
        webhook: hook(body.webhook_url, body.webhook_secret)?,
    })
}

/// Credentials; without a password there are none.
fn credentials(auth: Auth) -> Result<Option<Credentials>, ApiError> {
    let username = auth.username.unwrap_or_default();
    let password = auth.password.unwrap_or_default().into_revealed();
    patterns::AUTH_USER.check("auth.username", &username)?;
    patterns::AUTH_PASSWORD.check("auth.password", &password)?;
    Ok((!password.is_empty()).then_some(Credentials { username, password }))
}

/// Seconds; missing or below 1: unlimited.
fn seconds(field: &str, given: Option<i64>, max: u32) -> Result<u32, ApiError> {
    let given = given.unwrap_or(0);
    if given.unsigned_abs() > u64::from(max) {
        return Err(ApiError::BadRequest(format!("{field}: at most {max} seconds")));
    }
    Ok(u32::try_from(given).unwrap_or(0))
}

/// Codecs by name; an empty list means the configured ones, known codecs that are not built in are skipped.
fn codecs(app: &App, names: Vec<String>) -> Result<Vec<crate::codec::Codec>, ApiError> {
    if names.is_empty() {
        return Ok(app.config().sip.codecs.clone());
    }
    if let Some(unknown) = names.iter().find(|n| !KNOWN.iter().any(|k| k.eq_ignore_ascii_case(n))) {
        let shown = unknown.escape_default();
        return Err(ApiError::BadRequest(format!(
            "codecs: unknown codec {shown}; known are {}",
            KNOWN.join(", ")
        )));
    }
    let built_in = codecs_by_name(&names);
    if built_in.is_empty() {
        return Err(ApiError::BadRequest("codecs: none of them is built in; PCMU and PCMA are".to_owned()));
    }
    Ok(built_in)
}

/// `DELETE /legs/{id}`.
fn hang_up(call: Call<'_>, body: DeleteLeg) -> Outcome {
    call.app.driver.legs(|l| l.hang_up(call.id(), body.reason.as_deref()))?;
    Ok(call.done("hung_up"))
}
