//! The gateway itself: health, capacity and API descriptions.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::app::App;
use super::asyncapi;
use super::endpoint::{Access, Endpoint, Plain, endpoint};
use super::http::error::ApiError;
use super::http::reply::Reply;
use super::request::{Call, Outcome};
use super::responses::{document, error, ok};
use crate::io::media::media_memory;
use crate::io::system::process::Process;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        access: Access::Supervisor,
        ..endpoint(
            "GET",
            "/health",
            "Health check",
            &Plain(health),
            &[ok::<Health>(), error(503, "The media thread or another part is stuck")],
        )
    },
    endpoint("GET", "/capacity", "Usage of each limit", &Plain(|c| Ok(capacity(c))), &[ok::<Capacity>()]),
    endpoint(
        "GET",
        "/openapi.json",
        "This description",
        &Plain(|c| Ok(Reply::json(200, &(c.description)()))),
        &[document::<serde_json::Value>()],
    ),
    endpoint(
        "GET",
        "/asyncapi.json",
        "The description of all events",
        &Plain(|_| Ok(Reply::json(200, &asyncapi::document()))),
        &[document::<serde_json::Value>()],
    ),
];

/// Reply of `GET /health`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Health {
    /// `ok`.
    pub status: &'static str,
    /// `ok`; `damaged`: files of the state directory could not be read, now or in an earlier run. They are
    /// kept as `….damaged-DATE` until removed manually; everything else works.
    pub state: &'static str,
    /// Version of the program.
    pub version: &'static str,
    /// Uptime, whole seconds.
    pub uptime_s: u64,
}

/// A limit and its usage.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Use {
    /// In use.
    pub used: u32,
    /// The limit.
    pub max: u32,
}

/// Reply of `GET /v1/capacity`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Capacity {
    /// Call legs.
    pub legs: Use,
    /// Legs that use Opus, or whose far end may still choose it.
    pub opus_legs: Use,
    /// Rooms.
    pub rooms: Use,
    /// RTP/RTCP port pairs.
    pub rtp_ports: Use,
    /// Playbacks.
    pub playbacks: Use,
    /// Recordings.
    pub recordings: Use,
    /// Memory of the process.
    pub memory: Memory,
}

/// Memory of the process, and its upper bound.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Memory {
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Upper bound with all limits reached, bytes.
    pub bound_bytes: u64,
    /// Parts of the upper bound, bytes. Those starting with `media_` are allocated at startup, and locked if
    /// permitted by the system.
    pub bound_by_kind: BTreeMap<&'static str, u64>,
    /// Media memory in use, bytes.
    pub media_used_bytes: u64,
    /// Highest media memory usage so far, bytes.
    pub media_peak_bytes: u64,
    /// Allocations that did not fit into the media memory.
    pub media_spilled: u64,
}

/// `GET /health`.
fn health(call: Call<'_>) -> Outcome {
    let app = call.app;
    if let Some(why) = app.driver.standing_still() {
        return Err(ApiError::Unavailable(why));
    }
    let body = Health {
        status: "ok",
        state: if app.driver.is_damaged() { "damaged" } else { "ok" },
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: app.driver.uptime().as_secs(),
    };
    Ok(call.object(200, body))
}

fn memory(app: &App) -> Memory {
    let bound = app.driver.memory_bound();
    let media = media_memory::usage();
    let bytes = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    Memory {
        resident_bytes: Process::read().resident,
        bound_bytes: bound.total(),
        bound_by_kind: bound.kinds().iter().map(|k| (k.name, k.bytes)).collect(),
        media_used_bytes: bytes(media.used),
        media_peak_bytes: bytes(media.peak),
        media_spilled: media.spilled,
    }
}

/// `GET /v1/capacity`.
fn capacity(call: Call<'_>) -> Reply {
    let app = call.app;
    let config = app.config();
    let limits = &config.limits;
    let n = app.driver.look(|view| view.numbers());
    let body = Capacity {
        // An ended leg keeps its place until its media is closed.
        legs: Use { used: n.legs.max(n.media), max: limits.legs },
        opus_legs: Use { used: n.opus, max: limits.opus_legs },
        rooms: Use { used: n.rooms, max: limits.rooms },
        rtp_ports: Use { used: n.ports, max: app.driver.rtp_capacity() },
        playbacks: Use { used: n.playbacks, max: limits.playbacks },
        recordings: Use { used: n.recordings, max: limits.recordings },
        memory: memory(app),
    };
    call.object(200, body)
}
