//! From an event to where it goes and to what the outbox keeps of it.

use std::sync::Arc;

use serde_json::Value;

use super::outbox_rows::{LegRow, Op, RecordingRow, UPLOADING};
use super::wav_repair::HEADER;
use crate::base::time::Utc;
use crate::config::Config;
use crate::deliver::events::{Destination, Item};
use crate::gateway::event::{Event, Hook};

/// Where an event goes: to its own webhook, else the global one, else nowhere.
#[must_use]
pub fn destination(config: &Config, event: &Event) -> Option<Destination> {
    match &event.hook {
        Some(hook) => Some(Destination {
            url: hook.url.clone(),
            secret: hook.secret.clone().unwrap_or_default(),
            trusted: false,
        }),
        None if config.webhook.url.is_empty() => None,
        None => Some(Destination {
            url: config.webhook.url.clone(),
            secret: config.webhook.secret.reveal().to_owned(),
            trusted: true,
        }),
    }
}

/// The event as it will be delivered.
#[must_use]
pub fn item(config: &Config, event: &Event, row: u64) -> Item {
    let body = event.to_json(&config.instance_id).to_string();
    log::debug!(body = body; "event");
    Item {
        row,
        leg: event.leg_id.as_deref().map(Arc::from),
        event_id: event.event_id.clone(),
        body: body.into_bytes().into(),
        terminal: event.is_terminal(),
        origin: event.origin,
        stored: false,
    }
}

/// What the outbox keeps of legs and recordings, beside the event itself.
#[must_use]
pub fn changes(event: &Event) -> Vec<Op> {
    let mut out = Vec::new();
    let at_ms = event.at.millis();
    if let (Some(id), Some(seq)) = (&event.leg_id, event.leg_seq) {
        if event.kind == "leg.disconnected" {
            out.push(Op::LegGone(id.clone()));
        } else {
            let answered_ms = (event.kind == "leg.connected").then_some(at_ms);
            out.push(Op::Leg(LegRow {
                id: id.clone(),
                seq,
                created_ms: at_ms,
                answered_ms,
                hook: own_hook(event),
            }));
        }
    }
    match event.kind {
        "recording.started" | "recording.finished" => {
            let row = recording(event);
            out.extend(merged(event, &row).map(|r| Op::Recording(Box::new(r))));
            out.push(Op::Recording(Box::new(row)));
        }
        "recording.uploaded" => {
            out.push(Op::Uploaded {
                id: base_name(text(event, "local_file")),
                location: text(event, "file").to_owned(),
            });
        }
        "recording.upload_failed" => out.push(Op::NotUploaded(base_name(text(event, "file")))),
        _ => {}
    }
    out
}

/// A webhook as the outbox keeps it.
fn own_hook(event: &Event) -> Option<(String, String)> {
    event.hook.as_ref().map(|h| (h.url.clone(), h.secret.clone().unwrap_or_default()))
}

/// A webhook that the outbox has kept.
pub(super) fn hook_of(kept: &Option<(String, String)>) -> Option<Hook> {
    let (url, secret) = kept.clone()?;
    Some(Hook { url, secret: Some(secret).filter(|s| !s.is_empty()) })
}

fn field<'a>(event: &'a Event, key: &str) -> Option<&'a Value> {
    event.fields.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
}

/// A field of an event; empty: it has none, or it is no text.
pub(super) fn text<'a>(event: &'a Event, key: &str) -> &'a str {
    field(event, key).and_then(Value::as_str).unwrap_or_default()
}

/// What is kept of a recording that has begun or is over.
fn recording(event: &Event) -> RecordingRow {
    let number = |key: &str| field(event, key).and_then(Value::as_u64).unwrap_or(0);
    let file = text(event, "file").to_owned();
    let bytes = number("bytes");
    let failed = field(event, "error").is_some();
    let state = match (event.kind, &event.upload) {
        ("recording.started", _) => "recording",
        // What was written before the disk failed is worth its upload, too.
        (_, Some(_)) if !failed || bytes > HEADER => UPLOADING,
        _ if failed => "failed",
        _ => "finished",
    };
    RecordingRow {
        id: base_name(&file),
        file,
        leg: event.leg_id.clone(),
        room: event.room_id.clone(),
        state: state.to_owned(),
        started_ms: Utc::parse(text(event, "started_at")).unwrap_or(event.at).millis(),
        bytes,
        duration_ms: number("duration_ms"),
        sample_rate: u32::try_from(number("sample_rate")).unwrap_or(0),
        channels: u16::try_from(number("channel_count")).unwrap_or(0),
        // A leg's own is with the leg, which may be gone when the upload is done.
        hook: if event.leg_id.is_some() && event.upload.is_none() { None } else { own_hook(event) },
        upload: event.upload.clone(),
        location: None,
        upload_id: None,
    }
}

/// The file with all channels of a recording, which is kept like one of its own.
fn merged(event: &Event, mix: &RecordingRow) -> Option<RecordingRow> {
    let file = Some(text(event, "multi_channel_file")).filter(|f| !f.is_empty())?.to_owned();
    let number = |of: &Value| of.get("channel").and_then(Value::as_u64);
    let legs = field(event, "channels").and_then(Value::as_object);
    let channels =
        legs.into_iter().flat_map(serde_json::Map::values).filter_map(number).max().map_or(0, |c| c + 1);
    let long = field(event, "multi_channel_duration_ms").and_then(Value::as_u64);
    Some(RecordingRow {
        id: base_name(&file),
        file,
        state: if mix.upload.is_some() { UPLOADING.to_owned() } else { "finished".to_owned() },
        bytes: field(event, "multi_channel_bytes").and_then(Value::as_u64).unwrap_or(0),
        channels: u16::try_from(channels).unwrap_or(u16::MAX),
        duration_ms: long.unwrap_or(mix.duration_ms),
        ..mix.clone()
    })
}

/// The last part of a path.
#[must_use]
pub fn base_name(file: &str) -> String {
    file.rsplit('/').next().unwrap_or_default().to_owned()
}
