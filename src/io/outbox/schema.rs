//! The tables of the outbox, and the upgrade from earlier versions.

/// Schema version.
pub(super) const VERSION: i64 = 3;

/// A table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// Its name.
    pub(super) name: &'static str,
    /// Its columns in order; the first is the key.
    pub(super) columns: &'static [&'static str],
    /// The part of its CREATE statement after the name.
    definition: &'static str,
    /// The key is numeric.
    pub(super) numbered: bool,
}

pub(super) const META: Table = Table {
    name: "meta",
    columns: &["key", "value"],
    definition: "(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    numbered: false,
};
pub(super) const TARGET: Table = Table {
    name: "target",
    columns: &["id", "url", "secret", "trusted"],
    definition: "(id INTEGER PRIMARY KEY, url TEXT NOT NULL, secret TEXT NOT NULL, trusted INTEGER NOT NULL,
  UNIQUE(url, secret, trusted))",
    numbered: true,
};
pub(super) const EVENT: Table = Table {
    name: "event",
    columns: &["id", "target", "at", "terminal", "leg", "event_id", "body", "origin"],
    definition:
        "(id INTEGER PRIMARY KEY, target INTEGER NOT NULL, at INTEGER NOT NULL, terminal INTEGER NOT NULL,
  leg TEXT, event_id TEXT NOT NULL, body BLOB NOT NULL, origin TEXT)",
    numbered: true,
};
pub(super) const LEG: Table = Table {
    name: "leg",
    columns: &["id", "seq", "created", "answered", "url", "secret"],
    definition:
        "(id TEXT PRIMARY KEY, seq INTEGER NOT NULL, created INTEGER NOT NULL, answered INTEGER, url TEXT,
  secret TEXT) WITHOUT ROWID",
    numbered: false,
};
pub(super) const RECORDING: Table = Table {
    name: "recording",
    columns: &[
        "id",
        "file",
        "leg",
        "room",
        "state",
        "started",
        "bytes",
        "duration",
        "rate",
        "channels",
        "url",
        "secret",
        "upload",
        "location",
        "upload_id",
    ],
    definition: "(id TEXT PRIMARY KEY, file TEXT NOT NULL, leg TEXT, room TEXT, state TEXT NOT NULL,
  started INTEGER NOT NULL, bytes INTEGER NOT NULL DEFAULT 0, duration INTEGER NOT NULL DEFAULT 0,
  rate INTEGER NOT NULL DEFAULT 0, channels INTEGER NOT NULL DEFAULT 0, url TEXT, secret TEXT, upload TEXT,
  location TEXT, upload_id TEXT) WITHOUT ROWID",
    numbered: false,
};

/// All tables, in order of creation.
pub(super) const ALL: [Table; 5] = [META, TARGET, EVENT, LEG, RECORDING];

/// Indexes: events by target, and uploads by destination.
const INDEXES: &str = "CREATE INDEX IF NOT EXISTS event_of_target ON event(target, id);
CREATE INDEX IF NOT EXISTS recording_to_upload ON recording(upload, id) WHERE state = 'uploading';";
/// Version 1 had no uploads, version 2 no origin of events.
const FROM_1: &str =
    "ALTER TABLE recording ADD COLUMN upload TEXT; ALTER TABLE recording ADD COLUMN location TEXT;
ALTER TABLE recording ADD COLUMN upload_id TEXT;";
const FROM_2: &str = "ALTER TABLE event ADD COLUMN origin TEXT;";

impl Table {
    /// The CREATE statement as stored in the schema table.
    pub(super) fn made_by(&self) -> String {
        format!("CREATE TABLE {}{}", self.name, self.definition)
    }
}

/// SQL to upgrade from an earlier version; 0: from an empty file.
pub(super) fn upgrade(from: i64) -> String {
    let tables = match from {
        1 => format!("{FROM_1} {FROM_2}"),
        2 => FROM_2.to_owned(),
        _ => ALL.map(|t| format!("CREATE TABLE IF NOT EXISTS {}{};", t.name, t.definition)).join("\n"),
    };
    format!("BEGIN; {tables} {INDEXES} PRAGMA user_version = {VERSION}; COMMIT;")
}
