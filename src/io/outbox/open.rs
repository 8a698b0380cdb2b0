//! Opens the outbox: a damaged file is renamed and its readable contents are copied into a new one; if the
//! disk cannot be written, an outbox in memory is used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::fault::{Fault, disk_refuses, is_busy, outside, text, told, unreadable};
use super::judge::{Judge, Known};
use super::rescue::{Ruin, columns, has_head};
use super::rows::{Op, ROW};
use super::schema::{ALL, EVENT, LEG, META, RECORDING, TARGET, VERSION, upgrade};
use super::store::{FILE, Store};
use super::thread::MAX_IN_MEMORY;
use crate::delivery::events::Destination;
use crate::io::state::damage::Damage;

/// Rows copied per transaction.
const BATCH: usize = 256;

impl Store {
    /// Opens the outbox in `dir`, creating it if missing. A damaged file is renamed, and its readable
    /// contents are copied into a new one. If the disk is full, read-only or failing, an outbox in memory is
    /// used until the next start: calls do not need the disk.
    ///
    /// # Errors
    /// Another process uses it, or errors of the operating system.
    pub fn open(dir: &Path, known: Known) -> Result<Self, String> {
        let path = dir.join(FILE);
        let opened = clear_way(&path, &known.damage).and_then(|()| open_file(&path, &known));
        opened.or_else(|e| in_place_of(&path, &known, e))
    }

    /// As [`Self::open`], but a damaged file, or one the disk does not let open, is left unchanged.
    ///
    /// # Errors
    /// It is damaged, another process uses it, or SQLite errors.
    pub fn open_as_is(dir: &Path) -> Result<Self, String> {
        let path = dir.join(FILE);
        open_file(&path, &Known::default()).map_err(|e| told(&path, &e))
    }

    /// Replaces this outbox, which cannot be used because of `fault`, by a new one with all readable
    /// contents.
    /// # Errors
    /// The error is caused neither by the file nor by the disk, or no new outbox can be created: then this
    /// one is in memory, and empty.
    pub fn renew(&mut self, fault: Fault) -> Result<(), String> {
        let (path, known) = (self.path.clone(), self.setting.clone());
        // The file lock is released with its connection.
        let empty = in_memory(&path, &known).map_err(|e| told(&path, &e))?;
        drop(std::mem::replace(self, empty));
        *self = in_place_of(&path, &known, fault)?;
        Ok(())
    }
}

/// Renames anything that is not a regular file at SQLite's paths.
fn clear_way(path: &Path, damage: &Damage) -> Result<(), Fault> {
    for name in ["", "-wal", "-shm", "-journal"] {
        damage.expect_file(Path::new(&format!("{}{name}", path.display()))).map_err(outside)?;
    }
    // A crash while the new file replaced the old one.
    let new = new_one(path);
    if new.is_file() && !path.exists() {
        log::warn!("completing the replacement of a damaged outbox");
        std::fs::rename(&new, path).map_err(outside)?;
    }
    Ok(())
}

fn new_one(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{FILE}.new"))
}

fn open_file(path: &Path, known: &Known) -> Result<Store, Fault> {
    private(path).map_err(outside)?;
    if !has_head(path).map_err(outside)? {
        return Err(unreadable("its header is not that of an outbox"));
    }
    let db = Connection::open(path)?;
    // Small pages: an event changes few, and each is written as a whole.
    db.pragma_update(None, "page_size", 1024)?;
    db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update(None, "cache_size", -1024)?;
    db.pragma_update(None, "wal_autocheckpoint", 2048)?;
    // Secrets of deleted targets must not remain in free pages.
    db.pragma_update(None, "secure_delete", "FAST")?;
    db.execute_batch("BEGIN IMMEDIATE; COMMIT;")?;
    with_tables(db, path, known, false)
}

pub(super) fn in_memory(path: &Path, known: &Known) -> Result<Store, Fault> {
    with_tables(Connection::open_in_memory()?, path, known, true)
}

fn with_tables(db: Connection, path: &Path, known: &Known, in_memory: bool) -> Result<Store, Fault> {
    let version: i64 = db.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    if !(0..=VERSION).contains(&version) {
        return Err(unreadable(&format!(
            "it is damaged, or was created by a newer version of Branchline (format {version}, supported: {VERSION})"
        )));
    }
    if version < VERSION {
        db.execute_batch(&upgrade(version))?;
    }
    check(&db, known)?;
    match db.execute("DELETE FROM target WHERE id NOT IN (SELECT target FROM event)", []) {
        // Deleted later, when the disk can be written again.
        Err(e) if disk_refuses(&e) => {}
        done => drop(done?),
    }
    let held = db.query_row("SELECT COALESCE(SUM(LENGTH(body) + ?1), 0) FROM event", [ROW], |r| r.get(0))?;
    Ok(Store::of(db, path.to_owned(), known.clone(), in_memory, held))
}

/// Reads everything: damage can be repaired now, but not during calls.
fn check(db: &Connection, known: &Known) -> Result<(), Fault> {
    for table in ALL {
        if columns(db, table.name) != table.columns {
            return Err(unreadable(&format!("table {} has wrong columns", table.name)));
        }
    }
    let said: String = db.query_row("PRAGMA integrity_check(1)", [], |r| r.get(0))?;
    if said != "ok" {
        return Err(unreadable(&said.replace('\n', " ")));
    }
    let mut bad = 0u64;
    for table in ALL {
        let mut ask = db.prepare(&format!("SELECT {} FROM {}", table.columns.join(", "), table.name))?;
        let mut rows = ask.query([])?;
        while let Some(row) = rows.next()? {
            let mut judge = Judge::new(row);
            match table.name {
                "target" => drop(judge.target(known)),
                "event" => drop(judge.event()),
                "leg" => drop(judge.leg()),
                "recording" => drop(judge.recording(known)),
                _ => drop(judge.value()),
            }
            bad += u64::from(!judge.whole);
        }
    }
    let lost = "SELECT COUNT(*) FROM event WHERE target NOT IN (SELECT id FROM target)";
    bad += db.query_row(lost, [], |r| r.get::<_, u64>(0))?;
    if bad > 0 { Err(unreadable(&format!("{bad} rows cannot be read"))) } else { Ok(()) }
}

fn in_place_of(path: &Path, known: &Known, fault: Fault) -> Result<Store, String> {
    if is_busy(&fault) {
        return Err(told(path, &fault));
    }
    let damaged = !disk_refuses(&fault) && path.exists();
    let mut fault = fault;
    if damaged {
        known.damage.note();
        log::error!(error = text(&fault); "the outbox is damaged: its readable contents are copied into a new one");
        match replace(path, known, &fault) {
            Ok(store) => return Ok(store),
            Err(e) => fault = e,
        }
    }
    if !disk_refuses(&fault) && path.parent().is_some_and(Path::is_dir) {
        return Err(told(path, &fault));
    }
    log::error!(file:% = path.display(), error:% = fault; "the outbox cannot be stored on the disk: events are kept in memory, and are lost when this process ends");
    let mut store = in_memory(path, known).map_err(|e| told(path, &e))?;
    if damaged && let Err(e) = carry_over(path, &mut store, MAX_IN_MEMORY) {
        log::error!(error:% = e; "no further events can be copied to memory");
    }
    Ok(store)
}

/// Creates a new file with the readable contents of the old one, which is renamed after the new one is
/// complete and synced.
fn replace(path: &Path, known: &Known, fault: &Fault) -> Result<Store, Fault> {
    let new = new_one(path);
    known.damage.expect_file(&new).map_err(outside)?;
    match std::fs::remove_file(&new) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(outside(e)),
        _ => {}
    }
    private(&new).map_err(outside)?;
    let db = Connection::open(&new)?;
    db.pragma_update(None, "page_size", 1024)?;
    // An incomplete copy is useless.
    db.pragma_update(None, "journal_mode", "OFF")?;
    db.pragma_update(None, "synchronous", "OFF")?;
    let mut store = with_tables(db, &new, known, false)?;
    carry_over(path, &mut store, u64::MAX)?;
    drop(store);
    std::fs::File::open(&new).and_then(|f| f.sync_all()).map_err(outside)?;
    known.damage.put_aside(path, &text(fault)).map_err(outside)?;
    std::fs::rename(&new, path).map_err(outside)?;
    if let Some(dir) = path.parent() {
        std::fs::File::open(dir).and_then(|d| d.sync_all()).map_err(outside)?;
    }
    open_file(path, known)
}

/// Copies the readable contents of a damaged file into another outbox, up to `room` bytes of events.
fn carry_over(from: &Path, to: &mut Store, room: u64) -> Result<(), Fault> {
    let Ok(ruin) = Ruin::open(from) else {
        log::error!("no data can be read from the damaged outbox");
        return Ok(());
    };
    let known = to.setting.clone();
    let (mut kept, mut lost) = (0u64, 0u64);
    let mut whole = ruin.rows(&META, &mut |row| match Judge::new(row).value() {
        Some((key, value)) => to.keep_value(&key, &value),
        None => Ok(()),
    })?;
    let mut found = Vec::new();
    whole &= ruin.rows(&TARGET, &mut |row| {
        found.extend(Judge::new(row).target(&known));
        Ok(())
    })?;
    let targets = by_number(&found);
    let (mut batch, mut unnumbered) = (Vec::new(), Vec::new());
    let mut used: BTreeSet<u64> = BTreeSet::new();
    whole &= ruin.rows(&EVENT, &mut |row| {
        let event = Judge::new(row).event();
        let known = event.and_then(|e| Some((targets.get(&e.target)?.clone(), e)));
        let Some((destination, e)) = known.filter(|_| to.held() < room) else {
            lost += 1;
            return Ok(());
        };
        kept += 1;
        let is_own = e.item.row > 0 && used.insert(e.item.row);
        let op = Op::Event { to: destination, item: e.item, at_ms: e.at_ms };
        if is_own { &mut batch } else { &mut unnumbered }.push(op);
        flush(&mut batch, to, BATCH)
    })?;
    // Events without a readable row number are appended after all others.
    let mut most = used.last().copied().unwrap_or(0);
    for op in &mut unnumbered {
        if let Op::Event { item, .. } = op {
            most += 1;
            item.row = most;
        }
    }
    batch.append(&mut unnumbered);
    for (table, is_leg) in [(&LEG, true), (&RECORDING, false)] {
        whole &= ruin.rows(table, &mut |row| {
            let mut judge = Judge::new(row);
            let op = if is_leg {
                judge.leg().map(Op::Leg)
            } else {
                judge.recording(&known).map(|r| Op::Recording(Box::new(r)))
            };
            (kept, lost) = (kept + u64::from(op.is_some()), lost + u64::from(op.is_none()));
            batch.extend(op);
            flush(&mut batch, to, BATCH)
        })?;
    }
    flush(&mut batch, to, 1)?;
    log::error!(kept = kept, lost = lost, all_seen = whole; "readable contents of the damaged outbox were copied");
    Ok(())
}

/// Targets by row id. If two have the same id, the one out of order is the damaged one; no event is sent to a
/// wrong target.
fn by_number(found: &[(i64, Destination)]) -> BTreeMap<i64, Destination> {
    let is_less = |a: Option<&(i64, Destination)>, b: Option<&(i64, Destination)>| {
        a.zip(b).is_none_or(|((a, _), (b, _))| a < b)
    };
    let in_order = |at: usize| {
        let before = at.checked_sub(1).and_then(|n| found.get(n));
        is_less(before, found.get(at)) && is_less(found.get(at), found.get(at + 1))
    };
    let mut all = BTreeMap::new();
    for (at, (number, destination)) in found.iter().enumerate() {
        if in_order(at) || !all.contains_key(number) {
            all.insert(*number, destination.clone());
        }
    }
    all
}

/// Writes the batch if it has at least this many changes.
fn flush(batch: &mut Vec<Op>, to: &mut Store, least: usize) -> Result<(), Fault> {
    if batch.len() >= least {
        to.apply(batch)?;
        batch.clear();
    }
    Ok(())
}

/// The file contains secrets: readable by its owner only.
fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}
