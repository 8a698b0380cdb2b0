//! Rows of the outbox, and the changes applied by events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::fault::Fault;
use crate::config::Place;
use crate::delivery::events::{Destination, Item};

/// Approximate size of an event row without body, bytes.
pub(super) const ROW: u64 = 160;
/// Maximum target ids cached.
const MAX_KNOWN: usize = 2048;

/// A change of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// An event to be delivered.
    Event {
        /// Destination.
        to: Destination,
        /// The event.
        item: Item,
        /// Time, ms since 1970.
        at_ms: u64,
    },
    /// An event was delivered or dropped.
    Done(u64),
    /// A leg is active, with the number of its last event.
    Leg(LegRow),
    /// A leg has ended.
    LegGone(String),
    /// A recording was started or changed.
    Recording(Box<RecordingRow>),
    /// A recording was deleted.
    RecordingGone(String),
    /// A recording was uploaded to a bucket.
    Uploaded {
        /// Its id.
        id: String,
        /// Location, as `s3://…`.
        location: String,
    },
    /// Access keys from the request are no longer needed for an uploaded recording.
    ForgetKeys(String),
    /// The upload of a recording failed permanently.
    NotUploaded(String),
    /// A multipart upload of a recording was started with this upload id, or has ended.
    Multipart(String, Option<String>),
}

impl Op {
    /// Corrects times recorded while the clock was wrong: from, until, and correction in ms.
    pub(super) fn set_times(&mut self, set: &[(u64, u64, u64)]) {
        if set.is_empty() {
            return;
        }
        let right = |time: &mut u64| {
            for (from, until, step) in set {
                if (*from..=*until).contains(time) {
                    *time = time.saturating_add(*step);
                }
            }
        };
        match self {
            Self::Event { at_ms, .. } => right(at_ms),
            Self::Recording(r) => right(&mut r.started_ms),
            Self::Leg(l) => {
                right(&mut l.created_ms);
                l.answered_ms.iter_mut().for_each(right);
            }
            Self::Done(_)
            | Self::LegGone(_)
            | Self::RecordingGone(_)
            | Self::Uploaded { .. }
            | Self::ForgetKeys(_)
            | Self::NotUploaded(_)
            | Self::Multipart(..) => {}
        }
    }
}

/// An active leg.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LegRow {
    /// Its id.
    pub id: String,
    /// Number of its last event.
    pub seq: u64,
    /// Creation time, ms since 1970; only the first value is stored.
    pub created_ms: u64,
    /// Time of the answer, ms since 1970.
    pub answered_ms: Option<u64>,
    /// Its own webhook: URL and secret.
    pub hook: Option<(String, String)>,
}

/// The base name of a path, which is the id of a recording.
#[must_use]
pub fn base_name(file: &str) -> String {
    file.rsplit('/').next().unwrap_or_default().to_owned()
}

/// State of a recording that has ended and waits for its upload.
pub const UPLOADING: &str = "uploading";
/// State of a recording that was uploaded and is no longer stored locally.
pub const UPLOADED: &str = "uploaded";

/// A recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordingRow {
    /// Base name of its file.
    pub id: String,
    /// Path of its file.
    pub file: String,
    /// Id of the recorded leg.
    pub leg: Option<String>,
    /// Id of the recorded room.
    pub room: Option<String>,
    /// `recording`, `finished`, `failed`, [`UPLOADING`] or [`UPLOADED`].
    pub state: String,
    /// Start, ms since 1970.
    pub started_ms: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Length of the audio, ms.
    pub duration_ms: u64,
    /// Sampling rate, Hz.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
    /// Webhook of the room, or of a leg that may be gone before the upload: URL and secret.
    pub hook: Option<(String, String)>,
    /// Upload destination.
    pub upload: Option<Arc<Place>>,
    /// Location, as `s3://…`.
    pub location: Option<String>,
    /// Id of its multipart upload.
    pub upload_id: Option<String>,
}

/// A destination in stored form.
#[must_use]
pub fn place_text(place: &Place) -> String {
    serde_json::to_string(place).unwrap_or_default()
}

/// Applies one change.
pub(super) fn apply(db: &Connection, targets: &mut Targets, held: &mut u64, op: &Op) -> Result<(), Fault> {
    match op {
        Op::Event { to, item, at_ms } => {
            let target = targets.number_of(db, to)?;
            let mut put = db.prepare_cached(
                "INSERT OR REPLACE INTO event(id, target, at, terminal, leg, event_id, body, origin)
                 VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
            )?;
            let leg = item.leg.as_deref();
            let (body, origin) = (&item.body[..], item.origin.to_string());
            put.execute(params![item.row, target, at_ms, item.terminal, leg, item.event_id, body, origin])?;
            *held += item.body.len() as u64 + ROW;
        }
        Op::Done(row) => {
            let mut ask =
                db.prepare_cached("DELETE FROM event WHERE id = ?1 RETURNING LENGTH(body), target")?;
            let gone: Option<(u64, i64)> = ask.query_row([row], |r| Ok((r.get(0)?, r.get(1)?))).optional()?;
            if let Some((size, target)) = gone {
                *held = held.saturating_sub(size + ROW);
                targets.touched.insert(target);
            }
        }
        Op::Leg(leg) => {
            let mut put = db.prepare_cached(
                "INSERT INTO leg(id, seq, created, answered, url, secret) VALUES(?1,?2,?3,?4,?5,?6)
                 ON CONFLICT(id) DO UPDATE SET seq = MAX(seq, ?2), answered = COALESCE(answered, ?4)",
            )?;
            let (url, secret) = leg.hook.as_ref().map(|(u, s)| (u.as_str(), s.as_str())).unzip();
            put.execute(params![leg.id, leg.seq, leg.created_ms, leg.answered_ms, url, secret])?;
        }
        Op::LegGone(id) => {
            db.prepare_cached("DELETE FROM leg WHERE id = ?1")?.execute([id])?;
        }
        Op::Recording(r) => keep_recording(db, r)?,
        Op::RecordingGone(id) => {
            db.prepare_cached("DELETE FROM recording WHERE id = ?1")?.execute([id])?;
        }
        Op::Uploaded { id, location } => {
            let set = "UPDATE recording SET state = ?2, location = ?3, upload_id = NULL WHERE id = ?1";
            db.prepare_cached(set)?.execute([id.as_str(), UPLOADED, location])?;
        }
        Op::ForgetKeys(id) => {
            let set = "UPDATE recording SET upload = json_set(upload, '$.keys', NULL)
                       WHERE id = ?1 AND state = ?2 AND upload IS NOT NULL";
            db.prepare_cached(set)?.execute([id.as_str(), UPLOADED])?;
        }
        Op::NotUploaded(id) => {
            db.prepare_cached("UPDATE recording SET state = 'failed' WHERE id = ?1")?.execute([id])?;
        }
        Op::Multipart(id, upload_id) => {
            let set = "UPDATE recording SET upload_id = ?2 WHERE id = ?1";
            db.prepare_cached(set)?.execute(params![id, upload_id])?;
        }
    }
    Ok(())
}

fn keep_recording(db: &Connection, r: &RecordingRow) -> Result<(), Fault> {
    let mut put = db.prepare_cached(
        "INSERT OR REPLACE INTO recording(id, file, leg, room, state, started, bytes, duration, rate, channels, url,
         secret, upload, location, upload_id) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)",
    )?;
    let (url, secret) = r.hook.as_ref().map(|(u, s)| (u.as_str(), s.as_str())).unzip();
    put.execute(params![
        r.id,
        r.file,
        r.leg,
        r.room,
        r.state,
        r.started_ms,
        r.bytes,
        r.duration_ms,
        r.sample_rate,
        r.channels,
        url,
        secret,
        r.upload.as_deref().map(place_text),
        r.location,
        r.upload_id
    ])?;
    Ok(())
}

/// Cache of target row ids.
#[derive(Debug, Default)]
pub(super) struct Targets {
    known: BTreeMap<Destination, i64>,
    /// Targets whose last event may have been removed.
    touched: BTreeSet<i64>,
}

impl Targets {
    /// Clears the cache, after a rollback.
    pub(super) fn forget_all(&mut self) {
        self.known.clear();
        self.touched.clear();
    }

    fn number_of(&mut self, db: &Connection, of: &Destination) -> Result<i64, Fault> {
        if let Some(number) = self.known.get(of) {
            return Ok(*number);
        }
        let mut put =
            db.prepare_cached("INSERT OR IGNORE INTO target(url, secret, trusted) VALUES(?1, ?2, ?3)")?;
        put.execute(params![of.url, of.secret, of.trusted])?;
        let mut ask =
            db.prepare_cached("SELECT id FROM target WHERE url = ?1 AND secret = ?2 AND trusted = ?3")?;
        let number = ask.query_row(params![of.url, of.secret, of.trusted], |r| r.get(0))?;
        if self.known.len() < MAX_KNOWN {
            self.known.insert(of.clone(), number);
        }
        Ok(number)
    }

    /// Deletes targets without events, including their secrets. The configured one is kept, since its next
    /// event comes soon.
    pub(super) fn forget_idle(&mut self, db: &Connection) -> Result<(), Fault> {
        let mut gone = BTreeSet::new();
        while let Some(target) = self.touched.pop_first() {
            let mut delete = db.prepare_cached(
                "DELETE FROM target WHERE id = ?1 AND trusted = 0 AND NOT EXISTS (SELECT 1 FROM event WHERE target = ?1)",
            )?;
            if delete.execute([target])? > 0 {
                gone.insert(target);
            }
        }
        if !gone.is_empty() {
            self.known.retain(|_, number| !gone.contains(number));
        }
        Ok(())
    }
}
