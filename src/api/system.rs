//! The gateway itself: health, capacity, metrics.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use schemars::JsonSchema;
use serde::Serialize;

use super::dispatch::App;
use super::error::ApiError;
use super::reply::Reply;
use crate::gateway::Gateway;
use crate::gateway::snapshot::{BUCKETS, Histogram};

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
    /// RTP/RTCP port pairs.
    pub rtp_ports: Use,
    /// Playbacks.
    pub playbacks: Use,
    /// Recordings.
    pub recordings: Use,
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
    let n = app.shell.look(Gateway::numbers);
    let body = Capacity {
        // A leg that has ended holds its place until its media has let go.
        legs: Use { used: n.legs.max(n.media), max: limits.legs },
        rooms: Use { used: n.rooms, max: limits.rooms },
        rtp_ports: Use { used: n.ports, max: app.shell.rtp_capacity() },
        playbacks: Use { used: n.playbacks, max: limits.playbacks },
        recordings: Use { used: n.recordings, max: limits.recordings },
    };
    Reply::object(200, &app.instance_id, body)
}

/// `GET /metrics`.
pub fn metrics(app: &App) -> Reply {
    let n = app.shell.look(Gateway::numbers);
    let events = app.shell.event_counts();
    let pulse = app.shell.pulse();
    let mut m = Metrics(String::new());
    m.one("branchline_uptime_seconds", "gauge", "Seconds since the start.", app.shell.uptime().as_secs());
    m.one("voiceblender_active_legs", "gauge", "Legs that have not ended.", n.legs.into());
    m.one("voiceblender_active_rooms", "gauge", "Rooms.", n.rooms.into());
    let totals =
        n.legs_total.iter().map(|((kind, state), v)| (format!("type=\"{kind}\",state=\"{state}\""), *v));
    m.many("voiceblender_legs_total", "counter", "Legs by type and state reached.", totals);
    let reasons =
        n.reasons.iter().map(|((kind, reason), v)| (format!("type=\"{kind}\",reason=\"{reason}\""), *v));
    m.many("voiceblender_disconnect_reasons_total", "counter", "Legs that ended, by reason.", reasons);
    m.histogram("voiceblender_call_duration_seconds", "Calls from the answer on.", &n.answered);
    m.histogram("voiceblender_call_total_duration_seconds", "Calls from the beginning on.", &n.total);
    m.one("voiceblender_webhook_enqueued_total", "counter", "Events queued.", events.enqueued);
    m.one("voiceblender_webhook_dropped_total", "counter", "Events lost.", events.dropped);
    let outcomes = [("success", events.delivered), ("retry", events.failed)];
    let outcomes = outcomes.into_iter().map(|(o, v)| (format!("outcome=\"{o}\""), v));
    m.many("voiceblender_webhook_deliveries_total", "counter", "Deliveries by outcome.", outcomes);
    m.one("branchline_webhook_waiting", "gauge", "Events that wait for delivery.", events.waiting);
    let refused = n.refused.iter().map(|(code, v)| (format!("code=\"{code}\""), *v));
    m.many("branchline_sip_refused_total", "counter", "Calls refused before they became legs.", refused);
    m.one("branchline_sip_malformed_total", "counter", "Messages that cannot be used.", n.malformed);
    m.one("branchline_sip_strangers_total", "counter", "Requests from outside sip.accept_from.", n.strangers);
    let help = "Messages of strangers who asked too much.";
    m.one("branchline_sip_rate_limited_total", "counter", help, n.rate_limited);
    let help = "Requests with a wrong name or password.";
    m.one("branchline_sip_wrong_passwords_total", "counter", help, n.wrong_passwords);
    m.one("branchline_sip_failovers_total", "counter", "Calls that went on to another server.", n.failovers);
    let media = n.media_totals;
    for (name, help, value) in [
        ("received", "RTP packets taken", media.received),
        ("lost", "RTP packets that never came", media.lost),
        ("foreign", "RTP packets refused, as they came from strangers", media.foreign),
        ("late", "RTP packets too late to be played", media.late),
        ("concealed_frames", "Frames of 20 ms made up", media.concealed),
        ("digits_dropped", "Digits that found a queue full", media.digits_dropped),
    ] {
        let help = format!("{help}, of legs that have ended.");
        m.one(&format!("branchline_rtp_{name}_total"), "counter", &help, value);
    }
    let (clients, servers) = n.transactions;
    m.one("branchline_sip_transactions", "gauge", "SIP transactions alive.", (clients + servers) as u64);
    let timers = n.sip.timers.iter().map(|(timer, v)| (format!("timer=\"{timer}\""), *v));
    let help = "SIP timers that fired: A, E, G repeat a message, B, F, H give up.";
    m.many("branchline_sip_timers_total", "counter", help, timers);
    for (name, help, value) in [
        ("stray_responses", "Responses to no request of ours.", n.sip.stray_responses),
        ("merged", "Requests that came along several paths, answered 482.", n.sip.merged),
        ("overload", "Requests answered 503, as all transactions were in use.", n.sip.overload),
        ("forgotten", "Finished requests of ours that made room for new ones early.", n.sip.forgotten),
        ("bad_requests", "Malformed requests answered with an error.", n.sip.refused),
    ] {
        m.one(&format!("branchline_sip_{name}_total"), "counter", help, value);
    }
    m.one(
        "branchline_media_ticks_total",
        "counter",
        "Media ticks done.",
        pulse.ticks.load(Ordering::Relaxed),
    );
    m.one(
        "branchline_media_late_total",
        "counter",
        "Ticks over 5 ms late.",
        pulse.late.load(Ordering::Relaxed),
    );
    m.one(
        "branchline_media_skipped_total",
        "counter",
        "Ticks left out.",
        pulse.skipped.load(Ordering::Relaxed),
    );
    Reply::text("text/plain; version=0.0.4", m.0)
}

/// Prometheus text being written.
struct Metrics(String);

impl Metrics {
    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.many(name, kind, help, [(String::new(), value)].into_iter());
    }

    fn histogram(&mut self, name: &str, help: &str, all: &BTreeMap<&'static str, Histogram>) {
        // Writing into a String cannot fail.
        let _ok = write!(self.0, "# HELP {name} {help}\n# TYPE {name} histogram\n");
        for (kind, h) in all {
            for (bound, v) in BUCKETS.iter().zip(h.buckets) {
                let _ok = writeln!(self.0, "{name}_bucket{{type=\"{kind}\",le=\"{bound}\"}} {v}");
            }
            let _ok = writeln!(self.0, "{name}_bucket{{type=\"{kind}\",le=\"+Inf\"}} {}", h.count);
            let _ok = writeln!(self.0, "{name}_sum{{type=\"{kind}\"}} {:.2}", h.sum);
            let _ok = writeln!(self.0, "{name}_count{{type=\"{kind}\"}} {}", h.count);
        }
    }

    fn many(&mut self, name: &str, kind: &str, help: &str, samples: impl Iterator<Item = (String, u64)>) {
        // Writing into a String cannot fail.
        let _ok = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in samples {
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            let _ok = writeln!(self.0, "{name}{labels} {value}");
        }
    }
}
