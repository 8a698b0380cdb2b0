//! Queries to the outbox.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, Params, Row, params};

use super::fault::Fault;
use super::rows::{LegRow, RecordingRow, place_text};
use super::store::Store;
use crate::config::Place;
use crate::delivery::events::{Destination, Item};
use crate::delivery::queue::WINDOW;
use crate::delivery::share::Origin;

impl Store {
    /// All rows of a query.
    fn all<T>(
        &self,
        sql: &str,
        of: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let ask = || self.db.prepare_cached(sql)?.query_map(of, read)?.collect();
        self.noted(ask())
    }

    /// The first row of a query, if any.
    fn first<T>(
        &self,
        sql: &str,
        of: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        let ask = || self.db.prepare_cached(sql)?.query_row(of, read).optional();
        self.noted(ask())
    }

    /// The next free row number: after all existing rows.
    ///
    /// # Errors
    /// SQLite errors.
    pub fn next_row(&self) -> Result<u64, Fault> {
        let next = self.first("SELECT COALESCE(MAX(id), 0) + 1 FROM event", [], |r| r.get(0))?;
        Ok(next.unwrap_or(1))
    }

    /// Events of a target after a row, and how many more there are.
    ///
    /// # Errors
    /// SQLite errors.
    pub fn load(&self, of: &Destination, after: u64, most: usize) -> Result<(Vec<Item>, u64), Fault> {
        let number = "SELECT id FROM target WHERE url = ?1 AND secret = ?2 AND trusted = ?3";
        let target = self.first(number, params![of.url, of.secret, of.trusted], |r| r.get::<_, i64>(0))?;
        let Some(target) = target else { return Ok((Vec::new(), 0)) };
        let next = "SELECT id, leg, event_id, body, terminal, origin FROM event WHERE target = ?1 AND id > ?2
                    ORDER BY id LIMIT ?3";
        let items = self.all(next, params![target, after, most.min(WINDOW)], |r| {
            let (body, origin): (Vec<u8>, Option<String>) = (r.get(3)?, r.get(5)?);
            Ok(Item {
                row: r.get(0)?,
                leg: r.get::<_, Option<String>>(1)?.map(Arc::from),
                event_id: r.get(2)?,
                body: body.into(),
                terminal: r.get(4)?,
                origin: origin.and_then(|text| Origin::parse(&text)).unwrap_or_default(),
                stored: true,
            })
        })?;
        let last = items.last().map_or(after, |i| i.row);
        let count = "SELECT COUNT(*) FROM event WHERE target = ?1 AND id > ?2";
        let left = self.first(count, params![target, last], |r| r.get(0))?;
        Ok((items, left.unwrap_or(0)))
    }

    /// All targets with waiting events, and the number of events.
    ///
    /// # Errors
    /// SQLite errors.
    pub fn targets(&self) -> Result<Vec<(Destination, u64)>, Fault> {
        let ask = "SELECT url, secret, trusted, COUNT(*) FROM event JOIN target ON target.id = event.target
                   GROUP BY target ORDER BY MIN(event.id)";
        self.all(ask, [], |r| {
            Ok((Destination { url: r.get(0)?, secret: r.get(1)?, trusted: r.get(2)? }, r.get(3)?))
        })
    }

    /// Legs that are active, or were at a crash.
    ///
    /// # Errors
    /// SQLite errors.
    pub fn legs(&self) -> Result<Vec<LegRow>, Fault> {
        let ask = "SELECT id, seq, created, answered, url, secret FROM leg ORDER BY created, id";
        self.all(ask, [], |r| {
            Ok(LegRow {
                id: r.get(0)?,
                seq: r.get(1)?,
                created_ms: r.get(2)?,
                answered_ms: r.get(3)?,
                hook: hook(r.get(4)?, r.get(5)?),
            })
        })
    }

    fn ask_recordings<P: Params>(&self, rest: &str, of: P) -> Result<Vec<RecordingRow>, Fault> {
        let ask = format!(
            "SELECT id, file, leg, room, state, started, bytes, duration, rate, channels, url, secret, upload, location,
             upload_id FROM recording WHERE {rest}"
        );
        self.all(&ask, of, recording)
    }

    /// Recordings, latest first; optionally only those in this state.
    ///
    /// # Errors
    /// SQLite errors.
    pub fn recordings(&self, state: Option<&str>, most: usize) -> Result<Vec<RecordingRow>, Fault> {
        let which = "?1 IS NULL OR state = ?1 ORDER BY started DESC, id LIMIT ?2";
        self.ask_recordings(which, params![state, most])
    }

    /// Recordings that have ended and are stored locally, oldest first.
    ///
    /// # Errors
    /// SQLite errors.
    pub fn ended_recordings(&self) -> Result<Vec<RecordingRow>, Fault> {
        self.ask_recordings("state NOT IN ('recording', 'uploaded') ORDER BY started, id", [])
    }

    /// Uploaded recordings, latest first.
    ///
    /// # Errors
    /// SQLite errors.
    pub fn uploaded_recordings(&self) -> Result<Vec<RecordingRow>, Fault> {
        self.ask_recordings("state = 'uploaded' ORDER BY started DESC, id", [])
    }

    /// One recording.
    ///
    /// # Errors
    /// SQLite errors.
    pub fn recording(&self, id: &str) -> Result<Option<RecordingRow>, Fault> {
        Ok(self.ask_recordings("id = ?1", [id])?.pop())
    }

    /// Recordings waiting for upload to a destination, oldest first.
    ///
    /// # Errors
    /// SQLite errors.
    pub fn to_upload(&self, to: &Place, most: usize) -> Result<Vec<String>, Fault> {
        let ask = "SELECT id FROM recording WHERE state = 'uploading' AND upload = ?1 ORDER BY id LIMIT ?2";
        self.all(ask, params![place_text(to), most], |r| r.get(0))
    }

    /// Destinations of recordings waiting for upload.
    ///
    /// # Errors
    /// SQLite errors.
    pub fn upload_places(&self) -> Result<Vec<Place>, Fault> {
        let ask = "SELECT upload FROM recording WHERE state = 'uploading' AND upload IS NOT NULL
                   GROUP BY upload ORDER BY MIN(id)";
        let texts = self.all(ask, [], |r| r.get::<_, String>(0))?;
        Ok(texts.iter().filter_map(|t| serde_json::from_str(t).ok()).collect())
    }

    /// The value of a key.
    ///
    /// # Errors
    /// SQLite errors.
    pub fn value(&self, key: &str) -> Result<Option<String>, Fault> {
        self.first("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0))
    }

    /// Waiting events: row number, time (ms since 1970), URL, event id, body.
    ///
    /// # Errors
    /// SQLite errors.
    pub fn events(&self) -> Result<Vec<Waiting>, Fault> {
        let ask =
            "SELECT event.id, at, url, event_id, body FROM event JOIN target ON target.id = event.target
                   ORDER BY event.id";
        self.all(ask, [], |r| {
            Ok(Waiting {
                row: r.get(0)?,
                at_ms: r.get(1)?,
                url: r.get(2)?,
                event_id: r.get(3)?,
                body: r.get(4)?,
            })
        })
    }
}

/// A waiting event, as displayed to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Row number.
    pub row: u64,
    /// Time, ms since 1970.
    pub at_ms: u64,
    /// URL of its target.
    pub url: String,
    /// Its id.
    pub event_id: String,
    /// Its body.
    pub body: Vec<u8>,
}

fn recording(r: &Row<'_>) -> Result<RecordingRow, Fault> {
    Ok(RecordingRow {
        id: r.get(0)?,
        file: r.get(1)?,
        leg: r.get(2)?,
        room: r.get(3)?,
        state: r.get(4)?,
        started_ms: r.get(5)?,
        bytes: r.get(6)?,
        duration_ms: r.get(7)?,
        sample_rate: r.get(8)?,
        channels: r.get(9)?,
        hook: hook(r.get(10)?, r.get(11)?),
        upload: r.get::<_, Option<String>>(12)?.and_then(|t| serde_json::from_str(&t).ok()).map(Arc::new),
        location: r.get(13)?,
        upload_id: r.get(14)?,
    })
}

fn hook(url: Option<String>, secret: Option<String>) -> Option<(String, String)> {
    url.map(|url| (url, secret.unwrap_or_default()))
}
