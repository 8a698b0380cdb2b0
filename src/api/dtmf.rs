//! Digits: sending them, and taking those of others of the room.

use schemars::JsonSchema;
use serde::Deserialize;

use super::app::App;
use super::http::error::ApiError;
use super::http::reply::Reply;
use super::legs::status;
use super::patterns;
use super::routes::{BAD, CONFLICT, DONE, FAILED, NOT_FOUND, Op, Route, route, schema};

/// The routes.
pub(super) static DTMF: &[Route] = &[
    route(
        "POST",
        "/legs/{id}/dtmf",
        Op::Dtmf,
        "Send digits",
        Some(schema::<SendDtmf>),
        &[DONE, BAD, NOT_FOUND, CONFLICT, FAILED],
    ),
    route(
        "POST",
        "/legs/{id}/dtmf/accept",
        Op::AcceptDtmf(true),
        "Take digits of others",
        None,
        &[DONE, NOT_FOUND],
    ),
    route(
        "POST",
        "/legs/{id}/dtmf/reject",
        Op::AcceptDtmf(false),
        "Take no digits of others",
        None,
        &[DONE, NOT_FOUND],
    ),
];

/// `POST /v1/legs/{id}/dtmf`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(transform = required_digits)]
pub struct SendDtmf {
    /// Digits: 0-9, *, #, A-D; spaces and hyphens are skipped.
    #[schemars(regex(pattern = patterns::DIGITS.text))]
    pub digits: String,
}

fn required_digits(schema: &mut schemars::Schema) {
    schema.insert("required".to_owned(), serde_json::json!(["digits"]));
}

/// `POST /legs/{id}/dtmf`.
pub fn send(app: &App, id: &str, body: &SendDtmf) -> Result<Reply, ApiError> {
    app.shell.look(|g| g.leg(id))?;
    patterns::DIGITS.check("digits", &body.digits)?;
    app.shell.call(|g, now| g.send_digits(now, id, &body.digits))?;
    Ok(status(app, "sent"))
}

/// `POST /legs/{id}/dtmf/accept` and `…/reject`.
pub fn accept(app: &App, id: &str, on: bool) -> Result<Reply, ApiError> {
    app.shell.call(|g, _| g.accept_dtmf(id, on))?;
    Ok(status(app, if on { "dtmf_accepting" } else { "dtmf_rejecting" }))
}
