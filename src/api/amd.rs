//! Answering-machine detection on legs.

use schemars::JsonSchema;
use serde::Deserialize;

use super::endpoint::{Endpoint, Json, endpoint};
use super::http::error::ApiError;
use super::request::{Call, Outcome};
use super::responses::{BAD, CONFLICT, DONE, NOT_FOUND};
use crate::media::amd::Parameters;

pub(super) static ENDPOINTS: &[Endpoint] = &[endpoint(
    "POST",
    "/legs/{id}/amd",
    "Start answering-machine detection; an event reports the result",
    &Json(start),
    &[DONE, BAD, NOT_FOUND, CONFLICT],
)];

/// `POST /v1/legs/{id}/amd`. Times in ms; a missing, zero or negative value means the default.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DetectMachine {
    /// Silence after which nobody is assumed to speak; default 2500.
    #[schemars(range(max = 600_000))]
    pub initial_silence_timeout: Option<i64>,
    /// Speech of this length means a machine; default 1500.
    #[schemars(range(max = 600_000))]
    pub greeting_duration: Option<i64>,
    /// Silence after speech that means a human; default 800.
    #[schemars(range(max = 600_000))]
    pub after_greeting_silence: Option<i64>,
    /// Time limit of the analysis; default 5000. Not less than `initial_silence_timeout`.
    #[schemars(range(max = 600_000))]
    pub total_analysis_time: Option<i64>,
    /// Shorter bursts of speech are not counted as words; default 100.
    #[schemars(range(max = 600_000))]
    pub minimum_word_length: Option<i64>,
    /// How long to wait for the beep of a machine; missing: not at all.
    #[schemars(range(max = 600_000))]
    pub beep_timeout: Option<i64>,
}

/// Upper limit of all times, ms.
const MAX_ANALYSIS_MS: u32 = 600_000;

/// Parameters of the detection: a missing, zero or negative value means the default.
pub(super) fn parameters(given: &DetectMachine) -> Result<Parameters, ApiError> {
    let bad = |text: String| ApiError::BadRequest(text);
    let one = |field: &str, given: Option<i64>, default: u32| match given {
        None | Some(..=0) => Ok(default),
        Some(ms) => u32::try_from(ms).ok().filter(|ms| *ms <= MAX_ANALYSIS_MS).ok_or_else(|| {
            bad(format!("{field}: {ms} is out of range; at most {MAX_ANALYSIS_MS} ms are allowed"))
        }),
    };
    let d = Parameters::default();
    let p = Parameters {
        initial_silence_timeout: one(
            "initial_silence_timeout",
            given.initial_silence_timeout,
            d.initial_silence_timeout,
        )?,
        greeting_duration: one("greeting_duration", given.greeting_duration, d.greeting_duration)?,
        after_greeting_silence: one(
            "after_greeting_silence",
            given.after_greeting_silence,
            d.after_greeting_silence,
        )?,
        total_analysis_time: one("total_analysis_time", given.total_analysis_time, d.total_analysis_time)?,
        minimum_word_length: one("minimum_word_length", given.minimum_word_length, d.minimum_word_length)?,
        beep_timeout: one("beep_timeout", given.beep_timeout, d.beep_timeout)?,
    };
    if p.total_analysis_time < p.initial_silence_timeout {
        let (total, initial) = (p.total_analysis_time, p.initial_silence_timeout);
        return Err(bad(format!(
            "total_analysis_time: {total} ms is less than initial_silence_timeout, {initial} ms"
        )));
    }
    Ok(p)
}

/// `POST /legs/{id}/amd`.
fn start(call: Call<'_>, body: DetectMachine) -> Outcome {
    call.app.driver.look(|view| view.leg(call.id()))?;
    let parameters = parameters(&body)?;
    call.app.driver.legs(|l| l.detect_machine(call.id(), parameters))?;
    Ok(call.done("started"))
}
