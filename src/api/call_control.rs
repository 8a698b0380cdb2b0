//! What is done to a call: answering, early media, muting, holding, transferring.

use schemars::JsonSchema;
use serde::Deserialize;

use super::app::App;
use super::http::error::ApiError;
use super::http::reply::Reply;
use super::legs::{Status, status};
use super::patterns;
use super::routes::{Answer, BAD, CONFLICT, DONE, FAILED, NOT_FOUND, Op, Route, Shape, error, route, schema};
use crate::wire::Uri;

const NOT_SIP: Answer = error(400, "Not a SIP leg");
const HOLD: &[Answer] = &[DONE, NOT_SIP, NOT_FOUND, CONFLICT];

/// The routes.
pub(super) static CALL_CONTROL: &[Route] = &[
    route(
        "POST",
        "/legs/{id}/answer",
        Op::Answer,
        "Answer an inbound leg",
        None,
        &[DONE, BAD, NOT_FOUND, CONFLICT],
    ),
    route(
        "POST",
        "/legs/{id}/ring",
        Op::Ring,
        "Send 180 where it is not sent by itself",
        None,
        &[
            Answer { status: 202, when: "Sent", shape: Shape::Object(schema::<Status>) },
            BAD,
            NOT_FOUND,
            CONFLICT,
        ],
    ),
    route(
        "POST",
        "/legs/{id}/early-media",
        Op::EarlyMedia,
        "Send 183 and media before the answer",
        None,
        &[DONE, BAD, NOT_FOUND, CONFLICT, FAILED],
    ),
    route("POST", "/legs/{id}/mute", Op::Mute(true), "Others hear the leg no more", None, &[DONE, NOT_FOUND]),
    route(
        "DELETE",
        "/legs/{id}/mute",
        Op::Mute(false),
        "Others hear the leg again",
        None,
        &[DONE, NOT_FOUND],
    ),
    route(
        "POST",
        "/legs/{id}/deaf",
        Op::Deaf(true),
        "The leg hears nobody any more",
        None,
        &[DONE, NOT_FOUND],
    ),
    route(
        "DELETE",
        "/legs/{id}/deaf",
        Op::Deaf(false),
        "The leg hears the others again",
        None,
        &[DONE, NOT_FOUND],
    ),
    route(
        "POST",
        "/legs/{id}/transfer",
        Op::Transfer,
        "Transfer a leg by REFER; events tell the outcome",
        Some(schema::<Transfer>),
        &[Answer { status: 202, ..DONE }, BAD, NOT_FOUND, CONFLICT],
    ),
    route("POST", "/legs/{id}/hold", Op::Hold(true), "Hold a leg by re-INVITE", None, HOLD),
    route("DELETE", "/legs/{id}/hold", Op::Hold(false), "Resume a held leg", None, HOLD),
];

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

fn required_target(schema: &mut schemars::Schema) {
    schema.insert("required".to_owned(), serde_json::json!(["target"]));
}

/// `POST /legs/{id}/answer`.
pub fn answer(app: &App, id: &str) -> Result<Reply, ApiError> {
    app.shell.call(|g, now| g.answer(now, id))?;
    Ok(status(app, "answering"))
}

/// `POST /legs/{id}/early-media`.
pub fn early_media(app: &App, id: &str) -> Result<Reply, ApiError> {
    app.shell.call(|g, now| g.early_media(now, id))?;
    Ok(status(app, "early_media"))
}

/// `POST /legs/{id}/ring`.
pub fn ring(app: &App, id: &str) -> Result<Reply, ApiError> {
    app.shell.call(|g, now| g.ring(now, id))?;
    let mut reply = status(app, "ringing");
    reply.status = 202;
    Ok(reply)
}

/// `POST|DELETE /legs/{id}/mute`.
pub fn mute(app: &App, id: &str, on: bool) -> Result<Reply, ApiError> {
    app.shell.call(|g, now| g.mute(now, id, on))?;
    Ok(status(app, if on { "muted" } else { "unmuted" }))
}

/// `POST|DELETE /legs/{id}/deaf`.
pub fn deaf(app: &App, id: &str, on: bool) -> Result<Reply, ApiError> {
    app.shell.call(|g, now| g.deafen(now, id, on))?;
    Ok(status(app, if on { "deaf" } else { "undeaf" }))
}

/// `POST|DELETE /legs/{id}/hold`: done when the far end has agreed.
pub async fn hold(app: &App, id: &str, on: bool) -> Result<Reply, ApiError> {
    let handle = app.shell.call(|g, now| g.hold(now, id, on))?;
    app.shell.reply(handle).await?;
    Ok(status(app, if on { "held" } else { "resumed" }))
}

/// `POST /legs/{id}/transfer`. The body is checked before the leg.
pub fn transfer(app: &App, id: &str, body: &Transfer) -> Result<Reply, ApiError> {
    patterns::SIP_URI.check("target", &body.target)?;
    let target = Uri::parse(&body.target).map_err(|e| ApiError::BadRequest(format!("target: {e}")))?;
    let replaces = body.replaces_leg_id.as_deref().filter(|r| !r.is_empty());
    app.shell.call(|g, now| g.transfer(now, id, target, replaces))?;
    let mut reply = status(app, "transfer_initiated");
    reply.status = 202;
    Ok(reply)
}
