//! Damaged files of the state directory: they are renamed, not deleted, and the damage is remembered for
//! `/health`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::io::system::clock;
use crate::io::system::disk;

/// Separates the name of a file from the time at which it was renamed.
const MARK: &str = ".damaged-";
/// Copies kept of each file.
const MAX_COPIES: usize = 3;
/// Companion files of SQLite are part of the same copy.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Whether state was or is damaged. Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct Damage(Arc<AtomicBool>);

impl Damage {
    /// Copies of damaged files left in `dir` by earlier runs count until they are removed.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        let damage = Self::default();
        let names: Vec<String> = names_in(dir).into_iter().filter(|n| n.contains(MARK)).collect();
        if !names.is_empty() {
            let copies = names.join(", ");
            log::warn!(copies = copies; "the state directory has copies of damaged files: remove them when they are no longer needed");
            damage.note();
        }
        damage
    }

    /// Records damage.
    pub fn note(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// True if something was or is damaged.
    #[must_use]
    pub fn is_noted(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Renames the file or directory at `path` to a unique name beside it, and deletes all but the newest
    /// [`MAX_COPIES`] copies. A missing file is not an error.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn put_aside(&self, path: &Path, why: &str) -> io::Result<()> {
        self.note();
        let Some(name) = path.file_name().and_then(OsStr::to_str) else { return Ok(()) };
        let stem = format!("{name}{MARK}{}", clock::now().utc.compact());
        let taken = |n: &usize| path.with_file_name(numbered(&stem, *n)).exists();
        let copy = numbered(&stem, (1..100).rev().find(taken).unwrap_or(0) + 1);
        match fs::rename(path, path.with_file_name(&copy)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            done => done?,
        }
        log::error!(file = name, error = why, kept = copy; "a state file is damaged and was renamed");
        for companion in COMPANIONS {
            let of = |name: &str| path.with_file_name(format!("{name}{companion}"));
            if of(name).exists() {
                fs::rename(of(name), of(&copy))?;
            }
        }
        thin_out(path, name, &copy);
        Ok(())
    }

    /// Renames what is at `path` if it is not a regular file.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn expect_file(&self, path: &Path) -> io::Result<()> {
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => self.put_aside(path, "it is not a regular file"),
            _ => Ok(()),
        }
    }

    /// Renames what is at `path` if it is not a directory.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn expect_directory(&self, path: &Path) -> io::Result<()> {
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => self.put_aside(path, "it is not a directory"),
            _ => Ok(()),
        }
    }
}

fn numbered(stem: &str, n: usize) -> String {
    if n > 1 { format!("{stem}-{n}") } else { stem.to_owned() }
}

fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect()
}

/// Deletes the oldest copies of a file; `newest` is always kept, even if the clock was wrong.
fn thin_out(path: &Path, name: &str, newest: &str) {
    let Some(dir) = path.parent() else { return };
    let is_companion = |n: &str| COMPANIONS.iter().any(|c| n.ends_with(c));
    let start = format!("{name}{MARK}");
    let mut copies = names_in(dir);
    copies.retain(|n| n.starts_with(&start) && n != newest && !is_companion(n));
    copies.sort();
    let excess = (copies.len() + 1).saturating_sub(MAX_COPIES);
    for copy in copies.iter().take(excess) {
        let all = COMPANIONS.iter().map(|c| format!("{copy}{c}")).chain([copy.clone()]);
        for gone in all.map(|n| dir.join(n)).filter(|p| p.exists()) {
            if let Err(e) = remove(&gone) {
                log::warn!(file:% = gone.display(), error:% = e; "an old copy of a damaged file cannot be removed");
            }
        }
    }
}

fn remove(path: &PathBuf) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// True for errors caused by the file's content or type, not by a disk that may recover.
#[must_use]
pub fn is_damage(e: &io::Error) -> bool {
    e.kind() != io::ErrorKind::NotFound && !disk::refuses(e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_copies_are_kept_with_their_companions() {
        let dir = std::env::temp_dir().join(format!("branchline-aside-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let damage = Damage::of(&dir);
        assert!(!damage.is_noted());
        let path = dir.join("outbox.db");
        damage.put_aside(&path, "it is not there").unwrap();
        fs::write(dir.join("outbox.db.damaged-19700101_000000"), "of a run without a clock").unwrap();
        fs::create_dir(dir.join("outbox.db.damaged-19700101_000001")).unwrap();
        fs::write(dir.join("outbox.db.damaged-19700101_000001-wal"), "its log").unwrap();
        for n in 0..4 {
            fs::write(&path, n.to_string()).unwrap();
            fs::write(dir.join("outbox.db-wal"), "log").unwrap();
            fs::write(dir.join("other"), "of somebody else").unwrap();
            damage.put_aside(&path, "a test").unwrap();
            assert!(!path.exists() && !dir.join("outbox.db-wal").exists());
        }
        let mut names = names_in(&dir);
        names.sort();
        let copies: Vec<&String> = names.iter().filter(|n| !n.ends_with("-wal")).collect();
        assert_eq!((copies.len(), names.len()), (4, 7), "{names:?}");
        let kept = |n: &&&String| fs::read_to_string(dir.join(n)).unwrap();
        let mut texts: Vec<String> = copies.iter().filter(|n| n.contains(MARK)).map(|n| kept(&n)).collect();
        texts.sort();
        assert_eq!(texts, ["1", "2", "3"]);
        assert!(Damage::of(&dir).is_noted(), "until the copies are removed");
        fs::remove_dir_all(dir).unwrap();
    }
}
