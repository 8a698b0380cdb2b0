//! Registrations of phones.

use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::{Answer, Shape, error, ok};
use super::call::{Call, Outcome};
use super::endpoint::{Endpoint, Plain, endpoint};
use super::http::reply::Reply;
use crate::gateway::registrar::BindingView;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    endpoint(
        "GET",
        "/sip/registrations",
        "Phones that have registered",
        &Plain(|c| Ok(list(c))),
        &[ok::<Bindings>()],
    ),
    endpoint(
        "DELETE",
        "/sip/registrations/{aor}",
        "Forget a phone, or one contact of it",
        &Plain(remove),
        &[Answer { status: 204, when: "Forgotten", shape: Shape::Empty }, error(404, "No such registration")],
    )
    .with_query(&[("contact", "URI of the contact to forget; all of them without it")]),
];

/// Phones that have registered.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Bindings {
    /// One for each contact.
    pub bindings: Vec<BindingView>,
}

/// `GET /sip/registrations`.
fn list(call: Call<'_>) -> Reply {
    call.object(200, Bindings { bindings: call.app.driver.look(|view| view.registrations()) })
}

/// `DELETE /sip/registrations/{aor}`, with `contact` in the query for one contact.
fn remove(call: Call<'_>) -> Outcome {
    let contact = call.query.unwrap_or_default().split('&').find_map(|p| p.strip_prefix("contact="));
    let contact = contact.map(|c| percent_decode_str(c).decode_utf8_lossy().into_owned());
    call.app.driver.accounts(|a| a.remove_registration(call.id(), contact.as_deref()))?;
    Ok(Reply::empty())
}
