//! The table of routes. Dispatch, `405` with `Allow`, and `openapi.json` are all read from it.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::amd::AMD;
use super::call_control::CALL_CONTROL;
use super::dtmf::DTMF;
use super::legs::LEGS;
use super::legs::Status;
use super::metrics::METRICS;
use super::not_implemented::LATER;
use super::playback::PLAYBACK;
use super::quality::QUALITY;
use super::recording::RECORDING;
use super::recordings::RECORDINGS;
use super::registrations::REGISTRATIONS;
use super::rooms::ROOMS;
use super::self_test::SELF_TEST;
use super::status::STATUS;
use super::system::SYSTEM;
use super::trunks::TRUNKS;
use super::webhooks::WEBHOOKS;

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
pub(super) const FULL: Answer = error(503, "A limit of the board is reached");
pub(super) const FAILED: Answer = error(500, "It was tried and failed");
pub(super) const DONE: Answer = ok(Shape::Object(schema::<Status>));

/// Every route of the API.
pub fn all() -> impl Iterator<Item = &'static Route> {
    SYSTEM
        .iter()
        .chain(SELF_TEST)
        .chain(METRICS)
        .chain(STATUS)
        .chain(LEGS)
        .chain(CALL_CONTROL)
        .chain(DTMF)
        .chain(PLAYBACK)
        .chain(RECORDING)
        .chain(ROOMS)
        .chain(TRUNKS)
        .chain(REGISTRATIONS)
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
