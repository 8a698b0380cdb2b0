//! Webhooks: their targets, and how the delivery of events goes.

use schemars::JsonSchema;
use serde::Serialize;

use super::answer::ok;
use super::call::Call;
use super::endpoint::{Endpoint, Plain, endpoint};
use super::http::error::ApiError;
use super::http::reply::{Reply, timestamp};
use super::patterns;
use crate::base::secret::Secret;
use crate::deliver::events::shown_url;
use crate::gateway::events::Webhook;
use crate::io::system::clock;

pub(super) static ENDPOINTS: &[Endpoint] = &[endpoint(
    "GET",
    "/webhooks",
    "Targets of webhooks and how delivery goes",
    &Plain(|c| Ok(list(c))),
    &[ok::<Webhooks>()],
)];

/// Reply of `GET /webhooks`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Webhooks {
    /// The global target, and all others that events wait for.
    pub webhooks: Vec<WebhookView>,
}

/// A target of events.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct WebhookView {
    /// Where events go, without a query or a user.
    pub url: String,
    /// It is the global one.
    pub global: bool,
    /// `ok` or `failing`.
    pub state: &'static str,
    /// Events that wait or are on their way.
    pub queued: u64,
    /// Failures in a row of its server.
    pub failures: u32,
    /// Why the last try failed; null: it did not.
    pub last_error: Option<String>,
    /// When it is tried again; null: at once.
    pub next_try: Option<String>,
    /// Events of it that were lost since they began to wait.
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

/// A webhook of a leg or room; a secret without URL means nothing.
pub(super) fn hook(url: Option<String>, secret: Option<Secret>) -> Result<Option<Webhook>, ApiError> {
    let Some(url) = url.filter(|u| !u.is_empty()) else { return Ok(None) };
    patterns::HOOK_URL.check("webhook_url", &url)?;
    Ok(Some(Webhook { url, secret: secret.filter(|s| !s.is_empty()).map(Secret::into_revealed) }))
}
