//! Webhooks and their delivery state.

use schemars::JsonSchema;
use serde::Serialize;

use super::endpoint::{Endpoint, Plain, endpoint};
use super::http::error::ApiError;
use super::http::reply::{Reply, timestamp};
use super::patterns;
use super::request::Call;
use super::responses::ok;
use crate::base::secret::Secret;
use crate::delivery::events::shown_url;
use crate::gateway::events::Webhook;
use crate::io::system::clock;

pub(super) static ENDPOINTS: &[Endpoint] = &[endpoint(
    "GET",
    "/webhooks",
    "Webhooks and their delivery state",
    &Plain(|c| Ok(list(c))),
    &[ok::<Webhooks>()],
)];

/// Reply of `GET /webhooks`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Webhooks {
    /// The global webhook, and all others with waiting events.
    pub webhooks: Vec<WebhookView>,
}

/// Delivery state of a webhook.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct WebhookView {
    /// URL without query and user.
    pub url: String,
    /// It is the global webhook.
    pub global: bool,
    /// `ok` or `failing`.
    pub state: &'static str,
    /// Events waiting or in flight.
    pub queued: u64,
    /// Consecutive failures of its server.
    pub failures: u32,
    /// Error of the last try; null if it succeeded.
    pub last_error: Option<String>,
    /// Time of the next try; null: at once.
    pub next_try: Option<String>,
    /// Events dropped since the queue was created.
    pub dropped: u64,
}

/// `GET /webhooks`.
fn list(call: Call<'_>) -> Reply {
    let app = call.app;
    let now = clock::now();
    let mut webhooks: Vec<WebhookView> = app
        .driver
        .events()
        .targets()
        .into_iter()
        .map(|t| WebhookView {
            url: shown_url(&t.destination.url),
            global: t.destination.trusted,
            state: if t.failures > 0 { "failing" } else { "ok" },
            queued: t.queued,
            failures: t.failures,
            last_error: t.last_error,
            next_try: t.next_try.map(|at| timestamp(now, at)),
            dropped: t.dropped,
        })
        .collect();
    let config = app.config();
    let global = &config.webhook.url;
    if !global.is_empty() && !webhooks.iter().any(|w| w.global) {
        webhooks.insert(
            0,
            WebhookView { url: shown_url(global), global: true, state: "ok", ..WebhookView::default() },
        );
    }
    call.object(200, Webhooks { webhooks })
}

/// The webhook of a leg or room; a secret without URL is ignored.
pub(super) fn hook(url: Option<String>, secret: Option<Secret>) -> Result<Option<Webhook>, ApiError> {
    let Some(url) = url.filter(|u| !u.is_empty()) else { return Ok(None) };
    patterns::HOOK_URL.check("webhook_url", &url)?;
    Ok(Some(Webhook { url, secret: secret.filter(|s| !s.is_empty()).map(Secret::into_revealed) }))
}
