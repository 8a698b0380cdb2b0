//! Maps events to their destination and to outbox operations.

use std::sync::Arc;

use crate::base::time::Utc;
use crate::config::Config;
use crate::delivery::events::{Destination, Item};
use crate::gateway::events::{Event, EventBody, RecordingFinished, Webhook};
use crate::io::outbox::rows::{LegRow, Op, RecordingRow, UPLOADING, base_name};
use crate::io::wav::repair::HEADER;

/// Destination of an event: its own webhook, otherwise the global one, if any.
#[must_use]
pub fn destination(config: &Config, event: &Event) -> Option<Destination> {
    match &event.webhook {
        Some(webhook) => Some(Destination {
            url: webhook.url.clone(),
            secret: webhook.secret.clone().unwrap_or_default(),
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

/// The event in the form that is delivered.
#[must_use]
pub fn item(config: &Config, event: &Event, row: u64) -> Item {
    let body = event.to_text(&config.instance_id);
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

/// Changes of legs and recordings in the outbox caused by an event.
#[must_use]
pub fn changes(event: &Event) -> Vec<Op> {
    let mut out = Vec::new();
    let at_ms = event.at.millis();
    if let (Some(id), Some(seq)) = (&event.leg_id, event.leg_seq) {
        if matches!(event.body, EventBody::LegDisconnected(_)) {
            out.push(Op::LegGone(id.clone()));
        } else {
            let answered_ms = matches!(event.body, EventBody::LegConnected(_)).then_some(at_ms);
            out.push(Op::Leg(LegRow {
                id: id.clone(),
                seq,
                created_ms: at_ms,
                answered_ms,
                hook: own_hook(event),
            }));
        }
    }
    if let EventBody::RecordingStarted(body) = &event.body {
        let row = recording(event, &body.file, &body.started_at);
        out.push(Op::Recording(Box::new(RecordingRow { state: "recording".to_owned(), ..row })));
    } else if let EventBody::RecordingFinished(body) = &event.body {
        let row = finished(event, body);
        out.extend(merged(body, &row).map(|r| Op::Recording(Box::new(r))));
        out.push(Op::Recording(Box::new(row)));
    } else if let EventBody::RecordingUploaded(body) = &event.body {
        out.push(Op::Uploaded { id: base_name(&body.local_file), location: body.file.clone() });
    } else if let EventBody::RecordingUploadFailed(body) = &event.body {
        out.push(Op::NotUploaded(base_name(&body.file)));
    }
    out
}

/// The webhook of an event in the form stored in the outbox.
fn own_hook(event: &Event) -> Option<(String, String)> {
    event.webhook.as_ref().map(|h| (h.url.clone(), h.secret.clone().unwrap_or_default()))
}

/// A webhook stored in the outbox.
pub(in crate::io) fn hook_of(kept: &Option<(String, String)>) -> Option<Webhook> {
    let (url, secret) = kept.clone()?;
    Some(Webhook { url, secret: Some(secret).filter(|s| !s.is_empty()) })
}

/// Row of a recording, common to all states.
fn recording(event: &Event, file: &str, started_at: &str) -> RecordingRow {
    RecordingRow {
        id: base_name(file),
        file: file.to_owned(),
        leg: event.leg_id.clone(),
        room: event.room_id.clone(),
        started_ms: Utc::parse(started_at).unwrap_or(event.at).millis(),
        // A leg's own webhook is stored with the leg, which may be gone when the upload is done.
        hook: if event.leg_id.is_some() && event.upload.is_none() { None } else { own_hook(event) },
        upload: event.upload.clone(),
        ..RecordingRow::default()
    }
}

/// Row of a finished recording.
fn finished(event: &Event, body: &RecordingFinished) -> RecordingRow {
    let (failed, bytes) = (body.error.is_some(), body.bytes.unwrap_or(0));
    let state = match &event.upload {
        // Audio written before the disk failed is uploaded, too.
        Some(_) if !failed || bytes > HEADER => UPLOADING,
        _ if failed => "failed",
        _ => "finished",
    };
    RecordingRow {
        state: state.to_owned(),
        bytes,
        duration_ms: body.duration_ms.unwrap_or(0),
        sample_rate: body.sample_rate.unwrap_or(0),
        channels: body.channel_count.unwrap_or(0),
        ..recording(event, &body.file, &body.started_at)
    }
}

/// Row of the merged multi-channel file, stored as a separate recording.
fn merged(body: &RecordingFinished, mix: &RecordingRow) -> Option<RecordingRow> {
    let file = body.multi_channel_file.clone()?;
    let highest = body.channels.iter().flat_map(|c| c.values()).map(|span| span.channel).max();
    Some(RecordingRow {
        id: base_name(&file),
        file,
        state: if mix.upload.is_some() { UPLOADING.to_owned() } else { "finished".to_owned() },
        bytes: body.multi_channel_bytes.unwrap_or(0),
        channels: u16::try_from(highest.map_or(0, |c| c + 1)).unwrap_or(u16::MAX),
        duration_ms: body.multi_channel_duration_ms.unwrap_or(mix.duration_ms),
        ..mix.clone()
    })
}
