//! Rooms and their members.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Endpoint, Json, JsonAsync, Plain, endpoint};
use super::http::reply::Reply;
use super::patterns;
use super::request::{Call, Outcome};
use super::responses::{BAD, CONFLICT, DONE, FAILED, FULL, NOT_FOUND, document, ok, returns};
use super::webhooks::hook;
use crate::base::secret::Secret;
use crate::gateway::interface::replies;
use crate::gateway::rooms::{JoinFlags, Joined, RoomView};

pub(super) static ENDPOINTS: &[Endpoint] = &[
    endpoint("GET", "/rooms", "All rooms", &Plain(|c| Ok(list(c))), &[document::<Vec<RoomView>>()]),
    endpoint(
        "POST",
        "/rooms",
        "Create a room",
        &Json(create),
        &[returns::<RoomView>(201, "The room, empty"), BAD, CONFLICT, FULL],
    ),
    endpoint("GET", "/rooms/{id}", "One room", &Plain(one), &[ok::<RoomView>(), NOT_FOUND]),
    endpoint("DELETE", "/rooms/{id}", "Hang up its legs and delete it", &Plain(delete), &[DONE, NOT_FOUND]),
    endpoint(
        "POST",
        "/rooms/{id}/legs",
        "Add a leg to a room; a ringing inbound leg is answered first",
        &JsonAsync(|c, body| Box::pin(add(c, body))),
        &[ok::<JoinedView>(), BAD, FAILED, FULL],
    ),
    endpoint(
        "DELETE",
        "/rooms/{id}/legs/{leg_id}",
        "Remove a leg from a room",
        &Plain(remove),
        &[DONE, NOT_FOUND],
    ),
];

/// `POST /v1/rooms`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CreateRoom {
    /// Room id; generated if missing.
    #[schemars(regex(pattern = patterns::ROOM_ID.text))]
    pub id: Option<String>,
    /// Sampling rate in Hz.
    #[schemars(extend("enum" = [8000, 16000, 48000, null]))]
    pub sample_rate: Option<u32>,
    /// Webhook for events of this room.
    #[schemars(regex(pattern = patterns::HOOK_URL.text))]
    pub webhook_url: Option<String>,
    /// Secret that signs them.
    #[schemars(with = "Option<String>")]
    pub webhook_secret: Option<Secret>,
}

/// `POST /v1/rooms/{id}/legs`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(transform = required_leg_id)]
pub struct AddLeg {
    /// The leg.
    pub leg_id: String,
    /// Other members do not hear it.
    pub mute: Option<bool>,
    /// It does not hear other members.
    pub deaf: Option<bool>,
    /// It receives DTMF digits sent by other members.
    pub accept_dtmf: Option<bool>,
}

fn required_leg_id(schema: &mut schemars::Schema) {
    schema.insert("required".to_owned(), serde_json::json!(["leg_id"]));
}

/// Reply of `POST /rooms/{id}/legs` for a leg that was in another room.
#[derive(Debug, Serialize, JsonSchema)]
pub struct JoinedView {
    /// `added` or `moved`.
    pub status: &'static str,
    /// The room it left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The room it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// `GET /rooms`.
fn list(call: Call<'_>) -> Reply {
    Reply::json(200, &call.app.driver.look(|view| view.rooms()))
}

/// `GET /rooms/{id}`.
fn one(call: Call<'_>) -> Outcome {
    let room = call.app.driver.look(|view| view.room(call.id()))?;
    Ok(call.object(200, room))
}

/// `POST /rooms`.
fn create(call: Call<'_>, body: CreateRoom) -> Outcome {
    patterns::ROOM_ID.check("id", body.id.as_deref().unwrap_or_default())?;
    let hook = hook(body.webhook_url, body.webhook_secret)?;
    let room = call.app.driver.rooms(|r| r.create(body.id, body.sample_rate, hook))?;
    Ok(call.object(201, room))
}

/// `DELETE /rooms/{id}`.
fn delete(call: Call<'_>) -> Outcome {
    call.app.driver.rooms(|r| r.delete(call.id()))?;
    Ok(call.done("deleted"))
}

/// `POST /rooms/{id}/legs`.
async fn add(call: Call<'_>, body: AddLeg) -> Outcome {
    let (app, id) = (call.app, call.id());
    patterns::ROOM_ID.check("room id", id)?;
    let flags = JoinFlags { mute: body.mute, deaf: body.deaf, accept_dtmf: body.accept_dtmf };
    let joined = match app.driver.rooms(|r| r.add_leg(id, &body.leg_id, flags))? {
        Ok(joined) => joined,
        Err(handle) => match app.driver.reply(handle).await? {
            replies::Reply::Joined(joined) => joined,
            replies::Reply::Recording(_)
            | replies::Reply::Recorded { .. }
            | replies::Reply::Changed
            | replies::Reply::Quality(_) => Joined::Added,
        },
    };
    let view = match joined {
        Joined::Added => JoinedView { status: "added", from: None, to: None },
        Joined::Moved { from, to } => JoinedView { status: "moved", from: Some(from), to: Some(to) },
    };
    Ok(call.object(200, view))
}

/// `DELETE /rooms/{id}/legs/{leg_id}`.
fn remove(call: Call<'_>) -> Outcome {
    call.app.driver.rooms(|r| r.remove_leg(call.id(), call.second_id()))?;
    Ok(call.done("removed"))
}
