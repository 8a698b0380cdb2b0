//! A request as its handler sees it, and what a handler makes of it.

use std::pin::Pin;

use serde::Serialize;

use super::answer::Status;
use super::app::App;
use super::http::conditional::Conditions;
use super::http::error::ApiError;
use super::http::reply::Reply;

/// What a request comes to.
pub type Outcome = Result<Reply, ApiError>;

/// An outcome that takes a while.
pub type Pending<'r> = Pin<Box<dyn Future<Output = Outcome> + 'r>>;

/// A request without its body.
#[derive(Clone, Copy)]
pub struct Call<'r> {
    /// What it is answered from.
    pub app: &'r App,
    /// Values of the path's parameters, in their order.
    pub params: &'r [&'r str],
    /// Query, still encoded.
    pub query: Option<&'r str>,
    /// What it says of the file that it wants.
    pub conditions: &'r Conditions,
    /// Makes `openapi.json`.
    pub description: fn() -> serde_json::Value,
}

impl<'r> Call<'r> {
    /// The path's first parameter: the leg, room, trunk… that it is about.
    #[must_use]
    pub fn id(&self) -> &'r str {
        self.params.first().copied().unwrap_or_default()
    }

    /// The path's second parameter: what of that it is about.
    #[must_use]
    pub fn second_id(&self) -> &'r str {
        self.params.get(1).copied().unwrap_or_default()
    }

    /// A reply with an object, named after this gateway.
    pub fn object<T: Serialize>(&self, status: u16, body: T) -> Reply {
        Reply::object(status, &self.app.instance_id, body)
    }

    /// A reply that says what was done.
    #[must_use]
    pub fn done(&self, status: &'static str) -> Reply {
        self.object(200, Status { status })
    }

    /// A reply that says what was begun.
    #[must_use]
    pub fn accepted(&self, status: &'static str) -> Reply {
        self.object(202, Status { status })
    }
}
