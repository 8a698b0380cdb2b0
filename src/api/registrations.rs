//! Registrations of phones.

use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Serialize;

use super::app::App;
use super::http::error::ApiError;
use super::http::reply::Reply;
use super::routes::{Answer, Op, Route, Shape, error, ok, route, schema};
use crate::gateway::Gateway;
use crate::gateway::registrar::BindingView;

/// The routes.
pub(super) static REGISTRATIONS: &[Route] = &[
    route(
        "GET",
        "/sip/registrations",
        Op::Registrations,
        "Phones that have registered",
        None,
        &[ok(Shape::Object(schema::<Bindings>))],
    ),
    route(
        "DELETE",
        "/sip/registrations/{aor}",
        Op::RemoveRegistration,
        "Forget a phone, with ?contact= one contact of it",
        None,
        &[Answer { status: 204, when: "Forgotten", shape: Shape::Empty }, error(404, "No such registration")],
    ),
];

/// Phones that have registered.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Bindings {
    /// One for each contact.
    pub bindings: Vec<BindingView>,
}

/// `GET /sip/registrations`.
pub fn list(app: &App) -> Reply {
    Reply::object(200, &app.instance_id, Bindings { bindings: app.shell.look(Gateway::registrations) })
}

/// `DELETE /sip/registrations/{aor}`, with `contact` in the query for one contact.
pub fn remove(app: &App, aor: &str, query: Option<&str>) -> Result<Reply, ApiError> {
    let contact = query.unwrap_or_default().split('&').find_map(|p| p.strip_prefix("contact="));
    let contact = contact.map(|c| percent_decode_str(c).decode_utf8_lossy().into_owned());
    app.shell.call(|g, now| g.remove_registration(now, aor, contact.as_deref()))?;
    Ok(Reply::empty())
}
