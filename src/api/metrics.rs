//! `GET /metrics`: Prometheus text, with the reference product's names where the meaning is the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use super::answer::text;
use super::app::App;
use super::endpoint::{Access, Endpoint, Plain, endpoint};
use super::http::reply::Reply;
use crate::gateway::counters::{BUCKETS, Histogram, Numbers, Summary};
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
    m.one("branchline_uptime_seconds", "gauge", "Seconds since the start.", app.driver.uptime().as_secs());
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
        "Calls from the answer on.",
        n.counters.calls.answered(),
    );
    m.histogram(
        "voiceblender_call_total_duration_seconds",
        "Calls from the beginning on.",
        n.counters.calls.total(),
    );
    m.one("voiceblender_webhook_enqueued_total", "counter", "Events queued.", events.enqueued);
    m.one("voiceblender_webhook_dropped_total", "counter", "Events lost.", events.dropped);
    let outcomes = |good, bad| {
        [("success", good), ("retry", bad)].into_iter().map(|(o, v)| (format!("outcome=\"{o}\""), v))
    };
    let told = outcomes(events.delivered, events.failed);
    m.many("voiceblender_webhook_deliveries_total", "counter", "Deliveries by outcome.", told);
    let uploads = app.driver.uploads().counts();
    let tried = outcomes(uploads.done, uploads.failed);
    m.many("branchline_uploads_total", "counter", "Tries to upload recordings.", tried);
    m.one("branchline_webhook_waiting", "gauge", "Events that wait for delivery.", events.waiting);
    let refused = n.counters.signalling.refused.iter().map(|(code, v)| (format!("code=\"{code}\""), *v));
    m.many("branchline_sip_refused_total", "counter", "Calls refused before they became legs.", refused);
    m.one(
        "branchline_sip_malformed_total",
        "counter",
        "Messages that cannot be used.",
        n.counters.signalling.malformed,
    );
    m.one(
        "branchline_sip_strangers_total",
        "counter",
        "Requests from outside sip.accept_from.",
        n.counters.signalling.strangers,
    );
    let help = "Messages of strangers who asked too much.";
    m.one("branchline_sip_rate_limited_total", "counter", help, n.counters.signalling.rate_limited);
    let help = "Requests with a wrong name or password.";
    m.one("branchline_sip_wrong_passwords_total", "counter", help, n.counters.signalling.wrong_passwords);
    let help = "Requests whose password was not looked at, since too many were wrong.";
    m.one("branchline_sip_guesses_refused_total", "counter", help, n.counters.signalling.guesses_refused);
    m.one(
        "branchline_sip_failovers_total",
        "counter",
        "Calls that went on to another server.",
        n.counters.signalling.failovers,
    );
    media_of_calls(&mut m, &n);
    signalling(&mut m, &n);
    let help =
        "Datagrams for the SIP port that the kernel dropped, as they came faster than they were taken.";
    m.one("branchline_sip_udp_dropped_total", "counter", help, app.driver.sip_datagrams_dropped());
    threads(&mut m, app);
    Reply::text("text/plain; version=0.0.4", m.0)
}

/// How the media of legs travelled.
fn media_of_calls(m: &mut Metrics, n: &Numbers) {
    let media = n.counters.calls.media();
    for (name, help, value) in [
        ("received", "RTP packets taken", media.received),
        ("lost", "RTP packets that never came", media.lost),
        ("foreign", "RTP packets refused, as they came from strangers", media.foreign),
        ("late", "RTP packets too late to be played", media.late),
        ("concealed_frames", "Frames of 20 ms made up", media.concealed),
        ("late_ticks", "Media ticks that began late, of each leg", media.late_ticks),
        ("digits_dropped", "Digits that found a queue full, or the far end on hold", media.digits_dropped),
    ] {
        let help = format!("{help}, of legs that have ended.");
        m.one(&format!("branchline_rtp_{name}_total"), "counter", &help, value);
    }
    let help = "Digits that a far end refused by INFO, or that waited for it when it put the call on hold.";
    m.one(
        "branchline_sip_info_digits_dropped_total",
        "counter",
        help,
        n.counters.signalling.info_digits_dropped,
    );
    let units = [
        ("mos", "Mean opinion score"),
        ("jitter_ms", "Jitter in ms"),
        ("rtt_ms", "Round trip in ms"),
        ("drift_ppm", "Difference of the clocks in ppm"),
    ];
    for ((name, help), s) in units.into_iter().zip(n.counters.calls.quality()) {
        m.summary(&format!("branchline_call_{name}"), &format!("{help}, of legs that have ended."), s);
    }
}

/// Connections, and those that found no place or made room.
fn places(m: &mut Metrics, app: &App) {
    let (connections, refused) = (app.driver.connections().borrow(), app.driver.handshakes_refused());
    let (full, gave_way) = connections.turned_away();
    let sip = "branchline_sip_connections";
    m.one(sip, "gauge", "SIP connections open, over TCP and TLS.", connections.len() as u64);
    m.one(&format!("{sip}_refused_total"), "counter", "SIP connections that found no place.", full);
    m.one(&format!("{sip}_gave_way_total"), "counter", "Idle SIP connections closed for new ones.", gave_way);
    m.one(
        "branchline_sip_handshakes_refused_total",
        "counter",
        "TLS handshakes of sources that had too many.",
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
    m.one("branchline_http_crowded_total", "counter", "HTTP connections that found no place.", crowded);
}

/// What the SIP transactions did.
fn signalling(m: &mut Metrics, n: &Numbers) {
    let (clients, servers) = n.transactions;
    m.one("branchline_sip_transactions", "gauge", "SIP transactions alive.", (clients + servers) as u64);
    m.one("branchline_timers", "gauge", "Timers of legs and of SIP transactions that run.", n.timers as u64);
    let help = "Bytes that SIP server transactions keep.";
    m.one("branchline_sip_transaction_bytes", "gauge", help, n.transaction_bytes as u64);
    let help = "Calls refused, as their source, or all strangers, had as many legs as they may have.";
    m.one("branchline_sip_calls_over_share_total", "counter", help, n.counters.signalling.calls_over_share);
    let timers = n.sip.timers.iter().map(|(timer, v)| (format!("timer=\"{timer}\""), *v));
    let help = "SIP timers that fired: A, E, G repeat a message, B, F, H give up.";
    m.many("branchline_sip_timers_total", "counter", help, timers);
    for (name, help, value) in [
        ("stray_responses", "Responses to no request of ours.", n.sip.stray_responses),
        ("merged", "Requests that came along several paths, answered 482.", n.sip.merged),
        (
            "overload",
            "Requests answered 503, as the transactions of their source or kind were in use.",
            n.sip.overload,
        ),
        ("forgotten", "Finished requests of ours that made room for new ones early.", n.sip.forgotten),
        ("bad_requests", "Malformed requests answered with an error.", n.sip.refused),
    ] {
        m.one(&format!("branchline_sip_{name}_total"), "counter", help, value);
    }
}

/// The media thread and the process.
fn threads(m: &mut Metrics, app: &App) {
    let pulse = app.driver.pulse();
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
    let help = "Tasks of the control thread that are not done.";
    m.one("branchline_tasks", "gauge", help, app.driver.tasks());
    let process = Process::read();
    m.decimal("process_cpu_seconds_total", "counter", "User and system time.", process.cpu_seconds);
    m.one("process_resident_memory_bytes", "gauge", "Resident memory.", process.resident);
    m.one("process_open_fds", "gauge", "Open descriptors.", process.open_fds);
    m.one("process_max_fds", "gauge", "Largest number of descriptors.", process.max_fds);
    let began = clock::now().utc.0.as_secs_f64() - app.driver.uptime().as_secs_f64();
    m.decimal("process_start_time_seconds", "gauge", "Start, seconds since 1970.", began);
}

/// Prometheus text being written.
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
