//! Validates rows of a possibly damaged outbox one by one: keeps what can be read of each, and records
//! whether it was complete.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Row;
use rusqlite::types::ValueRef;
use serde::de::IgnoredAny;

use super::rows::{LegRow, RecordingRow, UPLOADED, UPLOADING, base_name};
use crate::base::time::Utc;
use crate::delivery::events::{Destination, Item};
use crate::delivery::share::Origin;
use crate::io::state::damage::Damage;
use crate::io::wav::repair::examine;

/// Later times (after the year 2200) are invalid, ms since 1970.
const MAX_MS: u64 = 7_258_118_400_000;
/// Maximum time by which a row's time may be earlier than the timestamp in its event, ms. If the clock was
/// wrong and is set back, both stay unchanged.
const MAX_EARLY_MS: u64 = 60_000;
/// Larger row numbers are invalid, since too few would be left.
const MAX_ROW: u64 = 1 << 62;
/// Larger event numbers of a leg are invalid. A leg whose number cannot be read continues after it, so that
/// no number is used twice.
const MAX_SEQ: u64 = 1 << 40;
/// Maximum size and duration of a WAV file.
const MAX_BYTES: u64 = 1 << 33;
const MAX_DURATION_MS: u64 = 1 << 40;

/// Information from other sources, used to replace unreadable values.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Records damage.
    pub damage: Damage,
    /// Directory of recordings.
    pub recordings: PathBuf,
    /// URL and secret of the global webhook from the configuration.
    pub webhook: Option<(String, String)>,
}

/// An event row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventRow {
    /// Row id of its target.
    pub(super) target: i64,
    /// Its own row number is 0 if that cannot be read.
    pub(super) item: Item,
    /// Time of the event, ms since 1970.
    pub(super) at_ms: u64,
}

/// Reads and validates a row.
pub(super) struct Judge<'a> {
    row: &'a Row<'a>,
    /// True while all values were valid.
    pub(super) whole: bool,
}

impl<'a> Judge<'a> {
    pub(super) fn new(row: &'a Row<'a>) -> Self {
        Self { row, whole: true }
    }

    fn bad<T>(&mut self) -> Option<T> {
        self.whole = false;
        None
    }

    /// Optional text.
    fn maybe(&mut self, at: usize) -> Option<String> {
        match self.row.get_ref(at) {
            Ok(ValueRef::Null) => None,
            Ok(ValueRef::Text(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => Some(text.to_owned()),
                Err(_) => self.bad(),
            },
            Ok(_) | Err(_) => self.bad(),
        }
    }

    /// Mandatory text.
    fn text(&mut self, at: usize) -> Option<String> {
        let found = self.maybe(at);
        self.whole &= found.is_some();
        found
    }

    /// Optional number up to `most`.
    fn maybe_number(&mut self, at: usize, most: u64) -> Option<u64> {
        match self.row.get_ref(at) {
            Ok(ValueRef::Null) => None,
            Ok(ValueRef::Integer(n)) => match u64::try_from(n) {
                Ok(n) if n <= most => Some(n),
                _ => self.bad(),
            },
            Ok(_) | Err(_) => self.bad(),
        }
    }

    fn number(&mut self, at: usize, most: u64) -> Option<u64> {
        let found = self.maybe_number(at, most);
        self.whole &= found.is_some();
        found
    }

    fn flag(&mut self, at: usize) -> Option<bool> {
        self.number(at, 1).map(|n| n == 1)
    }

    /// Row id and destination of a `target` row.
    pub(super) fn target(&mut self, known: &Known) -> Option<(i64, Destination)> {
        let id = self.row.get(0).ok()?;
        let (url, secret) = (self.text(1), self.text(2));
        let trusted = self.flag(3);
        let (url, secret) = (url?, secret?);
        // Only the configured webhook is trusted.
        let named = || known.webhook.as_ref().is_some_and(|(u, s)| (u, s) == (&url, &secret));
        let trusted = trusted.unwrap_or_else(named);
        Some((id, Destination { url, secret, trusted }))
    }

    /// An event; `None` without a valid body.
    pub(super) fn event(&mut self) -> Option<EventRow> {
        let row = self.number(0, MAX_ROW).filter(|n| *n > 0);
        self.whole &= row.is_some();
        let Ok(ValueRef::Integer(target)) = self.row.get_ref(1) else { return self.bad() };
        let at_ms = self.number(2, MAX_MS);
        let terminal = self.flag(3).unwrap_or(true);
        let leg = self.maybe(4).map(Arc::from);
        let event_id = self.text(5);
        let body: Arc<[u8]> = match self.row.get_ref(6) {
            Ok(ValueRef::Blob(bytes)) => bytes.into(),
            Ok(_) | Err(_) => return self.bad(),
        };
        if serde_json::from_slice::<std::collections::BTreeMap<String, IgnoredAny>>(&body).is_err() {
            return self.bad();
        }
        let at_ms = self.time_of(at_ms, &body);
        let origin = self.maybe(7).map(|text| Origin::parse(&text));
        self.whole &= !matches!(origin, Some(None));
        let event_id = event_id.or_else(|| {
            let body: serde_json::Value = serde_json::from_slice(&body).ok()?;
            Some(body.get("event_id")?.as_str()?.to_owned())
        })?;
        let origin = origin.flatten().unwrap_or_default();
        let item = Item { row: row.unwrap_or(0), leg, event_id, body, terminal, origin, stored: true };
        Some(EventRow { target, item, at_ms })
    }

    /// Time of an event. A row much older than the timestamp in its body would be dropped for its age. It may
    /// be younger, since the clock may have been set after the body was created.
    fn time_of(&mut self, at_ms: Option<u64>, body: &[u8]) -> u64 {
        #[derive(serde::Deserialize)]
        struct Timestamp {
            timestamp: String,
        }
        let said = serde_json::from_slice::<Timestamp>(body).ok();
        let said = said.and_then(|b| Utc::parse(&b.timestamp)).map(Utc::millis).filter(|ms| *ms <= MAX_MS);
        match (at_ms, said) {
            (Some(at), Some(said)) if at + MAX_EARLY_MS < said => {
                self.whole = false;
                said
            }
            (at, said) => at.or(said).unwrap_or(0),
        }
    }

    /// A leg; `None` without its id.
    pub(super) fn leg(&mut self) -> Option<LegRow> {
        let id = self.text(0).filter(|id| !id.is_empty());
        let seq = self.number(1, MAX_SEQ).unwrap_or(MAX_SEQ);
        let created_ms = self.number(2, MAX_MS).unwrap_or(0);
        let answered_ms = self.maybe_number(3, MAX_MS);
        let hook = self.hook(4);
        Some(LegRow { id: id?, seq, created_ms, answered_ms, hook })
    }

    fn hook(&mut self, at: usize) -> Option<(String, String)> {
        let (url, secret) = (self.maybe(at), self.maybe(at + 1));
        url.map(|url| (url, secret.unwrap_or_default()))
    }

    /// A recording; `None` without its name. If its state cannot be read, it is treated as interrupted: its
    /// file is checked, and it is reported again.
    pub(super) fn recording(&mut self, known: &Known) -> Option<RecordingRow> {
        let (id, file) = (self.text(0), self.text(1));
        let id = id.or_else(|| file.as_deref().map(base_name)).filter(|id| !id.is_empty());
        let (leg, room, state) = (self.maybe(2), self.maybe(3), self.text(4));
        let started_ms = self.number(5, MAX_MS).unwrap_or(0);
        let facts = [
            self.number(6, MAX_BYTES),
            self.number(7, MAX_DURATION_MS),
            self.number(8, u32::MAX.into()),
            self.number(9, u16::MAX.into()),
        ];
        let hook = self.hook(10);
        let place = self.maybe(12);
        let upload = place.as_deref().and_then(|t| serde_json::from_str(t).ok()).map(Arc::new);
        let is_place = place.is_none() || upload.is_some();
        let (location, upload_id) = (self.maybe(13), self.maybe(14));
        let state = match state.as_deref() {
            Some(s @ ("recording" | "finished" | "failed")) => Some(s),
            Some(UPLOADING) if upload.is_some() => Some(UPLOADING),
            Some(UPLOADED) if location.is_some() => Some(UPLOADED),
            _ if location.is_some() => None.or_else(|| self.bad()).or(Some(UPLOADED)),
            _ => None,
        };
        self.whole &= state.is_some() && is_place;
        let id = id?;
        let file = file.unwrap_or_else(|| known.recordings.join(&id).display().to_string());
        let mut row = RecordingRow {
            id,
            file,
            leg,
            room,
            state: state.unwrap_or("recording").to_owned(),
            started_ms,
            hook,
            upload,
            location,
            upload_id,
            ..RecordingRow::default()
        };
        let [bytes, duration, rate, channels] = facts.map(|f| f.unwrap_or(0));
        (row.bytes, row.duration_ms) = (bytes, duration);
        row.sample_rate = u32::try_from(rate).unwrap_or(0);
        row.channels = u16::try_from(channels).unwrap_or(0);
        if facts.iter().any(Option::is_none)
            && let Ok(found) = examine(row.file.as_ref())
        {
            (row.bytes, row.duration_ms) = (found.bytes, found.duration_ms);
            (row.sample_rate, row.channels) = (found.sample_rate, found.channels);
        }
        Some(row)
    }

    /// A key and its value.
    pub(super) fn value(&mut self) -> Option<(String, String)> {
        let (key, value) = (self.text(0), self.text(1));
        Some((key?, value?))
    }
}
