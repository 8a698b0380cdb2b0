//! The table of routes. Dispatch, `405` with `Allow`, and `openapi.json` are all read from it.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::system::{Capacity, Health};

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `GET /health`.
    Health,
    /// `GET /metrics`.
    Metrics,
    /// `GET /capacity`.
    Capacity,
    /// `GET /openapi.json`.
    OpenApi,
    /// Part of the API, not of this version: 501 naming the feature.
    Later(&'static str),
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

const fn later(method: &'static str, path: &'static str, what: &'static str, summary: &'static str) -> Route {
    Route { method, path, op: Op::Later(what), summary, open: false, body: None, answers: LATER }
}

const LATER: &[Answer] = &[Answer { status: 501, when: "Not in this version", shape: Shape::Error }];

const fn ok(shape: Shape) -> Answer {
    Answer { status: 200, when: "Done", shape }
}

/// Every route of the API.
pub static ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/health",
        op: Op::Health,
        summary: "Is the gateway working",
        open: true,
        body: None,
        answers: &[
            ok(Shape::Object(schema::<Health>)),
            Answer { status: 503, when: "Something stands still", shape: Shape::Error },
        ],
    },
    Route {
        method: "GET",
        path: "/metrics",
        op: Op::Metrics,
        summary: "Counters and gauges, Prometheus text",
        open: true,
        body: None,
        answers: &[ok(Shape::Text("text/plain; version=0.0.4"))],
    },
    Route {
        method: "GET",
        path: "/capacity",
        op: Op::Capacity,
        summary: "What is used of each limit",
        open: false,
        body: None,
        answers: &[ok(Shape::Object(schema::<Capacity>))],
    },
    Route {
        method: "GET",
        path: "/openapi.json",
        op: Op::OpenApi,
        summary: "This description",
        open: false,
        body: None,
        answers: &[ok(Shape::Bare(schema::<serde_json::Value>))],
    },
    later("POST", "/legs/{id}/transfer", "transfer", "Transfer a leg by REFER"),
    later("POST", "/legs/{id}/hold", "hold", "Hold a leg by re-INVITE"),
    later("DELETE", "/legs/{id}/hold", "hold", "Resume a held leg"),
    later("POST", "/legs/{id}/amd", "answering-machine detection", "Start answering-machine detection"),
    later("POST", "/legs/{id}/tts", "speech synthesis", "Speak text on a leg"),
    later("POST", "/legs/{id}/stt", "speech recognition", "Start speech recognition on a leg"),
    later("DELETE", "/legs/{id}/stt", "speech recognition", "Stop speech recognition on a leg"),
    later("POST", "/legs/{id}/agent/elevenlabs", "agents", "Attach an ElevenLabs agent"),
    later("POST", "/legs/{id}/agent/vapi", "agents", "Attach a VAPI agent"),
    later("POST", "/legs/{id}/agent/pipecat", "agents", "Attach a Pipecat bot"),
    later("POST", "/legs/{id}/agent/deepgram", "agents", "Attach a Deepgram agent"),
    later("POST", "/legs/{id}/agent/message", "agents", "Send a message to the agent of a leg"),
    later("DELETE", "/legs/{id}/agent", "agents", "Detach the agent of a leg"),
];

/// The routes a path matches, with the values of its parameters in order.
pub fn at(path: &[String]) -> impl Iterator<Item = (&'static Route, Vec<&str>)> {
    let below = match path.split_first() {
        Some((first, rest)) if first == "v1" => rest,
        _ => path,
    };
    ROUTES.iter().filter_map(move |r| Some((r, matches(r.path, below)?)))
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
        let mut seen: Vec<_> = ROUTES.iter().map(|r| (r.path, r.method)).collect();
        seen.sort_unstable();
        let n = seen.len();
        seen.dedup();
        assert_eq!(n, seen.len());
    }
}
