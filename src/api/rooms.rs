//! The verbs on rooms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::http::error::ApiError;
use super::http::reply::Reply;
use super::legs::status;
use super::patterns;
use super::routes::{
    Answer, BAD, CONFLICT, DONE, FAILED, FULL, NOT_FOUND, Op, Route, Shape, ok, route, schema,
};
use super::webhooks::hook;
use crate::base::secret::Secret;
use crate::gateway::replies;
use crate::gateway::room::{JoinFlags, Joined, RoomView};

const ONE_ROOM: Answer = ok(Shape::Object(schema::<RoomView>));

/// The routes.
pub(super) static ROOMS: &[Route] = &[
    route("GET", "/rooms", Op::Rooms, "All rooms", None, &[ok(Shape::Bare(schema::<Vec<RoomView>>))]),
    route(
        "POST",
        "/rooms",
        Op::CreateRoom,
        "Make a room",
        Some(schema::<CreateRoom>),
        &[
            Answer { status: 201, when: "The room, empty", shape: Shape::Object(schema::<RoomView>) },
            BAD,
            CONFLICT,
            FULL,
        ],
    ),
    route("GET", "/rooms/{id}", Op::Room, "One room", None, &[ONE_ROOM, NOT_FOUND]),
    route(
        "DELETE",
        "/rooms/{id}",
        Op::DeleteRoom,
        "Hang up its legs and delete it",
        None,
        &[DONE, NOT_FOUND],
    ),
    route(
        "POST",
        "/rooms/{id}/legs",
        Op::AddLeg,
        "Put a leg into a room; a ringing inbound leg is answered first",
        Some(schema::<AddLeg>),
        &[ok(Shape::Object(schema::<JoinedView>)), BAD, FAILED, FULL],
    ),
    route(
        "DELETE",
        "/rooms/{id}/legs/{leg_id}",
        Op::RemoveLeg,
        "Take a leg out of a room",
        None,
        &[DONE, NOT_FOUND],
    ),
];

/// `POST /v1/rooms`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CreateRoom {
    /// Name; made up when missing.
    #[schemars(regex(pattern = patterns::ROOM_ID.text))]
    pub id: Option<String>,
    /// Sampling rate in Hz.
    #[schemars(extend("enum" = [8000, 16000, 48000, null]))]
    pub sample_rate: Option<u32>,
    /// Events of this room go there.
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
    /// Others do not hear it.
    pub mute: Option<bool>,
    /// It hears nobody.
    pub deaf: Option<bool>,
    /// Takes digits that others of the room send.
    pub accept_dtmf: Option<bool>,
}

fn required_leg_id(schema: &mut schemars::Schema) {
    schema.insert("required".to_owned(), serde_json::json!(["leg_id"]));
}

/// Reply of `POST /rooms/{id}/legs` for a leg that was elsewhere.
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
pub fn list(app: &App) -> Reply {
    Reply::json(200, &app.shell.look(|g| g.all_rooms()))
}

/// `GET /rooms/{id}`.
pub fn get(app: &App, id: &str) -> Result<Reply, ApiError> {
    let room = app.shell.look(|g| g.room(id))?;
    Ok(Reply::object(200, &app.instance_id, room))
}

/// `POST /rooms`.
pub fn create(app: &App, body: CreateRoom) -> Result<Reply, ApiError> {
    patterns::ROOM_ID.check("id", body.id.as_deref().unwrap_or_default())?;
    let hook = hook(body.webhook_url, body.webhook_secret)?;
    let room = app.shell.call(|g, now| g.create_room(now, body.id, body.sample_rate, hook))?;
    Ok(Reply::object(201, &app.instance_id, room))
}

/// `DELETE /rooms/{id}`.
pub fn delete(app: &App, id: &str) -> Result<Reply, ApiError> {
    app.shell.call(|g, now| g.delete_room(now, id))?;
    Ok(status(app, "deleted"))
}

/// `POST /rooms/{id}/legs`.
pub async fn add(app: &App, id: &str, body: &AddLeg) -> Result<Reply, ApiError> {
    patterns::ROOM_ID.check("room id", id)?;
    let flags = JoinFlags { mute: body.mute, deaf: body.deaf, accept_dtmf: body.accept_dtmf };
    let joined = match app.shell.call(|g, now| g.add_to_room(now, id, &body.leg_id, flags))? {
        Ok(joined) => joined,
        Err(handle) => match app.shell.reply(handle).await? {
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
    Ok(Reply::object(200, &app.instance_id, view))
}

/// `DELETE /rooms/{id}/legs/{leg_id}`.
pub fn remove(app: &App, id: &str, leg: &str) -> Result<Reply, ApiError> {
    app.shell.call(|g, now| g.remove_from_room(now, id, leg))?;
    Ok(status(app, "removed"))
}
