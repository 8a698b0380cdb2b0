//! The table of routes. Dispatch, `405` with `Allow`, and `openapi.json` are all read from it.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::amd::AMD;
use super::legs::Status;
use super::not_implemented::LATER;
use super::playback::Playing;
use super::quality::QUALITY;
use super::recording::Recording;
use super::recordings::RECORDINGS;
use super::requests::{AddLeg, CreateLeg, CreateRoom, DeleteLeg, Play, Record, SendDtmf, Transfer, Volume};
use super::rooms::JoinedView;
use super::self_test::SELF_TEST;
use super::system::SYSTEM;
use super::trunk_routes::TRUNK_ROUTES;
use super::webhooks::WEBHOOKS;
use crate::gateway::room::RoomView;
use crate::gateway::snapshot::LegView;

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its route")]
pub enum Op {
    Health,
    Metrics,
    Capacity,
    Status,
    SelfTest,
    SelfTestStep,
    OpenApi,
    Legs,
    CreateLeg,
    Leg,
    DeleteLeg,
    Answer,
    Ring,
    EarlyMedia,
    Mute(bool),
    Deaf(bool),
    Hold(bool),
    Transfer,
    Dtmf,
    DetectMachine,
    Quality,
    AcceptDtmf(bool),
    Play(Scope),
    Volume(Scope),
    StopPlay(Scope),
    Record(Scope),
    StopRecord(Scope),
    PauseRecord(Scope, bool),
    Rooms,
    CreateRoom,
    Room,
    DeleteRoom,
    AddLeg,
    RemoveLeg,
    Trunks,
    AddTrunk,
    Trunk,
    RemoveTrunk,
    Registrations,
    RemoveRegistration,
    Recordings,
    Recording,
    RecordingFile,
    DeleteRecording,
    Webhooks,
    /// Part of the API, not of this version: 501 naming the feature.
    Later(&'static str),
}

/// Whose playback or recording a route is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A leg.
    Leg,
    /// A room.
    Room,
}

/// Makes a schema, registering the types it refers to.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One documented answer of a route.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// When it is given.
    pub when: &'static str,
    /// Its body.
    pub shape: Shape,
}

/// The body of an answer.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A JSON object that carries `instance_id`.
    Object(SchemaOf),
    /// A JSON document as it is.
    Bare(SchemaOf),
    /// Text of the given type.
    Text(&'static str),
    /// None.
    Empty,
    /// An error body.
    Error,
}

/// One route.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// HTTP method.
    pub method: &'static str,
    /// Path below the base, with `{name}` for parameters.
    pub path: &'static str,
    /// What it does.
    pub op: Op,
    /// One line for the reader of the API.
    pub summary: &'static str,
    /// Needs no token.
    pub open: bool,
    /// Request body, if it takes one.
    pub body: Option<SchemaOf>,
    /// Answers beside those every route can give.
    pub answers: &'static [Answer],
}

pub(super) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

pub(super) const fn route(
    method: &'static str,
    path: &'static str,
    op: Op,
    summary: &'static str,
    body: Option<SchemaOf>,
    answers: &'static [Answer],
) -> Route {
    Route { method, path, op, summary, open: false, body, answers }
}

pub(super) const fn error(status: u16, when: &'static str) -> Answer {
    Answer { status, when, shape: Shape::Error }
}

pub(super) const fn ok(shape: Shape) -> Answer {
    Answer { status: 200, when: "Done", shape }
}

pub(super) const NOT_FOUND: Answer = error(404, "No such leg, room, playback or recording");
pub(super) const CONFLICT: Answer = error(409, "Not in this state");
pub(super) const BAD: Answer = error(400, "A value that is not allowed");
const NOT_SIP: Answer = error(400, "Not a SIP leg");
pub(super) const FULL: Answer = error(503, "A limit of the board is reached");
const FAILED: Answer = error(500, "It was tried and failed");
pub(super) const DONE: Answer = ok(Shape::Object(schema::<Status>));
const ONE_LEG: Answer = ok(Shape::Object(schema::<LegView>));
const ONE_ROOM: Answer = ok(Shape::Object(schema::<RoomView>));

/// The routes that do something.
static ROUTES: &[Route] = &[
    route("GET", "/legs", Op::Legs, "All legs", None, &[ok(Shape::Bare(schema::<Vec<LegView>>))]),
    route(
        "POST",
        "/legs",
        Op::CreateLeg,
        "Place a call",
        Some(schema::<CreateLeg>),
        &[
            Answer { status: 201, when: "The leg, ringing", shape: Shape::Object(schema::<LegView>) },
            BAD,
            FULL,
        ],
    ),
    route("GET", "/legs/{id}", Op::Leg, "One leg", None, &[ONE_LEG, NOT_FOUND]),
    route(
        "DELETE",
        "/legs/{id}",
        Op::DeleteLeg,
        "Hang up",
        Some(schema::<DeleteLeg>),
        &[DONE, BAD, NOT_FOUND],
    ),
    route(
        "POST",
        "/legs/{id}/answer",
        Op::Answer,
        "Answer an inbound leg",
        None,
        &[DONE, BAD, NOT_FOUND, CONFLICT],
    ),
    route(
        "POST",
        "/legs/{id}/ring",
        Op::Ring,
        "Send 180 where it is not sent by itself",
        None,
        &[
            Answer { status: 202, when: "Sent", shape: Shape::Object(schema::<Status>) },
            BAD,
            NOT_FOUND,
            CONFLICT,
        ],
    ),
    route(
        "POST",
        "/legs/{id}/early-media",
        Op::EarlyMedia,
        "Send 183 and media before the answer",
        None,
        &[DONE, BAD, NOT_FOUND, CONFLICT, FAILED],
    ),
    route("POST", "/legs/{id}/mute", Op::Mute(true), "Others hear the leg no more", None, &[DONE, NOT_FOUND]),
    route(
        "DELETE",
        "/legs/{id}/mute",
        Op::Mute(false),
        "Others hear the leg again",
        None,
        &[DONE, NOT_FOUND],
    ),
    route(
        "POST",
        "/legs/{id}/deaf",
        Op::Deaf(true),
        "The leg hears nobody any more",
        None,
        &[DONE, NOT_FOUND],
    ),
    route(
        "DELETE",
        "/legs/{id}/deaf",
        Op::Deaf(false),
        "The leg hears the others again",
        None,
        &[DONE, NOT_FOUND],
    ),
    route(
        "POST",
        "/legs/{id}/transfer",
        Op::Transfer,
        "Transfer a leg by REFER; events tell the outcome",
        Some(schema::<Transfer>),
        &[Answer { status: 202, ..DONE }, BAD, NOT_FOUND, CONFLICT],
    ),
    route("POST", "/legs/{id}/hold", Op::Hold(true), "Hold a leg by re-INVITE", None, HOLD),
    route("DELETE", "/legs/{id}/hold", Op::Hold(false), "Resume a held leg", None, HOLD),
    route(
        "POST",
        "/legs/{id}/dtmf",
        Op::Dtmf,
        "Send digits",
        Some(schema::<SendDtmf>),
        &[DONE, BAD, NOT_FOUND, CONFLICT, FAILED],
    ),
    route(
        "POST",
        "/legs/{id}/dtmf/accept",
        Op::AcceptDtmf(true),
        "Take digits of others",
        None,
        &[DONE, NOT_FOUND],
    ),
    route(
        "POST",
        "/legs/{id}/dtmf/reject",
        Op::AcceptDtmf(false),
        "Take no digits of others",
        None,
        &[DONE, NOT_FOUND],
    ),
    route("POST", "/legs/{id}/play", Op::Play(Scope::Leg), "Play to a leg", Some(schema::<Play>), PLAY),
    route(
        "PATCH",
        "/legs/{id}/play/{playback_id}",
        Op::Volume(Scope::Leg),
        "Change its volume",
        Some(schema::<Volume>),
        VOLUME,
    ),
    route(
        "DELETE",
        "/legs/{id}/play/{playback_id}",
        Op::StopPlay(Scope::Leg),
        "Stop it",
        None,
        &[DONE, NOT_FOUND],
    ),
    route(
        "POST",
        "/legs/{id}/record",
        Op::Record(Scope::Leg),
        "Record a leg",
        Some(schema::<Record>),
        RECORD,
    ),
    route("DELETE", "/legs/{id}/record", Op::StopRecord(Scope::Leg), "Stop recording", None, STOP_RECORD),
    route(
        "POST",
        "/legs/{id}/record/pause",
        Op::PauseRecord(Scope::Leg, true),
        "Record silence",
        None,
        &[DONE, NOT_FOUND],
    ),
    route(
        "POST",
        "/legs/{id}/record/resume",
        Op::PauseRecord(Scope::Leg, false),
        "Record sound again",
        None,
        &[DONE, NOT_FOUND],
    ),
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
    route("POST", "/rooms/{id}/play", Op::Play(Scope::Room), "Play to a room", Some(schema::<Play>), PLAY),
    route(
        "PATCH",
        "/rooms/{id}/play/{playback_id}",
        Op::Volume(Scope::Room),
        "Change its volume",
        Some(schema::<Volume>),
        VOLUME,
    ),
    route(
        "DELETE",
        "/rooms/{id}/play/{playback_id}",
        Op::StopPlay(Scope::Room),
        "Stop it",
        None,
        &[DONE, NOT_FOUND],
    ),
    route(
        "POST",
        "/rooms/{id}/record",
        Op::Record(Scope::Room),
        "Record a room",
        Some(schema::<Record>),
        RECORD,
    ),
    route("DELETE", "/rooms/{id}/record", Op::StopRecord(Scope::Room), "Stop recording", None, STOP_RECORD),
    route(
        "POST",
        "/rooms/{id}/record/pause",
        Op::PauseRecord(Scope::Room, true),
        "Record silence",
        None,
        &[DONE, NOT_FOUND],
    ),
    route(
        "POST",
        "/rooms/{id}/record/resume",
        Op::PauseRecord(Scope::Room, false),
        "Record sound again",
        None,
        &[DONE, NOT_FOUND],
    ),
];

const PLAY: &[Answer] = &[ok(Shape::Object(schema::<Playing>)), BAD, NOT_FOUND, CONFLICT, FULL];
const HOLD: &[Answer] = &[DONE, NOT_SIP, NOT_FOUND, CONFLICT];
const VOLUME: &[Answer] = &[DONE, BAD, NOT_FOUND];
const RECORD: &[Answer] = &[ok(Shape::Object(schema::<Recording>)), BAD, NOT_FOUND, CONFLICT, FAILED, FULL];
const STOP_RECORD: &[Answer] = &[ok(Shape::Object(schema::<Recording>)), NOT_FOUND, FAILED];

/// Every route of the API.
pub fn all() -> impl Iterator<Item = &'static Route> {
    SYSTEM
        .iter()
        .chain(SELF_TEST)
        .chain(ROUTES)
        .chain(TRUNK_ROUTES)
        .chain(AMD)
        .chain(QUALITY)
        .chain(RECORDINGS)
        .chain(WEBHOOKS)
        .chain(LATER)
}

/// The routes a path matches, with the values of its parameters in order.
pub fn at(path: &[String]) -> impl Iterator<Item = (&'static Route, Vec<&str>)> {
    let below = match path.split_first() {
        Some((first, rest)) if first == "v1" => rest,
        _ => path,
    };
    all().filter_map(move |r| Some((r, matches(r.path, below)?)))
}

fn matches<'p>(pattern: &str, path: &'p [String]) -> Option<Vec<&'p str>> {
    let mut values = Vec::new();
    let mut given = path.iter();
    for want in pattern.split('/').skip(1) {
        let have = given.next()?;
        if want.starts_with('{') {
            if have.is_empty() {
                return None;
            }
            values.push(have.as_str());
        } else if want != have {
            return None;
        }
    }
    given.next().is_none().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ops(path: &str) -> Vec<(&'static str, Vec<String>)> {
        let segments: Vec<String> = path.split('/').skip(1).map(str::to_owned).collect();
        at(&segments).map(|(r, v)| (r.method, v.into_iter().map(str::to_owned).collect())).collect()
    }

    #[test]
    fn the_version_prefix_is_an_alias() {
        assert_eq!(ops("/v1/health"), ops("/health"));
        assert_eq!(ops("/health").len(), 1);
        assert_eq!(ops("/v1/v1/health"), []);
        assert_eq!(ops("/v1/legs/7/hold"), [("POST", vec!["7".into()]), ("DELETE", vec!["7".into()])]);
        assert_eq!(ops("/legs//hold"), []);
        assert_eq!(ops("/health/"), []);
    }

    #[test]
    fn no_route_stands_twice() {
        let mut seen: Vec<_> = all().map(|r| (r.path, r.method)).collect();
        seen.sort_unstable();
        let n = seen.len();
        seen.dedup();
        assert_eq!(n, seen.len());
    }
}
