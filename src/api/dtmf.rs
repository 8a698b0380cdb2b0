//! DTMF digits: sending, and receiving those of other members of the room.

use schemars::JsonSchema;
use serde::Deserialize;

use super::endpoint::{Endpoint, Json, Plain, endpoint};
use super::patterns;
use super::request::{Call, Outcome};
use super::responses::{BAD, CONFLICT, DONE, FAILED, NOT_FOUND};

pub(super) static ENDPOINTS: &[Endpoint] = &[
    endpoint(
        "POST",
        "/legs/{id}/dtmf",
        "Send DTMF digits",
        &Json(send),
        &[DONE, BAD, NOT_FOUND, CONFLICT, FAILED],
    ),
    endpoint(
        "POST",
        "/legs/{id}/dtmf/accept",
        "Receive DTMF digits of other members of the room",
        &Plain(|c| accept(c, true)),
        &[DONE, NOT_FOUND],
    ),
    endpoint(
        "POST",
        "/legs/{id}/dtmf/reject",
        "Do not receive DTMF digits of other members",
        &Plain(|c| accept(c, false)),
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
fn send(call: Call<'_>, body: SendDtmf) -> Outcome {
    call.app.driver.look(|view| view.leg(call.id()))?;
    patterns::DIGITS.check("digits", &body.digits)?;
    call.app.driver.legs(|l| l.send_digits(call.id(), &body.digits))?;
    Ok(call.done("sent"))
}

/// `POST /legs/{id}/dtmf/accept` and `…/reject`.
fn accept(call: Call<'_>, on: bool) -> Outcome {
    call.app.driver.legs(|l| l.accept_dtmf(call.id(), on))?;
    Ok(call.done(if on { "dtmf_accepting" } else { "dtmf_rejecting" }))
}
