//! Recovery after a crash or power cut: recordings are repaired and reported, and each leg that was active
//! gets its terminal event exactly once.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use super::track_merge::{are_left, save};
use super::track_retry::TrackRetry;
use crate::base::time::Utc;
use crate::config::Config;
use crate::delivery::share::Origin;
use crate::gateway::events::{CallRecord, Event, EventBody, LegDisconnected, RecordingFinished};
use crate::io::events::outbox_ops::{changes, destination, hook_of, item};
use crate::io::events::pipeline::EventPipeline;
use crate::io::outbox::fault::{Fault, disk_refuses};
use crate::io::outbox::rows::{LegRow, Op, RecordingRow};
use crate::io::outbox::store::Store;
use crate::io::outbox::thread::ALIVE;
use crate::io::system::clock;
use crate::io::system::settings::Settings;
use crate::io::system::workers::{FILES, WorkError};
use crate::io::wav::repair::{Facts, examine, repair};

/// Gap in a leg's event numbers after a reboot: the last numbers reported may have been lost, and none may be
/// reused.
const JUMP: u64 = 1000;
/// Key of the boot id with which the outbox was last written.
const BOOT: &str = "boot";
/// Maximum recordings repaired per start.
const MAX_RECORDINGS: usize = 100_000;

/// Result of the recovery.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Legs that were active.
    pub legs: usize,
    /// Recordings that were running.
    pub recordings: usize,
    /// Those of them with tracks still to be merged, which takes time.
    pub tracks: Vec<RecordingRow>,
    /// Events that the disk could not store: to be published as new events.
    pub untold: Vec<Event>,
}

/// Writes the terminal events of everything that was active to the outbox, in one transaction: after another
/// crash it is repeated. If the disk cannot be written, the gateway still starts: the events are in `untold`.
///
/// # Errors
/// The outbox cannot be read.
pub fn recover(store: &mut Store, config: &Config, now: Utc) -> Result<Found, Fault> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let same_boot = store.value(BOOT)?.is_none_or(|b| is_same_boot(&b, &boot));
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
        let body = remains_of(recording, look(&recording.file));
        events.push(finished(recording, body, leg, now));
    }
    events.extend(legs.values_mut().map(|leg| disconnected(leg, alive_ms, now)));
    let ops = told(&events, config, store.next_row()?);
    match store.apply(&ops) {
        Err(e) if disk_refuses(&e) => {
            log::error!(error:% = e; "the outbox cannot be written: terminal events of the last run are sent from memory");
            found.untold = events;
        }
        done => done?,
    }
    match store.keep_value(BOOT, &boot) {
        // The next start then assumes a reboot: event numbers have a gap, which is harmless.
        Err(e) if disk_refuses(&e) => {}
        done => done?,
    }
    Ok(found)
}

/// True if the outbox was last written in this boot. A service without access to the boot id
/// (`ProcSubset=pid`) treats each start as a reboot: event numbers have gaps, but none is reused.
fn is_same_boot(noted: &str, this: &str) -> bool {
    !this.is_empty() && noted == this
}

/// Outbox operations for these events, the first of which gets the row number `row`.
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

/// Properties of an interrupted recording's file, and the error if it could not be repaired.
struct Remains {
    facts: Option<Facts>,
    error: Option<String>,
}

/// Repairs a file and syncs it. If the disk cannot be written, the file is described as it is.
fn look(file: &str) -> Remains {
    let path = Path::new(file);
    let sync = || File::open(path).and_then(|f| f.sync_all()).map_err(|e| e.to_string());
    match repair(path) {
        Ok(facts) => Remains { facts: Some(facts), error: sync().err() },
        Err(why) => Remains { facts: examine(path).ok(), error: Some(why) },
    }
}

/// A deterministic id, so that a terminal event that is repeated because it could not be stored has the same
/// id, even after a reboot changed its number. Each leg and recording has only one such event.
fn event_id(kind: &str, of: &str) -> String {
    let digest = Sha256::digest(format!("{kind} {of}"));
    let mut bytes = [0u8; 16];
    bytes.iter_mut().zip(digest.iter()).for_each(|(b, d)| *b = *d);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// Event body for an interrupted recording.
fn remains_of(recording: &RecordingRow, remains: Remains) -> RecordingFinished {
    let mut body = RecordingFinished {
        file: recording.file.clone(),
        recovered: true,
        started_at: Utc::from_millis(recording.started_ms).rfc3339(),
        error: remains.error.map(|e| format!("the recording could not be recovered: {e}").into()),
        ..RecordingFinished::default()
    };
    if let Some(facts) = remains.facts {
        body.bytes = Some(facts.bytes);
        body.duration_ms = Some(facts.duration_ms);
        body.sample_rate = Some(facts.sample_rate);
        body.channel_count = Some(facts.channels);
    }
    body
}

fn finished(recording: &RecordingRow, body: RecordingFinished, leg: Option<&mut LegRow>, now: Utc) -> Event {
    let webhook = leg.as_ref().map_or_else(|| hook_of(&recording.hook), |l| hook_of(&l.hook));
    let leg_seq = leg.map(|l| {
        l.seq += 1;
        l.seq
    });
    let body = EventBody::RecordingFinished(body);
    Event {
        at: now,
        event_id: event_id(body.kind(), &recording.id),
        leg_id: recording.leg.clone(),
        leg_seq,
        room_id: recording.room.clone(),
        body,
        webhook,
        origin: Origin::Own,
        upload: recording.upload.clone(),
    }
}

/// Merges the tracks of multi-channel recordings interrupted by a crash, one after the other, and publishes
/// the result.
pub async fn save_tracks(
    settings: Settings,
    events: Rc<EventPipeline>,
    tracks: Rc<TrackRetry>,
    recordings: Vec<RecordingRow>,
) {
    for recording in recordings {
        let (file, min_free) = (recording.file.clone(), settings.min_free());
        let looked = FILES.run(move || {
            let remains = look(&file);
            // If the mix is lost, the tracks can still be merged.
            let (rate, ms) = remains.facts.map_or((0, 0), |f| (f.sample_rate, f.duration_ms));
            (remains, save(&file, rate, ms, min_free))
        });
        let none = |e: WorkError| {
            let why = e.to_string();
            (Remains { facts: None, error: Some(why.clone()) }, Err(why))
        };
        let (remains, saved) = looked.await.unwrap_or_else(none);
        let mut body = remains_of(&recording, remains);
        match saved {
            Ok(saved) => {
                body.channels = Some(saved.table());
                body.multi_channel_duration_ms = Some(saved.duration_ms);
                body.multi_channel_bytes = Some(saved.bytes);
                body.multi_channel_file = Some(saved.file);
            }
            Err(e) => body.multi_channel_error = Some(e.into()),
        }
        let event = finished(&recording, body, None, clock::now().utc);
        events.publish(&event);
        tracks.settle(&event);
        events.flush();
    }
    tracks.retry().await;
}

fn disconnected(leg: &mut LegRow, alive_ms: u64, now: Utc) -> Event {
    leg.seq += 1;
    // Its end is estimated by the last heartbeat, and is not later than now.
    let end = alive_ms.clamp(leg.created_ms, now.millis().max(leg.created_ms));
    let seconds = |from: u64| (end.saturating_sub(from) as f64 / 10.0).round() / 100.0;
    let cdr = CallRecord {
        reason: "gateway_restart".into(),
        duration_total: seconds(leg.created_ms),
        duration_answered: leg.answered_ms.map_or(0.0, seconds),
    };
    let body = EventBody::LegDisconnected(LegDisconnected { cdr, quality: None });
    Event {
        at: now,
        event_id: event_id(body.kind(), &leg.id),
        leg_id: Some(leg.id.clone()),
        leg_seq: Some(leg.seq),
        room_id: None,
        body,
        webhook: hook_of(&leg.hook),
        origin: Origin::Own,
        upload: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::outbox::judge::Known;

    #[test]
    fn a_missing_boot_id_counts_as_a_reboot() {
        assert!(is_same_boot("a", "a") && !is_same_boot("a", "b"));
        assert!(!is_same_boot("", "") && !is_same_boot("", "a") && !is_same_boot("a", ""));
    }

    #[test]
    fn terminal_events_that_cannot_be_stored_keep_their_ids_over_reboots() {
        let dir = std::env::temp_dir().join(format!("branchline-again-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut store = Store::open(&dir, Known::default()).unwrap();
        let file = dir.join("r.wav").to_str().unwrap().to_owned();
        std::fs::write(&file, "no sound").unwrap();
        let leg = LegRow { id: "l".into(), seq: 3, created_ms: 1, ..LegRow::default() };
        let row = RecordingRow {
            id: "r.wav".into(),
            file,
            leg: Some("l".into()),
            state: "recording".into(),
            ..RecordingRow::default()
        };
        store.apply(&[Op::Leg(leg), Op::Recording(Box::new(row))]).unwrap();
        let config = crate::config::load(&crate::config::Sources { file: None, env: &[] }).unwrap();
        let now = Utc::from_millis(1_800_000_000_000);
        let mut told = |boot: &str| {
            store.set_refusing(false);
            store.keep_value(BOOT, boot).unwrap();
            store.set_refusing(true);
            recover(&mut store, &config, now).unwrap().untold
        };
        let this = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let (first, again, rebooted) = (told(&this), told(&this), told("another"));
        let ids = |events: &[Event]| events.iter().map(|e| e.event_id.clone()).collect::<Vec<_>>();
        let numbers = |events: &[Event]| events.iter().map(|e| e.leg_seq.unwrap()).collect::<Vec<_>>();
        assert_eq!((ids(&again), ids(&rebooted)), (ids(&first), ids(&first)));
        assert_ne!(first[0].event_id, first[1].event_id);
        assert_eq!((numbers(&first), numbers(&rebooted)), (vec![4, 5], vec![1004, 1005]));
        assert!(first[0].to_json("")["error"].is_string(), "it is not a recording");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
