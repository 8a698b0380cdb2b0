//! Documented answers of endpoints, and those that many of them give.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

/// Makes a schema, registering the types it refers to.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One documented answer of an endpoint.
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

/// A status and nothing else.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    /// What was done.
    pub status: &'static str,
}

/// The schema of a type.
pub(super) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// An error.
pub(super) const fn error(status: u16, when: &'static str) -> Answer {
    Answer { status, when, shape: Shape::Error }
}

/// An object that carries `instance_id`.
pub(super) const fn returns<T: JsonSchema>(status: u16, when: &'static str) -> Answer {
    Answer { status, when, shape: Shape::Object(schema::<T>) }
}

/// It is done, and this is the object.
pub(super) const fn ok<T: JsonSchema>() -> Answer {
    returns::<T>(200, "Done")
}

/// A JSON document as it is.
pub(super) const fn document<T: JsonSchema>() -> Answer {
    Answer { status: 200, when: "Done", shape: Shape::Bare(schema::<T>) }
}

/// Text of this type.
pub(super) const fn text(media_type: &'static str) -> Answer {
    Answer { status: 200, when: "Done", shape: Shape::Text(media_type) }
}

pub(super) const NOT_FOUND: Answer = error(404, "No such leg, room, playback or recording");
pub(super) const CONFLICT: Answer = error(409, "Not in this state");
pub(super) const BAD: Answer = error(400, "A value that is not allowed");
pub(super) const FULL: Answer = error(503, "A limit of the board is reached");
pub(super) const FAILED: Answer = error(500, "It was tried and failed");
pub(super) const DONE: Answer = ok::<Status>();
