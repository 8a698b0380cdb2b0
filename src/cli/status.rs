//! `branchline status`: status of the gateway as text.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use clap::ArgMatches;
use serde::Deserialize as _;

use super::client::Client;
use super::configuration::Files;
use super::output::say;
use crate::api::status::StatusView;

/// Refresh interval.
const EVERY: Duration = Duration::from_secs(2);

/// Executes the command.
pub(super) fn run(files: &Files, of: &ArgMatches) -> Result<(), String> {
    let client = Client::of(files, of)?;
    if of.get_flag("json") {
        say(&client.get("/status")?.to_string());
        return Ok(());
    }
    if !of.get_flag("watch") {
        say(picture(&ask(&client)?).trim_end());
        return Ok(());
    }
    loop {
        // Keep trying while the gateway restarts.
        let text = ask(&client).map_or_else(|e| format!("{e}\n"), |status| picture(&status));
        // Cursor home, the text with the rest of each line cleared, then clear the rest of the screen.
        let text = text.replace('\n', "\x1b[K\n");
        let mut out = std::io::stdout();
        out.write_all(format!("\x1b[H{text}\x1b[J").as_bytes())
            .and_then(|()| out.flush())
            .map_err(|e| format!("standard output: {e}"))?;
        std::thread::park_timeout(EVERY);
    }
}

fn ask(client: &Client) -> Result<StatusView, String> {
    let json = client.get("/status")?;
    StatusView::deserialize(json)
        .map_err(|e| format!("the gateway is of another version than this program: {e}"))
}

/// The status as text.
fn picture(s: &StatusView) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ok =
        writeln!(out, "branchline {}  {}  up {}  board {}", s.version, s.state, ago(s.uptime_s), s.board);
    let _ok = writeln!(out, "legs      {}", s.legs);
    let _ok = writeln!(out, "rooms     {}", s.rooms);
    let _ok = writeln!(out, "phones    {} registered", s.phones);
    for t in &s.trunks {
        let why = if t.last_error.is_empty() { String::new() } else { format!(": {}", t.last_error) };
        let _ok = writeln!(out, "trunk     {}  {}{why}", t.id, t.status);
    }
    let failing = match s.webhooks_failing {
        0 => String::new(),
        1 => ", 1 webhook failing".to_owned(),
        n => format!(", {n} webhooks failing"),
    };
    let _ok = writeln!(out, "outbox    {} events waiting{failing}", s.events_waiting);
    let _ok = writeln!(out, "uploads   {} wait", s.uploads_waiting);
    for u in &s.uploads {
        let share = u.sent_bytes.min(u.bytes) * 100 / u.bytes.max(1);
        let _ok = writeln!(out, "upload    {}  {share} % of {:.1} MB", u.recording, u.bytes as f64 / 1e6);
    }
    match &s.disk {
        Some(d) => {
            let full = if d.free_bytes < d.reserved_bytes { ": full, recording disabled" } else { "" };
            let _ok = writeln!(out, "disk      {} MB free in {}{full}", d.free_bytes >> 20, d.path);
        }
        None => out.push_str("disk      unknown\n"),
    }
    let _ok = writeln!(out, "memory    {} MB", s.memory_bytes >> 20);
    let _ok = writeln!(out, "media     {} ticks late, {} skipped", s.ticks_late, s.ticks_skipped);
    for f in s.faults.iter().take(10) {
        let _ok = writeln!(out, "{}  {:5} {}", f.at, f.level, f.text);
    }
    out
}

/// A duration in its two largest units.
fn ago(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min {} s", seconds % 60),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_picture_names_what_is_wrong() {
        let status = StatusView::deserialize(json!({
            "state": "damaged", "version": "1", "uptime_s": 90_061, "board": "rpi4", "legs": 3, "rooms": 1,
            "trunks": [{"id": "line", "status": "failed", "last_error": "403 Forbidden"}], "phones": 12,
            "events_waiting": 7, "webhooks_failing": 1, "uploads_waiting": 0,
            "uploads": [{"recording": "a.wav", "sent_bytes": 500_000, "bytes": 2_000_000}],
            "disk": {"path": "/r", "free_bytes": 1 << 20, "reserved_bytes": 32 << 20},
            "memory_bytes": 20 << 20, "ticks_late": 0, "ticks_skipped": 0,
            "faults": [{"at": "2026-01-01T00:00:00Z", "level": "warn", "text": "odd"}]
        }))
        .unwrap();
        let text = picture(&status);
        for line in [
            "branchline 1  damaged  up 1 d 1 h  board rpi4",
            "trunk     line  failed: 403 Forbidden",
            "outbox    7 events waiting, 1 webhook failing",
            "upload    a.wav  25 % of 2.0 MB",
            "disk      1 MB free in /r: full, recording disabled",
            "2026-01-01T00:00:00Z  warn  odd",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert_eq!((ago(59).as_str(), ago(7260).as_str()), ("0 min 59 s", "2 h 1 min"));
    }
}
