//! Handler input (request without body) and output.

use std::pin::Pin;

use serde::Serialize;

use super::app::App;
use super::http::conditional::Conditions;
use super::http::error::ApiError;
use super::http::reply::Reply;
use super::responses::Status;

/// Result of a request.
pub type Outcome = Result<Reply, ApiError>;

/// A result that takes a while.
pub type Pending<'r> = Pin<Box<dyn Future<Output = Outcome> + 'r>>;

/// A request without its body.
#[derive(Clone, Copy)]
pub struct Call<'r> {
    /// Shared state.
    pub app: &'r App,
    /// Values of the path parameters, in order.
    pub params: &'r [&'r str],
    /// Query string, still encoded.
    pub query: Option<&'r str>,
    /// Conditional and range headers.
    pub conditions: &'r Conditions,
    /// Builds `openapi.json`.
    pub description: fn() -> serde_json::Value,
}

impl<'r> Call<'r> {
    /// First path parameter: id of the leg, room, trunk, …
    #[must_use]
    pub fn id(&self) -> &'r str {
        self.params.first().copied().unwrap_or_default()
    }

    /// Second path parameter: id within the first.
    #[must_use]
    pub fn second_id(&self) -> &'r str {
        self.params.get(1).copied().unwrap_or_default()
    }

    /// A reply with an object and `instance_id`.
    pub fn object<T: Serialize>(&self, status: u16, body: T) -> Reply {
        Reply::object(status, &self.app.instance_id, body)
    }

    /// 200 with the status of a completed action.
    #[must_use]
    pub fn done(&self, status: &'static str) -> Reply {
        self.object(200, Status { status })
    }

    /// 202 with the status of a started action.
    #[must_use]
    pub fn accepted(&self, status: &'static str) -> Reply {
        self.object(202, Status { status })
    }
}
