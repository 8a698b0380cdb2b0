//! Phone registrations.

use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Serialize;

use super::endpoint::{Endpoint, Plain, endpoint};
use super::http::reply::Reply;
use super::request::{Call, Outcome};
use super::responses::{Answer, Shape, error, ok};
use crate::gateway::registrar::BindingView;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    endpoint("GET", "/sip/registrations", "Registered phones", &Plain(|c| Ok(list(c))), &[ok::<Bindings>()]),
    endpoint(
        "DELETE",
        "/sip/registrations/{aor}",
        "Remove the registrations of a user, or one contact",
        &Plain(remove),
        &[Answer { status: 204, when: "Removed", shape: Shape::Empty }, error(404, "No such registration")],
    )
    .with_query(&[("contact", "URI of the contact to remove; default: all")]),
];

/// Registered phones.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Bindings {
    /// One per contact.
    pub bindings: Vec<BindingView>,
}

/// `GET /sip/registrations`.
fn list(call: Call<'_>) -> Reply {
    call.object(200, Bindings { bindings: call.app.driver.look(|view| view.registrations()) })
}

/// `DELETE /sip/registrations/{aor}`, optionally for the contact in the query.
fn remove(call: Call<'_>) -> Outcome {
    let contact = call.query.unwrap_or_default().split('&').find_map(|p| p.strip_prefix("contact="));
    let contact = contact.map(|c| percent_decode_str(c).decode_utf8_lossy().into_owned());
    call.app.driver.accounts(|a| a.remove_registration(call.id(), contact.as_deref()))?;
    Ok(Reply::empty())
}
