//! Documented responses of endpoints, and common ones.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

/// Builds a schema and registers the types it refers to.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// A documented response of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// Condition under which it is returned.
    pub when: &'static str,
    /// Its body.
    pub shape: Shape,
}

/// The body of a response.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A JSON object with `instance_id`.
    Object(SchemaOf),
    /// A JSON document without `instance_id`.
    Bare(SchemaOf),
    /// Text of this media type.
    Text(&'static str),
    /// None.
    Empty,
    /// An error body.
    Error,
}

/// A status only.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    /// What was done.
    pub status: &'static str,
}

/// The schema of a type.
pub(super) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// An error response.
pub(super) const fn error(status: u16, when: &'static str) -> Answer {
    Answer { status, when, shape: Shape::Error }
}

/// An object with `instance_id`.
pub(super) const fn returns<T: JsonSchema>(status: u16, when: &'static str) -> Answer {
    Answer { status, when, shape: Shape::Object(schema::<T>) }
}

/// 200 with this object.
pub(super) const fn ok<T: JsonSchema>() -> Answer {
    returns::<T>(200, "Done")
}

/// 200 with a JSON document.
pub(super) const fn document<T: JsonSchema>() -> Answer {
    Answer { status: 200, when: "Done", shape: Shape::Bare(schema::<T>) }
}

/// 200 with text of this media type.
pub(super) const fn text(media_type: &'static str) -> Answer {
    Answer { status: 200, when: "Done", shape: Shape::Text(media_type) }
}

pub(super) const NOT_FOUND: Answer = error(404, "No such leg, room, playback or recording");
pub(super) const CONFLICT: Answer = error(409, "Not possible in the current state");
pub(super) const BAD: Answer = error(400, "Invalid value");
pub(super) const FULL: Answer = error(503, "A limit of the board profile is reached");
pub(super) const FAILED: Answer = error(500, "Tried and failed");
pub(super) const DONE: Answer = ok::<Status>();
