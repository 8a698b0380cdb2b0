//! What must outlive the process, in an SQLite file: events not yet delivered, legs alive, recordings. Written through the
//! page cache, in write-ahead mode, by the one thread that holds it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::outbox_fault::{Fault, disk_refuses, is_corrupt, outside, told};
use super::outbox_rows::{LegRow, Op, ROW, RecordingRow, apply, place_text};
use crate::config::Place;
use crate::deliver::events::{Destination, Item};
use crate::deliver::queue::WINDOW;

/// File of the outbox in the state directory.
pub const FILE: &str = "outbox.db";
/// Version of the tables below.
const VERSION: i64 = 2;
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS target(id INTEGER PRIMARY KEY, url TEXT NOT NULL, secret TEXT NOT NULL,
  trusted INTEGER NOT NULL, UNIQUE(url, secret, trusted));
CREATE TABLE IF NOT EXISTS event(id INTEGER PRIMARY KEY, target INTEGER NOT NULL, at INTEGER NOT NULL,
  terminal INTEGER NOT NULL, leg TEXT, event_id TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS event_of_target ON event(target, id);
CREATE TABLE IF NOT EXISTS leg(id TEXT PRIMARY KEY, seq INTEGER NOT NULL, created INTEGER NOT NULL,
  answered INTEGER, url TEXT, secret TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS recording(id TEXT PRIMARY KEY, file TEXT NOT NULL, leg TEXT, room TEXT, state TEXT NOT NULL,
  started INTEGER NOT NULL, bytes INTEGER NOT NULL DEFAULT 0, duration INTEGER NOT NULL DEFAULT 0,
  rate INTEGER NOT NULL DEFAULT 0, channels INTEGER NOT NULL DEFAULT 0, url TEXT, secret TEXT, upload TEXT, location TEXT, upload_id TEXT) WITHOUT ROWID;
";
/// Uploads by where they go.
const UPLOADS: &str =
    "CREATE INDEX IF NOT EXISTS recording_to_upload ON recording(upload, id) WHERE state = 'uploading';";
/// From version 1, which knew no uploads.
const UPGRADE: &str =
    "ALTER TABLE recording ADD COLUMN upload TEXT; ALTER TABLE recording ADD COLUMN location TEXT;
ALTER TABLE recording ADD COLUMN upload_id TEXT;";

/// How a time changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewTime {
    /// By so much.
    Later,
    /// To this.
    At,
}

/// The open file.
#[derive(Debug)]
pub struct Store {
    db: Connection,
    path: PathBuf,
    in_memory: bool,
    /// Bytes of the events held, about.
    held: u64,
    known: BTreeMap<Destination, i64>,
}

impl Store {
    /// Opens the outbox in `dir`, making it where it is missing. A file that is no outbox any more is put aside. Where
    /// the disk takes none (full, read-only, failing), one in memory does until the next start: calls need no disk.
    ///
    /// # Errors
    /// Another process holds it, or what SQLite says.
    pub fn open(dir: &Path) -> Result<Self, String> {
        let path = dir.join(FILE);
        Self::open_file(&path).or_else(|e| Self::in_place_of(&path, e))
    }

    /// Another one in place of this one, which cannot be used because of `fault`.
    ///
    /// # Errors
    /// It is no fault of the file or of the disk, or a new outbox cannot be made either.
    pub fn give_up(self, fault: Fault) -> Result<Self, String> {
        let path = self.path.clone();
        // Its lock goes with it.
        drop(self);
        Self::in_place_of(&path, fault)
    }

    fn in_place_of(path: &Path, fault: Fault) -> Result<Self, String> {
        let fault = if is_corrupt(&fault) {
            match put_aside(path, &fault).and_then(|()| Self::open_file(path)) {
                Ok(store) => return Ok(store),
                Err(e) => e,
            }
        } else {
            fault
        };
        if !disk_refuses(&fault) && path.parent().is_some_and(Path::is_dir) {
            return Err(told(path, &fault));
        }
        log::error!(file:% = path.display(), error:% = fault; "the disk takes no outbox: events are kept in memory, and are lost with this process");
        Self::in_memory(path).map_err(|e| told(path, &e))
    }

    /// The same, but a damaged one stays where it is, and so does one that the disk does not let open.
    ///
    /// # Errors
    /// It is damaged, another process holds it, or what SQLite says.
    pub fn open_as_is(dir: &Path) -> Result<Self, String> {
        let path = dir.join(FILE);
        Self::open_file(&path).map_err(|e| told(&path, &e))
    }

    fn open_file(path: &Path) -> Result<Self, Fault> {
        private(path).map_err(outside)?;
        let db = Connection::open(path)?;
        // Small pages: an event changes few, and each is written whole.
        db.pragma_update(None, "page_size", 1024)?;
        db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "NORMAL")?;
        db.pragma_update(None, "cache_size", -1024)?;
        db.pragma_update(None, "wal_autocheckpoint", 2048)?;
        db.execute_batch("BEGIN IMMEDIATE; COMMIT;")?;
        Self::with_tables(db, path, false)
    }

    fn in_memory(path: &Path) -> Result<Self, Fault> {
        Self::with_tables(Connection::open_in_memory()?, path, true)
    }

    fn with_tables(db: Connection, path: &Path, in_memory: bool) -> Result<Self, Fault> {
        let version: i64 = db.query_row("PRAGMA user_version", [], |r| r.get(0))?;
        if version > VERSION {
            let newer = format!(
                "it was made by a newer version of Branchline (format {version}, {VERSION} is known)"
            );
            return Err(Fault::ToSqlConversionFailure(newer.into()));
        }
        if version < VERSION {
            let tables = if version == 0 { TABLES } else { UPGRADE };
            db.execute_batch(&format!("BEGIN; {tables} {UPLOADS} PRAGMA user_version = {VERSION}; COMMIT;"))?;
        }
        match db.execute("DELETE FROM target WHERE id NOT IN (SELECT target FROM event)", []) {
            // It is tidied when there is room again.
            Err(e) if disk_refuses(&e) => {}
            done => drop(done?),
        }
        let held =
            db.query_row("SELECT COALESCE(SUM(LENGTH(body) + ?1), 0) FROM event", [ROW], |r| r.get(0))?;
        Ok(Self { db, path: path.to_owned(), in_memory, held, known: BTreeMap::new() })
    }

    /// Nothing of it outlives the process.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    /// It takes nothing from now on, or all again.
    #[cfg(test)]
    pub(super) fn set_refusing(&self, yes: bool) {
        self.db.pragma_update(None, "query_only", yes).unwrap();
    }

    /// The file whose content has to reach the disk for all that was written to be safe; none in memory.
    #[must_use]
    pub fn log_file(&self) -> Option<PathBuf> {
        (!self.in_memory).then(|| PathBuf::from(format!("{}-wal", self.path.display())))
    }

    /// Bytes of the events held, about.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Carries out all of it, or nothing.
    ///
    /// # Errors
    /// What SQLite says; then nothing has changed.
    pub fn apply(&mut self, ops: &[Op]) -> Result<(), Fault> {
        let done = self.try_apply(ops);
        if done.is_err() {
            // Numbers of targets that are undone must not be remembered.
            self.known.clear();
        }
        done
    }

    fn try_apply(&mut self, ops: &[Op]) -> Result<(), Fault> {
        let mut held = self.held;
        let tx = self.db.transaction()?;
        for op in ops {
            apply(&tx, &mut self.known, &mut held, op)?;
        }
        tx.commit()?;
        self.held = held;
        Ok(())
    }

    /// Where a number of a row can start: behind all that there are, and all that there were when it was last asked.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn next_row(&self) -> Result<u64, Fault> {
        self.db.query_row("SELECT COALESCE(MAX(id), 0) + 1 FROM event", [], |r| r.get(0))
    }

    /// Some events of a target behind a row, and how many more there are.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn load(&self, of: &Destination, after: u64, most: usize) -> Result<(Vec<Item>, u64), Fault> {
        let Some(target) = self.target_number(of)? else { return Ok((Vec::new(), 0)) };
        let mut ask = self.db.prepare_cached(
            "SELECT id, leg, event_id, body, terminal FROM event WHERE target = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        )?;
        let most = most.min(WINDOW);
        let rows = ask.query_map(params![target, after, most], |r| {
            let body: Vec<u8> = r.get(3)?;
            Ok(Item {
                row: r.get(0)?,
                leg: r.get::<_, Option<String>>(1)?.map(Arc::from),
                event_id: r.get(2)?,
                body: body.into(),
                terminal: r.get(4)?,
                stored: true,
            })
        })?;
        let items: Vec<Item> = rows.collect::<Result<_, _>>()?;
        let last = items.last().map_or(after, |i| i.row);
        let left = self.db.query_row(
            "SELECT COUNT(*) FROM event WHERE target = ?1 AND id > ?2",
            params![target, last],
            |r| r.get(0),
        )?;
        Ok((items, left))
    }

    fn target_number(&self, of: &Destination) -> Result<Option<i64>, Fault> {
        let mut ask = self
            .db
            .prepare_cached("SELECT id FROM target WHERE url = ?1 AND secret = ?2 AND trusted = ?3")?;
        ask.query_row(params![of.url, of.secret, of.trusted], |r| r.get(0)).optional()
    }

    /// All targets that events wait for, and how many.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn targets(&self) -> Result<Vec<(Destination, u64)>, Fault> {
        let mut ask = self.db.prepare(
            "SELECT url, secret, trusted, COUNT(*) FROM event JOIN target ON target.id = event.target
             GROUP BY target ORDER BY MIN(event.id)",
        )?;
        let rows = ask.query_map([], |r| {
            Ok((Destination { url: r.get(0)?, secret: r.get(1)?, trusted: r.get(2)? }, r.get(3)?))
        })?;
        rows.collect()
    }

    /// Makes room: what is older than `before_ms` goes first, then the oldest that are no last words, then those. How
    /// many were lost.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn prune(&mut self, before_ms: u64, budget: u64) -> Result<u64, Fault> {
        let mut lost = self.db.execute("DELETE FROM event WHERE at < ?1", [before_ms])? as u64;
        if lost > 0 {
            self.held =
                self.db.query_row("SELECT COALESCE(SUM(LENGTH(body) + ?1), 0) FROM event", [ROW], |r| {
                    r.get(0)
                })?;
        }
        while self.held > budget {
            let mut gone = 0u64;
            let mut freed = 0u64;
            for terminal in [false, true] {
                let mut ask = self.db.prepare_cached(
                    "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE terminal = ?1 ORDER BY id LIMIT 64)
                     RETURNING LENGTH(body)",
                )?;
                for size in ask.query_map([terminal], |r| r.get::<_, u64>(0))? {
                    (gone, freed) = (gone + 1, freed + size? + ROW);
                }
                if gone > 0 {
                    break;
                }
            }
            if gone == 0 {
                break;
            }
            (lost, self.held) = (lost + gone, self.held.saturating_sub(freed));
        }
        Ok(lost)
    }

    /// Gives what has a time of `from_ms` to `until_ms` another: one later by `ms`, or `ms` itself.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn date(&mut self, from_ms: u64, until_ms: u64, new: NewTime, ms: u64) -> Result<(), Fault> {
        let all = self.db.transaction()?;
        let times = [("event", "at"), ("recording", "started"), ("leg", "created"), ("leg", "answered")];
        for (table, time) in times {
            let later = if new == NewTime::Later { format!("{time} +") } else { String::new() };
            let change = format!("UPDATE {table} SET {time} = {later} ?3 WHERE {time} BETWEEN ?1 AND ?2");
            all.execute(&change, [from_ms, until_ms, ms])?;
        }
        all.commit()
    }

    /// Legs that were alive.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn legs(&self) -> Result<Vec<LegRow>, Fault> {
        let mut ask = self
            .db
            .prepare("SELECT id, seq, created, answered, url, secret FROM leg ORDER BY created, id")?;
        let rows = ask.query_map([], |r| {
            Ok(LegRow {
                id: r.get(0)?,
                seq: r.get(1)?,
                created_ms: r.get(2)?,
                answered_ms: r.get(3)?,
                hook: hook(r.get(4)?, r.get(5)?),
            })
        })?;
        rows.collect()
    }

    fn ask_recordings<P: rusqlite::Params>(&self, rest: &str, of: P) -> Result<Vec<RecordingRow>, Fault> {
        let mut ask = self.db.prepare_cached(&format!(
            "SELECT id, file, leg, room, state, started, bytes, duration, rate, channels, url, secret, upload, location,
             upload_id FROM recording WHERE {rest}"
        ))?;
        let rows = ask.query_map(of, recording)?;
        rows.collect()
    }

    /// Recordings, the youngest first; only those in this state, if one is given.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn recordings(&self, state: Option<&str>, most: usize) -> Result<Vec<RecordingRow>, Fault> {
        let which = "?1 IS NULL OR state = ?1 ORDER BY started DESC, id LIMIT ?2";
        self.ask_recordings(which, params![state, most])
    }

    /// Recordings that are over and still here, the oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn ended_recordings(&self) -> Result<Vec<RecordingRow>, Fault> {
        self.ask_recordings("state NOT IN ('recording', 'uploaded') ORDER BY started, id", [])
    }

    /// Recordings that are uploaded, the youngest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn uploaded_recordings(&self) -> Result<Vec<RecordingRow>, Fault> {
        self.ask_recordings("state = 'uploaded' ORDER BY started DESC, id", [])
    }

    /// One recording.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn recording(&self, id: &str) -> Result<Option<RecordingRow>, Fault> {
        Ok(self.ask_recordings("id = ?1", [id])?.pop())
    }

    /// Recordings that wait to be uploaded to a place, the oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn to_upload(&self, to: &Place, most: usize) -> Result<Vec<String>, Fault> {
        let mut ask = self.db.prepare_cached(
            "SELECT id FROM recording WHERE state = 'uploading' AND upload = ?1 ORDER BY id LIMIT ?2",
        )?;
        let rows = ask.query_map(params![place_text(to), most], |r| r.get(0))?;
        rows.collect()
    }

    /// Where recordings wait to be uploaded to.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn upload_places(&self) -> Result<Vec<Place>, Fault> {
        let mut ask = self.db.prepare(
            "SELECT upload FROM recording WHERE state = 'uploading' AND upload IS NOT NULL GROUP BY upload ORDER BY MIN(id)",
        )?;
        let rows = ask.query_map([], |r| r.get::<_, String>(0))?;
        let texts: Vec<String> = rows.collect::<Result<_, _>>()?;
        Ok(texts.iter().filter_map(|t| serde_json::from_str(t).ok()).collect())
    }

    /// A value that is kept.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn value(&self, key: &str) -> Result<Option<String>, Fault> {
        let mut ask = self.db.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
        ask.query_row([key], |r| r.get(0)).optional()
    }

    /// Keeps a value.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn keep_value(&self, key: &str, value: &str) -> Result<(), Fault> {
        let mut put = self.db.prepare_cached("INSERT OR REPLACE INTO meta(key, value) VALUES(?1, ?2)")?;
        put.execute([key, value]).map(|_| ())
    }

    /// Events that wait: number, when (ms since 1970), URL, event id, body.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn events(&self) -> Result<Vec<Waiting>, Fault> {
        let mut ask = self.db.prepare(
            "SELECT event.id, at, url, event_id, body FROM event JOIN target ON target.id = event.target ORDER BY event.id",
        )?;
        let rows = ask.query_map([], |r| {
            Ok(Waiting {
                row: r.get(0)?,
                at_ms: r.get(1)?,
                url: r.get(2)?,
                event_id: r.get(3)?,
                body: r.get(4)?,
            })
        })?;
        rows.collect()
    }
}

/// An event that waits, as the operator is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its number.
    pub row: u64,
    /// When it happened, ms since 1970.
    pub at_ms: u64,
    /// Where it is to go.
    pub url: String,
    /// Its id.
    pub event_id: String,
    /// Its body.
    pub body: Vec<u8>,
}

fn recording(r: &rusqlite::Row<'_>) -> Result<RecordingRow, Fault> {
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

/// The file holds secrets: it is made for its owner only.
fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}

fn put_aside(path: &Path, fault: &Fault) -> Result<(), Fault> {
    let aside = path.with_file_name("outbox.damaged.db");
    log::error!(error:% = fault, kept:% = aside.display(); "the outbox is damaged: a new one is made");
    std::fs::rename(path, &aside).map_err(outside)?;
    for more in ["-wal", "-shm"] {
        // They belong to the file that was put aside; it may have none.
        let _gone = std::fs::remove_file(format!("{}{more}", path.display()));
    }
    Ok(())
}
