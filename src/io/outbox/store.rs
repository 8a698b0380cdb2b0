//! Persistent state in an SQLite file: undelivered events, active legs, recordings. Written through the page
//! cache in WAL mode, by the one thread that owns it.

use std::cell::RefCell;
use std::path::PathBuf;

use rusqlite::Connection;

use super::fault::{Fault, is_damage, text, unreadable};
use super::judge::Known;
use super::rows::{Op, ROW, Targets, apply};
use crate::delivery::share::{Holding, Origin, to_give_up};

/// Name of the outbox file in the state directory.
pub const FILE: &str = "outbox.db";
/// Fraction of the space cleared at once when it is full, so that this happens rarely.
const CLEARED: u64 = 16;

/// How a time is corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewTime {
    /// Increased by the value.
    Later,
    /// Set to the value.
    At,
}

/// The open outbox.
#[derive(Debug)]
pub struct Store {
    pub(super) db: Connection,
    pub(super) path: PathBuf,
    in_memory: bool,
    /// Approximate bytes of the events stored.
    held: u64,
    targets: Targets,
    /// Information from other sources.
    pub(super) setting: Known,
    /// Damage detected.
    damaged: RefCell<Option<Fault>>,
}

impl Store {
    pub(super) fn of(db: Connection, path: PathBuf, setting: Known, in_memory: bool, held: u64) -> Self {
        let (targets, damaged) = (Targets::default(), RefCell::default());
        Self { db, path, in_memory, held, targets, setting, damaged }
    }

    /// Records damage, for [`Self::take_damage`].
    pub(super) fn noted<T>(&self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        outcome.inspect_err(|e| {
            if is_damage(e) {
                *self.damaged.borrow_mut() = Some(unreadable(&text(e)));
            }
        })
    }

    /// Damage detected since the last call; repaired by [`Self::renew`].
    #[must_use]
    pub fn take_damage(&self) -> Option<Fault> {
        self.damaged.borrow_mut().take()
    }

    /// True if nothing survives the process.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    /// Makes all writes fail, or succeed again.
    #[cfg(test)]
    pub(in crate::io) fn set_refusing(&self, yes: bool) {
        self.db.pragma_update(None, "query_only", yes).unwrap();
    }

    /// The file to sync so that all committed data is safe; `None` in memory.
    #[must_use]
    pub fn log_file(&self) -> Option<PathBuf> {
        (!self.in_memory).then(|| PathBuf::from(format!("{}-wal", self.path.display())))
    }

    /// Approximate bytes of the events stored.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Applies all changes in one transaction.
    ///
    /// # Errors
    /// SQLite errors; then nothing has changed.
    pub fn apply(&mut self, ops: &[Op]) -> Result<(), Fault> {
        let done = self.try_apply(ops);
        if done.is_err() {
            // Row ids of targets that were rolled back must not stay in the cache.
            self.targets.forget_all();
        }
        self.noted(done)
    }

    fn try_apply(&mut self, ops: &[Op]) -> Result<(), Fault> {
        // As prepared statements: a call has several transactions, and parsing takes longer than executing.
        self.db.prepare_cached("BEGIN")?.execute([])?;
        let done = self.apply_all(ops).and_then(|held| {
            self.db.prepare_cached("COMMIT")?.execute([])?;
            Ok(held)
        });
        if done.is_err() && !self.db.is_autocommit() {
            // Not necessary if the error has already rolled it back.
            self.db.execute_batch("ROLLBACK")?;
        }
        self.held = done?;
        Ok(())
    }

    /// Applies changes; returns the approximate bytes of events then stored.
    fn apply_all(&mut self, ops: &[Op]) -> Result<u64, Fault> {
        let mut held = self.held;
        for op in ops {
            apply(&self.db, &mut self.targets, &mut held, op)?;
        }
        self.targets.forget_idle(&self.db)?;
        Ok(held)
    }

    /// Frees space: first deletes events older than `before_ms`, then those chosen by [`to_give_up`]. Returns
    /// the number of lost events.
    ///
    /// # Errors
    /// SQLite errors.
    pub fn prune(&mut self, before_ms: u64, budget: u64) -> Result<u64, Fault> {
        let done = self.try_prune(before_ms, budget);
        self.noted(done)
    }

    fn try_prune(&mut self, before_ms: u64, budget: u64) -> Result<u64, Fault> {
        let tx = self.db.transaction()?;
        let mut lost = tx.execute("DELETE FROM event WHERE at < ?1", [before_ms])? as u64;
        let sum = "SELECT COALESCE(SUM(LENGTH(body) + ?1), 0) FROM event";
        let mut held = self.held;
        if lost > 0 {
            held = tx.query_row(sum, [ROW], |r| r.get(0))?;
        }
        if held > budget {
            let mut ask = tx.prepare_cached("SELECT id, origin, terminal, LENGTH(body) + ?1 FROM event")?;
            let all = ask.query_map([ROW], |r| {
                let origin: Option<String> = r.get(1)?;
                let origin = origin.and_then(|text| Origin::parse(&text)).unwrap_or_default();
                Ok(Holding { row: r.get(0)?, origin, terminal: r.get(2)?, size: r.get(3)? })
            })?;
            let all: Vec<Holding> = all.collect::<Result<_, _>>()?;
            let mut delete = tx.prepare_cached("DELETE FROM event WHERE id = ?1")?;
            for row in to_give_up(all, budget - budget / CLEARED) {
                lost += delete.execute([row])? as u64;
            }
            held = tx.query_row(sum, [ROW], |r| r.get(0))?;
        }
        if lost > 0 {
            tx.execute("DELETE FROM target WHERE trusted = 0 AND id NOT IN (SELECT target FROM event)", [])?;
            self.targets.forget_all();
        }
        tx.commit()?;
        self.held = held;
        Ok(lost)
    }

    /// Corrects times from `from_ms` to `until_ms`: increases them by `ms`, or sets them to `ms`.
    ///
    /// # Errors
    /// SQLite errors.
    pub fn date(&mut self, from_ms: u64, until_ms: u64, new: NewTime, ms: u64) -> Result<(), Fault> {
        let done = self.try_date(from_ms, until_ms, new, ms);
        self.noted(done)
    }

    fn try_date(&mut self, from_ms: u64, until_ms: u64, new: NewTime, ms: u64) -> Result<(), Fault> {
        let all = self.db.transaction()?;
        let times = [("event", "at"), ("recording", "started"), ("leg", "created"), ("leg", "answered")];
        for (table, time) in times {
            let later = if new == NewTime::Later { format!("{time} +") } else { String::new() };
            let change = format!("UPDATE {table} SET {time} = {later} ?3 WHERE {time} BETWEEN ?1 AND ?2");
            all.execute(&change, [from_ms, until_ms, ms])?;
        }
        all.commit()
    }

    /// Stores a value.
    ///
    /// # Errors
    /// SQLite errors.
    pub fn keep_value(&self, key: &str, value: &str) -> Result<(), Fault> {
        let put = || {
            let mut put = self.db.prepare_cached("INSERT OR REPLACE INTO meta(key, value) VALUES(?1, ?2)")?;
            put.execute([key, value]).map(|_| ())
        };
        self.noted(put())
    }
}
