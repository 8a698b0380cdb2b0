//! Media quality of a leg.

use schemars::JsonSchema;
use serde::Serialize;

use super::endpoint::{Endpoint, PlainAsync, endpoint};
use super::http::error::ApiError;
use super::request::{Call, Outcome};
use super::responses::{CONFLICT, FULL, NOT_FOUND, ok};
use crate::gateway::events::QualityReport;
use crate::media::command::Quality;

pub(super) static ENDPOINTS: &[Endpoint] = &[endpoint(
    "GET",
    "/legs/{id}/quality",
    "Media quality of a leg",
    &PlainAsync(|c| Box::pin(quality(c))),
    &[ok::<QualityView>(), NOT_FOUND, CONFLICT, FULL],
)];

/// Media quality of a leg.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QualityView {
    /// The figures also contained in its terminal event.
    #[serde(flatten)]
    pub report: QualityReport,
    /// Delay added by the jitter buffer, ms.
    pub jitter_buffer_ms: f64,
}

impl From<&Quality> for QualityView {
    fn from(q: &Quality) -> Self {
        Self { report: q.into(), jitter_buffer_ms: (q.playing_ms * 10.0).round() / 10.0 }
    }
}

/// `GET /legs/{id}/quality`.
async fn quality(call: Call<'_>) -> Outcome {
    let handle = call.app.driver.legs(|l| l.ask_quality(call.id()))?;
    let quality = call.app.driver.reply(handle).await?.quality().ok_or_else(ApiError::mismatched_reply)?;
    Ok(call.object(200, QualityView::from(&quality)))
}
