//! The gateway itself: health, capacity, metrics.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::dispatch::App;
use super::error::ApiError;
use super::reply::Reply;

/// Reply of `GET /health`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Health {
    /// `ok`.
    pub status: &'static str,
    /// Version of the program.
    pub version: &'static str,
    /// Whole seconds since the start.
    pub uptime_s: u64,
}

/// One limit and what is used of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Use {
    /// In use now.
    pub used: u32,
    /// The limit.
    pub max: u32,
}

/// Reply of `GET /v1/capacity`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Capacity {
    /// Call legs.
    pub legs: Use,
    /// Rooms.
    pub rooms: Use,
}

/// `GET /health`.
pub fn health(app: &App) -> Reply {
    if let Some(why) = app.shell.standing_still() {
        return Reply::error(&app.instance_id, &ApiError::Unavailable(why));
    }
    let body =
        Health { status: "ok", version: env!("CARGO_PKG_VERSION"), uptime_s: app.shell.uptime().as_secs() };
    Reply::object(200, &app.instance_id, body)
}

/// `GET /v1/capacity`.
pub fn capacity(app: &App) -> Reply {
    let limits = &app.config.limits;
    let body =
        Capacity { legs: Use { used: 0, max: limits.legs }, rooms: Use { used: 0, max: limits.rooms } };
    Reply::object(200, &app.instance_id, body)
}

/// `GET /metrics`.
pub fn metrics(app: &App) -> Reply {
    let mut out = String::new();
    let uptime = app.shell.uptime().as_secs();
    metric(&mut out, "branchline_uptime_seconds", "gauge", "Seconds since the start.", &[("", uptime)]);
    Reply::text("text/plain; version=0.0.4", out)
}

/// One metric with its samples: label set (as `{a="b"}` or empty) and value.
fn metric(out: &mut String, name: &str, kind: &str, help: &str, samples: &[(&str, u64)]) {
    // Writing into a String cannot fail.
    let _ok = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (labels, value) in samples {
        let _ok = writeln!(out, "{name}{labels} {value}");
    }
}
