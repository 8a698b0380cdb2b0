//! Endpoints: what is documented of each, and how its requests are carried out. A new one takes an entry in `ENDPOINTS` of its
//! resource's file, and there its handler and request type.

use std::future::ready;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::answer::{Answer, SchemaOf, schema};
use super::call::{Call, Outcome, Pending};
use super::http::body::parse;

/// One endpoint of the API.
pub struct Endpoint {
    /// HTTP method.
    pub method: &'static str,
    /// Path below the base, with `{name}` for parameters.
    pub path: &'static str,
    /// One line for the reader of the API.
    pub summary: &'static str,
    /// Who may use it.
    pub access: Access,
    /// What it does.
    pub action: Action,
    /// Answers beside those every endpoint can give.
    pub answers: &'static [Answer],
    /// What its query may hold: each name, and what it is for.
    pub query: &'static [(&'static str, &'static str)],
}

impl Endpoint {
    /// The same, with a query that may hold this.
    pub(super) const fn with_query(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }
}

/// Who may use an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever sends a token, where any is configured.
    Token,
    /// Everybody.
    Open,
    /// Everybody, even web pages of others, and when all connections are in use: what supervisors watch.
    Supervisor,
}

/// What an endpoint does.
#[derive(Clone, Copy)]
pub enum Action {
    /// Its requests are carried out.
    Handle(&'static dyn Handler),
    /// Part of the API, not of this version: 501 naming the feature.
    NotImplemented(&'static str),
}

/// A function that carries out requests, whatever it takes.
pub trait Handler: Sync {
    /// Schema of the body that it reads, if it reads one.
    fn body(&self) -> Option<SchemaOf>;

    /// Carries out a request with this body.
    fn handle<'r>(&self, call: Call<'r>, body: &[u8]) -> Pending<'r>;
}

/// Reads no body, and answers at once.
pub struct Plain(pub fn(Call<'_>) -> Outcome);

/// Reads no body, and answers when others have.
pub struct PlainAsync(pub for<'r> fn(Call<'r>) -> Pending<'r>);

/// Reads a body, and answers at once.
pub struct Json<T>(pub fn(Call<'_>, T) -> Outcome);

/// Reads a body, and answers when others have.
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

/// An endpoint for whoever has a token.
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
