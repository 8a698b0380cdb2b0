//! `GET /metrics`: Prometheus text; metrics with the same meaning have the reference product's names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use super::app::App;
use super::endpoint::{Access, Endpoint, Plain, endpoint};
use super::http::reply::Reply;
use super::responses::text;
use crate::gateway::interface::counters::{BUCKETS, Histogram, Numbers, Summary};
use crate::io::system::clock;
use crate::io::system::process::Process;

pub(super) static ENDPOINTS: &[Endpoint] = &[Endpoint {
    access: Access::Open,
    ..endpoint(
        "GET",
        "/metrics",
        "Counters and gauges, Prometheus text",
        &Plain(|c| Ok(metrics(c.app))),
        &[text("text/plain; version=0.0.4")],
    )
}];

/// `GET /metrics`.
fn metrics(app: &App) -> Reply {
    let n = app.driver.look(|view| view.numbers());
    let events = app.driver.events().counts();
    let mut m = Metrics(String::new());
    m.one("branchline_uptime_seconds", "gauge", "Seconds since startup.", app.driver.uptime().as_secs());
    m.one("voiceblender_active_legs", "gauge", "Legs that have not ended.", n.legs.into());
    m.one("voiceblender_active_rooms", "gauge", "Rooms.", n.rooms.into());
    places(&mut m, app);
    let totals = n
        .counters
        .calls
        .reached()
        .iter()
        .map(|((kind, state), v)| (format!("type=\"{kind}\",state=\"{state}\""), *v));
    m.many("voiceblender_legs_total", "counter", "Legs by type and state reached.", totals);
    let reasons = n
        .counters
        .calls
        .reasons()
        .iter()
        .map(|((kind, reason), v)| (format!("type=\"{kind}\",reason=\"{reason}\""), *v));
    m.many("voiceblender_disconnect_reasons_total", "counter", "Legs that ended, by reason.", reasons);
    m.histogram(
        "voiceblender_call_duration_seconds",
        "Duration of calls since the answer, s.",
        n.counters.calls.answered(),
    );
    m.histogram(
        "voiceblender_call_total_duration_seconds",
        "Total duration of calls, s.",
        n.counters.calls.total(),
    );
    m.one("voiceblender_webhook_enqueued_total", "counter", "Events queued.", events.enqueued);
    m.one("voiceblender_webhook_dropped_total", "counter", "Events dropped.", events.dropped);
    let outcomes = |good, bad| {
        [("success", good), ("retry", bad)].into_iter().map(|(o, v)| (format!("outcome=\"{o}\""), v))
    };
    let told = outcomes(events.delivered, events.failed);
    m.many("voiceblender_webhook_deliveries_total", "counter", "Deliveries by outcome.", told);
    let uploads = app.driver.uploads().counts();
    let tried = outcomes(uploads.done, uploads.failed);
    m.many("branchline_uploads_total", "counter", "Upload attempts by outcome.", tried);
    m.one("branchline_webhook_waiting", "gauge", "Events waiting for delivery.", events.waiting);
    let refused = n.counters.signalling.refused.iter().map(|(code, v)| (format!("code=\"{code}\""), *v));
    m.many("branchline_sip_refused_total", "counter", "Calls refused without a leg, by status.", refused);
    m.one(
        "branchline_sip_malformed_total",
        "counter",
        "Datagrams and frames that are not valid SIP messages.",
        n.counters.signalling.malformed,
    );
    m.one(
        "branchline_sip_strangers_total",
        "counter",
        "Requests from outside sip.accept_from.",
        n.counters.signalling.strangers,
    );
    let help = "Messages of unknown sources dropped by the rate limit.";
    m.one("branchline_sip_rate_limited_total", "counter", help, n.counters.signalling.rate_limited);
    let help = "Requests with a wrong name or password.";
    m.one("branchline_sip_wrong_passwords_total", "counter", help, n.counters.signalling.wrong_passwords);
    let help = "Requests refused without checking the password, after too many wrong ones.";
    m.one("branchline_sip_guesses_refused_total", "counter", help, n.counters.signalling.guesses_refused);
    m.one(
        "branchline_sip_failovers_total",
        "counter",
        "Calls retried at another server.",
        n.counters.signalling.failovers,
    );
    media_of_calls(&mut m, &n);
    signalling(&mut m, &n);
    let help = "Datagrams dropped by the kernel because the receive buffer of the SIP port was full.";
    m.one("branchline_sip_udp_dropped_total", "counter", help, app.driver.sip_datagrams_dropped());
    threads(&mut m, app);
    Reply::text("text/plain; version=0.0.4", m.0)
}

/// Media figures of calls.
fn media_of_calls(m: &mut Metrics, n: &Numbers) {
    let media = n.counters.calls.media();
    for (name, help, value) in [
        ("received", "RTP packets received", media.received),
        ("lost", "RTP packets lost", media.lost),
        ("foreign", "RTP packets ignored because of their source", media.foreign),
        ("late", "RTP packets too late for playout", media.late),
        ("concealed_frames", "20 ms frames concealed", media.concealed),
        ("late_ticks", "Late media ticks, per leg", media.late_ticks),
        ("digits_dropped", "DTMF digits dropped: queue full, or far end on hold", media.digits_dropped),
    ] {
        let help = format!("{help}, of ended legs.");
        m.one(&format!("branchline_rtp_{name}_total"), "counter", &help, value);
    }
    let help = "DTMF digits rejected by INFO, or pending when the far end put the call on hold.";
    m.one(
        "branchline_sip_info_digits_dropped_total",
        "counter",
        help,
        n.counters.signalling.info_digits_dropped,
    );
    let units = [
        ("mos", "Mean opinion score"),
        ("jitter_ms", "Jitter in ms"),
        ("rtt_ms", "Round-trip time in ms"),
        ("drift_ppm", "Clock drift in ppm"),
    ];
    for ((name, help), s) in units.into_iter().zip(n.counters.calls.quality()) {
        m.summary(&format!("branchline_call_{name}"), &format!("{help}, of ended legs."), s);
    }
}

/// Connections open, evicted and refused.
fn places(m: &mut Metrics, app: &App) {
    let streams = app.driver.streams();
    let (connections, refused) = (streams.connections(), streams.handshakes().refused());
    let (full, gave_way) = connections.turned_away();
    let sip = "branchline_sip_connections";
    m.one(sip, "gauge", "SIP connections open, over TCP and TLS.", connections.len() as u64);
    m.one(&format!("{sip}_refused_total"), "counter", "SIP connections refused because of the limit.", full);
    m.one(&format!("{sip}_gave_way_total"), "counter", "Idle SIP connections closed for new ones.", gave_way);
    m.one(
        "branchline_sip_handshakes_refused_total",
        "counter",
        "TLS handshakes refused because of the limit per source.",
        refused,
    );
    let (open, gave_way, crowded) = app.clients.counts();
    m.one("branchline_http_connections", "gauge", "HTTP connections open.", open as u64);
    m.one(
        "branchline_http_gave_way_total",
        "counter",
        "Idle HTTP connections closed for new ones.",
        gave_way,
    );
    m.one("branchline_http_crowded_total", "counter", "HTTP connections beyond the limit.", crowded);
}

/// Figures of the SIP transactions.
fn signalling(m: &mut Metrics, n: &Numbers) {
    let (clients, servers) = n.transactions;
    m.one("branchline_sip_transactions", "gauge", "Live SIP transactions.", (clients + servers) as u64);
    m.one("branchline_timers", "gauge", "Running timers of legs and SIP transactions.", n.timers as u64);
    let help = "Memory of SIP server transactions, bytes.";
    m.one("branchline_sip_transaction_bytes", "gauge", help, n.transaction_bytes as u64);
    let help = "Calls refused because of the leg quota of their source, or of all unknown sources.";
    m.one("branchline_sip_calls_over_share_total", "counter", help, n.counters.signalling.calls_over_share);
    let timers = n.sip.timers.iter().map(|(timer, v)| (format!("timer=\"{timer}\""), *v));
    let help = "SIP timers fired: A, E, G retransmit, B, F, H time out.";
    m.many("branchline_sip_timers_total", "counter", help, timers);
    for (name, help, value) in [
        ("stray_responses", "Responses without a matching transaction.", n.sip.stray_responses),
        ("merged", "Merged requests, answered with 482.", n.sip.merged),
        (
            "overload",
            "Requests answered with 503 because of the transaction quota of their source or class.",
            n.sip.overload,
        ),
        ("forgotten", "Client transactions terminated early to free space for new ones.", n.sip.forgotten),
        ("bad_requests", "Malformed requests answered with an error.", n.sip.refused),
    ] {
        m.one(&format!("branchline_sip_{name}_total"), "counter", help, value);
    }
}

/// Media thread and process.
fn threads(m: &mut Metrics, app: &App) {
    let pulse = app.driver.pulse();
    m.one(
        "branchline_media_ticks_total",
        "counter",
        "Media ticks executed.",
        pulse.ticks.load(Ordering::Relaxed),
    );
    m.one(
        "branchline_media_late_total",
        "counter",
        "Media ticks more than 5 ms late.",
        pulse.late.load(Ordering::Relaxed),
    );
    m.one(
        "branchline_media_skipped_total",
        "counter",
        "Media ticks skipped.",
        pulse.skipped.load(Ordering::Relaxed),
    );
    let help = "Live tasks of the control thread.";
    m.one("branchline_tasks", "gauge", help, app.driver.tasks());
    let process = Process::read();
    m.decimal("process_cpu_seconds_total", "counter", "User and system time.", process.cpu_seconds);
    m.one("process_resident_memory_bytes", "gauge", "Resident memory.", process.resident);
    m.one("process_open_fds", "gauge", "Open descriptors.", process.open_fds);
    m.one("process_max_fds", "gauge", "Limit of open descriptors.", process.max_fds);
    let began = clock::now().utc.0.as_secs_f64() - app.driver.uptime().as_secs_f64();
    m.decimal("process_start_time_seconds", "gauge", "Start time, seconds since 1970.", began);
}

/// Prometheus text under construction.
struct Metrics(String);

impl Metrics {
    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.many(name, kind, help, [(String::new(), value)].into_iter());
    }

    fn decimal(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        // Writing into a String cannot fail.
        let _ok = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value:.2}\n");
    }

    fn summary(&mut self, name: &str, help: &str, s: &Summary) {
        let _ok = write!(self.0, "# HELP {name} {help}\n# TYPE {name} summary\n");
        let (count, sum) = s.count_and_sum();
        let _ok = write!(self.0, "{name}_sum {sum:.2}\n{name}_count {count}\n");
    }

    fn histogram(&mut self, name: &str, help: &str, all: &BTreeMap<&'static str, Histogram>) {
        // Writing into a String cannot fail.
        let _ok = write!(self.0, "# HELP {name} {help}\n# TYPE {name} histogram\n");
        for (kind, h) in all {
            for (bound, v) in BUCKETS.iter().zip(h.buckets()) {
                let _ok = writeln!(self.0, "{name}_bucket{{type=\"{kind}\",le=\"{bound}\"}} {v}");
            }
            let (count, sum) = h.count_and_sum();
            let _ok = writeln!(self.0, "{name}_bucket{{type=\"{kind}\",le=\"+Inf\"}} {count}");
            let _ok = writeln!(self.0, "{name}_sum{{type=\"{kind}\"}} {sum:.2}");
            let _ok = writeln!(self.0, "{name}_count{{type=\"{kind}\"}} {count}");
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
