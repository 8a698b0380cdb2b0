//! Endpoints: documentation and handler. To add one, add an entry to `ENDPOINTS` in the file of its resource,
//! with its handler and request type.

use std::future::ready;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::http::body::parse;
use super::request::{Call, Outcome, Pending};
use super::responses::{Answer, SchemaOf, schema};

/// One endpoint of the API.
pub struct Endpoint {
    /// HTTP method.
    pub method: &'static str,
    /// Path below the base, with `{name}` as parameters.
    pub path: &'static str,
    /// One-line summary.
    pub summary: &'static str,
    /// Access rule.
    pub access: Access,
    /// Implementation.
    pub action: Action,
    /// Responses in addition to the common ones.
    pub answers: &'static [Answer],
    /// Query parameters: name and description.
    pub query: &'static [(&'static str, &'static str)],
}

impl Endpoint {
    /// The same endpoint with query parameters.
    pub(super) const fn with_query(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }
}

/// Access rule of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Requires a token, if any is configured.
    Token,
    /// Public.
    Open,
    /// Public, including web pages of other origins, and served even if all connections are in use: for
    /// supervisors.
    Supervisor,
}

/// Implementation of an endpoint.
#[derive(Clone, Copy)]
pub enum Action {
    /// Implemented.
    Handle(&'static dyn Handler),
    /// Part of the API but not of this version: 501 with the name of the feature.
    NotImplemented(&'static str),
}

/// A request handler.
pub trait Handler: Sync {
    /// Schema of the request body, if it has one.
    fn body(&self) -> Option<SchemaOf>;

    /// Executes a request with this body.
    fn handle<'r>(&self, call: Call<'r>, body: &[u8]) -> Pending<'r>;
}

/// Without body, synchronous.
pub struct Plain(pub fn(Call<'_>) -> Outcome);

/// Without body, asynchronous.
pub struct PlainAsync(pub for<'r> fn(Call<'r>) -> Pending<'r>);

/// With body, synchronous.
pub struct Json<T>(pub fn(Call<'_>, T) -> Outcome);

/// With body, asynchronous.
pub struct JsonAsync<T>(pub for<'r> fn(Call<'r>, T) -> Pending<'r>);

impl Handler for Plain {
    fn body(&self) -> Option<SchemaOf> {
        None
    }

    fn handle<'r>(&self, call: Call<'r>, _body: &[u8]) -> Pending<'r> {
        Box::pin(ready((self.0)(call)))
    }
}

impl Handler for PlainAsync {
    fn body(&self) -> Option<SchemaOf> {
        None
    }

    fn handle<'r>(&self, call: Call<'r>, _body: &[u8]) -> Pending<'r> {
        (self.0)(call)
    }
}

impl<T: DeserializeOwned + JsonSchema> Handler for Json<T> {
    fn body(&self) -> Option<SchemaOf> {
        Some(schema::<T>)
    }

    fn handle<'r>(&self, call: Call<'r>, body: &[u8]) -> Pending<'r> {
        Box::pin(ready(parse(body).and_then(|body| (self.0)(call, body))))
    }
}

impl<T: DeserializeOwned + JsonSchema> Handler for JsonAsync<T> {
    fn body(&self) -> Option<SchemaOf> {
        Some(schema::<T>)
    }

    fn handle<'r>(&self, call: Call<'r>, body: &[u8]) -> Pending<'r> {
        match parse(body) {
            Ok(body) => (self.0)(call, body),
            Err(e) => Box::pin(ready(Err(e))),
        }
    }
}

/// An endpoint that requires a token.
pub(super) const fn endpoint(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    handler: &'static dyn Handler,
    answers: &'static [Answer],
) -> Endpoint {
    let action = Action::Handle(handler);
    Endpoint { method, path, summary, access: Access::Token, action, answers, query: &[] }
}
