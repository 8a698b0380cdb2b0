//! Call control: answer, early media, mute, hold, transfer.

use schemars::JsonSchema;
use serde::Deserialize;

use super::endpoint::{Endpoint, Json, Plain, PlainAsync, endpoint};
use super::http::error::ApiError;
use super::patterns;
use super::request::{Call, Outcome};
use super::responses::{Answer, BAD, CONFLICT, DONE, FAILED, NOT_FOUND, Status, error, returns};
use crate::wire::Uri;

const NOT_SIP: Answer = error(400, "Not a SIP leg");
const HOLD: &[Answer] = &[DONE, NOT_SIP, NOT_FOUND, CONFLICT];

pub(super) static ENDPOINTS: &[Endpoint] = &[
    endpoint(
        "POST",
        "/legs/{id}/answer",
        "Answer an inbound leg",
        &Plain(answer),
        &[DONE, BAD, NOT_FOUND, CONFLICT],
    ),
    endpoint(
        "POST",
        "/legs/{id}/ring",
        "Send 180 Ringing if that is not automatic",
        &Plain(ring),
        &[returns::<Status>(202, "Sent"), BAD, NOT_FOUND, CONFLICT],
    ),
    endpoint(
        "POST",
        "/legs/{id}/early-media",
        "Send 183 and open media before the answer",
        &Plain(early_media),
        &[DONE, BAD, NOT_FOUND, CONFLICT, FAILED],
    ),
    endpoint(
        "POST",
        "/legs/{id}/mute",
        "Mute a leg: other members do not hear it",
        &Plain(|c| mute(c, true)),
        &[DONE, NOT_FOUND],
    ),
    endpoint("DELETE", "/legs/{id}/mute", "Unmute a leg", &Plain(|c| mute(c, false)), &[DONE, NOT_FOUND]),
    endpoint(
        "POST",
        "/legs/{id}/deaf",
        "Deafen a leg: it does not hear other members",
        &Plain(|c| deaf(c, true)),
        &[DONE, NOT_FOUND],
    ),
    endpoint("DELETE", "/legs/{id}/deaf", "Undeafen a leg", &Plain(|c| deaf(c, false)), &[DONE, NOT_FOUND]),
    endpoint(
        "POST",
        "/legs/{id}/transfer",
        "Transfer a leg by REFER; events report the outcome",
        &Json(transfer),
        &[returns::<Status>(202, "Done"), BAD, NOT_FOUND, CONFLICT],
    ),
    endpoint(
        "POST",
        "/legs/{id}/hold",
        "Hold a leg by re-INVITE",
        &PlainAsync(|c| Box::pin(hold(c, true))),
        HOLD,
    ),
    endpoint(
        "DELETE",
        "/legs/{id}/hold",
        "Resume a held leg",
        &PlainAsync(|c| Box::pin(hold(c, false))),
        HOLD,
    ),
];

/// `POST /v1/legs/{id}/transfer`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(transform = required_target)]
pub struct Transfer {
    /// SIP URI the far end is to call.
    #[schemars(regex(pattern = patterns::SIP_URI.text))]
    pub target: String,
    /// A connected leg whose call the target takes over: attended transfer.
    pub replaces_leg_id: Option<String>,
}

fn required_target(schema: &mut schemars::Schema) {
    schema.insert("required".to_owned(), serde_json::json!(["target"]));
}

/// `POST /legs/{id}/answer`.
fn answer(call: Call<'_>) -> Outcome {
    call.app.driver.legs(|l| l.answer(call.id()))?;
    Ok(call.done("answering"))
}

/// `POST /legs/{id}/early-media`.
fn early_media(call: Call<'_>) -> Outcome {
    call.app.driver.legs(|l| l.early_media(call.id()))?;
    Ok(call.done("early_media"))
}

/// `POST /legs/{id}/ring`.
fn ring(call: Call<'_>) -> Outcome {
    call.app.driver.legs(|l| l.ring(call.id()))?;
    Ok(call.accepted("ringing"))
}

/// `POST|DELETE /legs/{id}/mute`.
fn mute(call: Call<'_>, on: bool) -> Outcome {
    call.app.driver.legs(|l| l.mute(call.id(), on))?;
    Ok(call.done(if on { "muted" } else { "unmuted" }))
}

/// `POST|DELETE /legs/{id}/deaf`.
fn deaf(call: Call<'_>, on: bool) -> Outcome {
    call.app.driver.legs(|l| l.deafen(call.id(), on))?;
    Ok(call.done(if on { "deaf" } else { "undeaf" }))
}

/// `POST|DELETE /legs/{id}/hold`: replies once the far end has accepted.
async fn hold(call: Call<'_>, on: bool) -> Outcome {
    let handle = call.app.driver.legs(|l| l.hold(call.id(), on))?;
    call.app.driver.reply(handle).await?;
    Ok(call.done(if on { "held" } else { "resumed" }))
}

/// `POST /legs/{id}/transfer`. The body is checked before the leg.
fn transfer(call: Call<'_>, body: Transfer) -> Outcome {
    patterns::SIP_URI.check("target", &body.target)?;
    let target = Uri::parse(&body.target).map_err(|e| ApiError::BadRequest(format!("target: {e}")))?;
    let replaces = body.replaces_leg_id.as_deref().filter(|r| !r.is_empty());
    call.app.driver.legs(|l| l.transfer(call.id(), target, replaces))?;
    Ok(call.accepted("transfer_initiated"))
}
