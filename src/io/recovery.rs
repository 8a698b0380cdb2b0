//! After a crash or a power cut: recordings are made whole and told of, and every leg that was alive gets the last event it
//! is owed, once.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::clock;
use super::event_ops::{changes, destination, hook_of, item};
use super::outbox::ALIVE;
use super::outbox_fault::{Fault, disk_refuses};
use super::outbox_rows::{LegRow, Op, RecordingRow};
use super::outbox_store::Store;
use super::shell::Shell;
use super::tracks::{are_left, save};
use super::wav_repair::{Facts, examine, repair};
use crate::base::time::Utc;
use crate::config::Config;
use crate::gateway::event::Event;

/// Numbers that are left out of a leg's events after the machine itself went down: some that were told may be
/// forgotten, and none may be used twice.
const JUMP: u64 = 1000;
/// Name of the boot in which the outbox was last written.
const BOOT: &str = "boot";
/// Recordings repaired at one start at most.
const MAX_RECORDINGS: usize = 100_000;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Legs that were alive.
    pub legs: usize,
    /// Recordings that were running.
    pub recordings: usize,
    /// Of these, recordings whose tracks are still to be put together, which takes its time.
    pub tracks: Vec<RecordingRow>,
    /// What the disk does not take now: it is to be told as if it had just happened.
    pub untold: Vec<Event>,
}

/// Tells the outbox the end of all that was alive. Carried out whole or not at all: after another crash it begins anew.
/// A disk that takes nothing (full, read-only) does not keep the gateway from its calls: `untold` has the events then.
///
/// # Errors
/// The outbox cannot be read.
pub fn recover(store: &mut Store, config: &Config, now: Utc) -> Result<Found, Fault> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let same_boot = store.value(BOOT)?.is_none_or(|b| b == boot);
    let alive_ms = store.value(ALIVE)?.and_then(|v| v.parse().ok()).unwrap_or(0);
    let legs = store.legs()?;
    let recordings = store.recordings(Some("recording"), MAX_RECORDINGS)?;
    let count = recordings.len();
    let (tracks, recordings): (Vec<_>, Vec<_>) = recordings.into_iter().partition(|r| are_left(&r.file));
    let mut found = Found { legs: legs.len(), recordings: count, tracks, untold: Vec::new() };
    let mut legs: BTreeMap<String, LegRow> = legs.into_iter().map(|l| (l.id.clone(), l)).collect();
    if !same_boot {
        legs.values_mut().for_each(|l| l.seq += JUMP);
    }
    let mut events = Vec::new();
    for recording in &recordings {
        let leg = recording.leg.as_ref().and_then(|id| legs.get_mut(id));
        events.push(finished(recording, look(&recording.file), leg, now));
    }
    events.extend(legs.values_mut().map(|leg| disconnected(leg, alive_ms, now)));
    let ops = told(&events, config, store.next_row()?);
    match store.apply(&ops) {
        Err(e) if disk_refuses(&e) => {
            log::error!(error:% = e; "the outbox cannot be written: what the last run left is told from memory");
            found.untold = events;
        }
        done => done?,
    }
    match store.keep_value(BOOT, &boot) {
        // The next start takes this one's legs for those of another boot: their numbers jump, and no harm is done.
        Err(e) if disk_refuses(&e) => {}
        done => done?,
    }
    Ok(found)
}

/// What the outbox is told of these events, the first of which has the number `row`.
fn told(events: &[Event], config: &Config, mut row: u64) -> Vec<Op> {
    let mut ops = Vec::new();
    for event in events {
        ops.extend(changes(event));
        if let Some(to) = destination(config, event) {
            ops.push(Op::Event { to, item: item(config, event, row), at_ms: event.at.millis() });
            row += 1;
        }
    }
    ops
}

/// Puts a file right and brings it to the disk. One on a disk that takes nothing is what it is.
fn look(file: &str) -> Result<Facts, String> {
    let path = Path::new(file);
    let facts = repair(path).or_else(|_| examine(path))?;
    if let Err(e) = File::open(file).and_then(|f| f.sync_all()) {
        log::warn!(error:% = e; "a recording that was cut may not have reached the disk");
    }
    Ok(facts)
}

/// The same for the same last word, however often it has to be told because the disk does not take it: as long as the
/// outbox has not forgotten the leg or the recording, neither has it forgotten the number.
fn event_id(kind: &str, of: &str, seq: u64) -> String {
    let digest = Sha256::digest(format!("{kind} {of} {seq}"));
    let mut bytes = [0u8; 16];
    bytes.iter_mut().zip(digest.iter()).for_each(|(b, d)| *b = *d);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

fn finished(
    recording: &RecordingRow,
    repaired: Result<Facts, String>,
    leg: Option<&mut LegRow>,
    now: Utc,
) -> Event {
    let mut fields: Vec<(&'static str, Value)> = vec![
        ("file", recording.file.as_str().into()),
        ("recovered", true.into()),
        ("started_at", Utc::from_millis(recording.started_ms).rfc3339().into()),
    ];
    match repaired {
        Ok(facts) => fields.extend([
            ("bytes", facts.bytes.into()),
            ("duration_ms", facts.duration_ms.into()),
            ("sample_rate", facts.sample_rate.into()),
            ("channel_count", facts.channels.into()),
        ]),
        Err(e) => fields.push(("error", format!("the recording could not be recovered: {e}").into())),
    }
    let hook = leg.as_ref().map_or_else(|| hook_of(&recording.hook), |l| hook_of(&l.hook));
    let leg_seq = leg.map(|l| {
        l.seq += 1;
        l.seq
    });
    Event {
        kind: "recording.finished",
        at: now,
        event_id: event_id("recording.finished", &recording.id, leg_seq.unwrap_or(0)),
        leg_id: recording.leg.clone(),
        leg_seq,
        room_id: recording.room.clone(),
        fields,
        hook,
        upload: recording.upload.clone(),
    }
}

impl Shell {
    /// Puts together what a crash has left of multi-channel recordings, one after the other, and tells of it.
    pub async fn save_tracks(self: Rc<Self>, recordings: Vec<RecordingRow>) {
        for recording in recordings {
            let (file, min_free) = (recording.file.clone(), self.min_free());
            let (facts, saved) = smol::unblock(move || {
                let facts = look(&file);
                let saved = match &facts {
                    Ok(f) => save(&file, f.sample_rate, f.duration_ms, min_free),
                    // The mix is lost; what each of them said is not.
                    Err(_) => save(&file, 0, 0, min_free),
                };
                (facts, saved)
            })
            .await;
            let mut event = finished(&recording, facts, None, clock::now().utc);
            match saved {
                Ok(saved) => event.fields.extend([
                    ("multi_channel_duration_ms", saved.duration_ms.into()),
                    ("multi_channel_file", saved.file.as_str().into()),
                    ("multi_channel_bytes", saved.bytes.into()),
                    ("channels", saved.table()),
                ]),
                Err(e) => event.fields.push(("multi_channel_error", e.into())),
            }
            self.publish(&event);
            self.settle_tracks(&event);
            self.post();
        }
        self.retry_tracks().await;
    }
}

fn disconnected(leg: &mut LegRow, alive_ms: u64, now: Utc) -> Event {
    leg.seq += 1;
    // It lived at least until its last sign of life, and at most until now.
    let end = alive_ms.clamp(leg.created_ms, now.millis().max(leg.created_ms));
    let seconds = |from: u64| (end.saturating_sub(from) as f64 / 10.0).round() / 100.0;
    let cdr = json!({
        "reason": "gateway_restart",
        "duration_total": seconds(leg.created_ms),
        "duration_answered": leg.answered_ms.map_or(0.0, seconds),
    });
    Event {
        kind: "leg.disconnected",
        at: now,
        event_id: event_id("leg.disconnected", &leg.id, leg.seq),
        leg_id: Some(leg.id.clone()),
        leg_seq: Some(leg.seq),
        room_id: None,
        fields: vec![("cdr", cdr)],
        hook: hook_of(&leg.hook),
        upload: None,
    }
}
