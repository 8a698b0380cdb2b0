//! The state directory: files that survive a restart, written atomically so that a power cut leaves either
//! the old or the new version.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::damage::{Damage, is_damage};
use crate::base::rng::Rng;
use crate::config::TrunkFields;
use crate::io::system::disk;

/// The state directory of a running gateway.
#[derive(Debug, Clone)]
pub struct StateDirectory {
    dir: PathBuf,
    /// The file contains trunks that could not be read.
    unread: Arc<AtomicBool>,
    damage: Damage,
    /// Holds the lock while any clone exists.
    _lock: Option<Arc<fs::File>>,
}

/// File of the trunks created over the API.
const TRUNKS: &str = "trunks.json";
/// File of the instance id.
const INSTANCE_ID: &str = "instance_id";

impl StateDirectory {
    /// Opens the directory, creating it (mode 0700) if missing, and locks it against a second gateway. If the
    /// disk cannot be written it stays missing, and nothing survives a restart.
    ///
    /// # Errors
    /// Another gateway uses it, or errors of the operating system.
    pub fn open(dir: &Path) -> io::Result<Self> {
        match disk::make_directory(dir) {
            Err(e) if disk::refuses(&e) => {
                log::error!(error:% = e; "the state directory cannot be created: nothing survives a restart");
            }
            done => done?,
        }
        let lock = lock(dir)?.map(Arc::new);
        Ok(Self { dir: dir.to_owned(), unread: Arc::default(), damage: Damage::of(dir), _lock: lock })
    }

    /// Damage of its files.
    #[must_use]
    pub fn damage(&self) -> &Damage {
        &self.damage
    }

    /// True if writing failed because of the disk. If the directory does not exist, the disk has refused it
    /// already.
    #[must_use]
    pub fn cannot_keep(&self, e: &io::Error) -> bool {
        disk::refuses(e) || !self.dir.is_dir()
    }

    /// The path of `name` in the directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Replaces file `name` atomically: written to a temporary file, synced, renamed, directory synced. A
    /// path that is not a regular file is renamed first.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let beside = self.write_beside(name, content)?;
        self.damage.expect_file(&self.path(name))?;
        self.take_place(&beside, name)
    }

    /// As [`Self::replace`] without sync, for files that are only needed while this process runs.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn show(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let (_file, beside) = self.begin_beside(name, content)?;
        self.damage.expect_file(&self.path(name))?;
        fs::rename(beside, self.path(name))
    }

    fn write_beside(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let (file, beside) = self.begin_beside(name, content)?;
        file.sync_all()?;
        Ok(beside)
    }

    fn begin_beside(&self, name: &str, content: &[u8]) -> io::Result<(fs::File, PathBuf)> {
        // The disk may have refused the directory at the start.
        disk::make_directory(&self.dir)?;
        let beside = self.path(&format!(".{name}.new"));
        self.damage.expect_file(&beside)?;
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        Ok((file, beside))
    }

    fn take_place(&self, beside: &Path, name: &str) -> io::Result<()> {
        fs::rename(beside, self.path(name))?;
        fs::File::open(&self.dir)?.sync_all()
    }

    /// Removes file `name` if it exists; a path that is not a regular file is renamed.
    pub fn remove(&self, name: &str) {
        let path = self.path(name);
        let gone = self.damage.expect_file(&path).and_then(|()| fs::remove_file(path));
        if let Err(e) = gone
            && e.kind() != io::ErrorKind::NotFound
        {
            log::warn!(file = name, error:% = e; "state file not removed");
        }
    }

    /// Saves the trunks created over the API, including passwords; the file is readable by its owner only. A
    /// file that could not be read is renamed first.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn keep_trunks(&self, trunks: &[TrunkFields]) -> io::Result<()> {
        let beside =
            self.write_beside(TRUNKS, &serde_json::to_vec_pretty(trunks).map_err(io::Error::other)?)?;
        if self.unread.load(Ordering::Relaxed) {
            self.damage.put_aside(&self.path(TRUNKS), "it could not be read at the start")?;
            self.unread.store(false, Ordering::Relaxed);
        }
        self.damage.expect_file(&self.path(TRUNKS))?;
        self.take_place(&beside, TRUNKS)
    }

    /// The trunks created over the API in earlier runs. Each trunk is validated separately: if some are
    /// invalid, the file is renamed and replaced by one with the valid ones. If the disk fails, the file is
    /// left unchanged: configured trunks still work.
    #[must_use]
    pub fn trunks(&self) -> Vec<TrunkFields> {
        let text = match fs::read(self.path(TRUNKS)) {
            Ok(text) => text,
            Err(e) if !is_damage(&e) => {
                if e.kind() != io::ErrorKind::NotFound {
                    log::error!(error:% = e; "trunks.json cannot be read: trunks created over the API are missing");
                    self.unread.store(true, Ordering::Relaxed);
                }
                return Vec::new();
            }
            Err(e) => {
                self.give_up(TRUNKS, &e.to_string());
                return Vec::new();
            }
        };
        let (trunks, whole) = readable(&text);
        if !whole {
            log::error!(kept = trunks.len(); "trunks.json contains trunks that cannot be read: it is damaged or of a newer version");
            self.damage.note();
            // Renamed only after the valid ones are saved.
            self.unread.store(true, Ordering::Relaxed);
            if let Err(e) = self.keep_trunks(&trunks) {
                log::error!(error:% = e; "the valid trunks cannot be saved");
            }
        }
        trunks
    }

    /// Renames what is at the paths of these directories if it is not a directory, for those inside the state
    /// directory.
    pub fn expect_directories(&self, all: &[&Path]) {
        for dir in all.iter().filter(|d| d.starts_with(&self.dir)) {
            if let Err(e) = self.damage.expect_directory(dir) {
                log::error!(file:% = dir.display(), error:% = e; "a file in place of a directory cannot be renamed");
            }
        }
    }

    /// Renames an unusable file; if that fails, it is left and ignored.
    fn give_up(&self, name: &str, why: &str) {
        if let Err(e) = self.damage.put_aside(&self.path(name), why) {
            log::error!(file = name, error:% = e; "a damaged state file cannot be renamed");
        }
    }

    /// The instance id of this gateway: the stored one, or a new one that is stored if the disk can be
    /// written.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn instance_id(&self, rng: &mut Rng) -> io::Result<String> {
        match fs::read_to_string(self.path(INSTANCE_ID)) {
            Ok(text) if usable(text.trim()) => return Ok(text.trim().to_owned()),
            // Left by a power cut during creation.
            Ok(text) if text.is_empty() => {}
            Ok(_) => self.give_up(INSTANCE_ID, "it contains no valid id: a new one is created"),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) if disk::refuses(&e) => {
                log::error!(error:% = e; "the instance id cannot be read: this run uses a new one");
                return Ok(rng.uuid());
            }
            Err(e) => self.give_up(INSTANCE_ID, &format!("{e}: a new one is created")),
        }
        let id = rng.uuid();
        match self.replace(INSTANCE_ID, format!("{id}\n").as_bytes()) {
            Err(e) if self.cannot_keep(&e) => {
                log::error!(error:% = e; "the instance id cannot be saved: it will change at the next start");
            }
            done => done?,
        }
        Ok(id)
    }
}

/// Locks a directory until the file is closed. `None`: locking is not supported, as on some network file
/// systems.
fn lock(dir: &Path) -> io::Result<Option<fs::File>> {
    let Ok(file) = fs::File::open(dir) else { return Ok(None) };
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(io::Error::other("another gateway uses it")),
        Err(e) => {
            log::warn!(error:% = e; "the state directory cannot be locked: a second gateway could use it");
            Ok(None)
        }
    }
}

/// The valid trunks of a file, and whether these are all. A damaged trunk does not affect the others.
fn readable(text: &[u8]) -> (Vec<TrunkFields>, bool) {
    let good = |t: &TrunkFields| !t.id.is_empty() && t.clone().check().is_ok();
    if let Ok(all) = serde_json::from_slice::<Vec<TrunkFields>>(text) {
        let count = all.len();
        let trunks: Vec<TrunkFields> = all.into_iter().filter(good).collect();
        let whole = trunks.len() == count;
        return (trunks, whole);
    }
    let (mut trunks, mut at) = (Vec::new(), 0);
    while let Some(next) = text.get(at..).and_then(|rest| rest.iter().position(|b| *b == b'{')) {
        at += next;
        let rest = text.get(at..).unwrap_or_default();
        let mut found = serde_json::Deserializer::from_slice(rest).into_iter::<TrunkFields>();
        match found.next() {
            Some(Ok(trunk)) => {
                at += found.byte_offset();
                trunks.extend(Some(trunk).filter(good));
            }
            Some(Err(_)) | None => at += 1,
        }
    }
    (trunks, false)
}

fn usable(id: &str) -> bool {
    !id.is_empty() && id.len() <= 128 && !id.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn open(name: &str) -> StateDirectory {
        StateDirectory::open(&std::env::temp_dir().join(format!("branchline-{name}-{}", std::process::id())))
            .unwrap()
    }

    fn peer(id: &str) -> TrunkFields {
        TrunkFields {
            id: id.into(),
            kind: "ip_ip".into(),
            peer_uri: "sip:10.0.0.1".into(),
            password: "p".into(),
            ..TrunkFields::default()
        }
    }

    fn copies(state: &StateDirectory, of: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&state.dir).unwrap().map(|e| e.unwrap().path());
        entries.filter(|p| p.to_str().unwrap().contains(&format!("{of}.damaged-"))).collect()
    }

    #[test]
    fn the_instance_id_is_created_once() {
        let state = open("state");
        let mut rng = Rng::from_number(1);
        let first = state.instance_id(&mut rng).unwrap();
        assert_eq!(state.instance_id(&mut rng).unwrap(), first);
        assert!(copies(&state, INSTANCE_ID).is_empty() && !state.damage().is_noted());
        for damaged in [b"\x00".as_slice(), b"\xff\xfe"] {
            state.replace(INSTANCE_ID, damaged).unwrap();
            assert_ne!(state.instance_id(&mut rng).unwrap(), first);
        }
        fs::remove_file(state.path(INSTANCE_ID)).unwrap();
        fs::create_dir_all(state.path(INSTANCE_ID).join("x")).unwrap();
        let second = state.instance_id(&mut rng).unwrap();
        assert_eq!(state.instance_id(&mut rng).unwrap(), second);
        assert_eq!((copies(&state, INSTANCE_ID).len(), state.damage().is_noted()), (3, true));
        state.remove(INSTANCE_ID);
        state.remove(INSTANCE_ID);
        fs::remove_dir_all(&state.dir).unwrap();
    }

    #[test]
    fn a_directory_has_one_gateway() {
        let state = open("lock");
        let clone = state.clone();
        drop(state);
        let busy = StateDirectory::open(&clone.dir).unwrap_err();
        assert_eq!(busy.to_string(), "another gateway uses it");
        let dir = clone.dir.clone();
        drop(clone);
        StateDirectory::open(&dir).unwrap();
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_damaged_trunk_does_not_affect_the_others() {
        let state = open("trunks");
        assert_eq!(state.trunks(), []);
        let trunks = ["a", "b", "c"].map(peer);
        state.keep_trunks(&trunks).unwrap();
        assert_eq!(state.trunks(), trunks);
        let mode = fs::metadata(state.path(TRUNKS)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(state.path(TRUNKS)).unwrap();
        // Damaged: a key, the kind, a brace, a quote, a byte that is not UTF-8.
        let (head, second) = text.split_once("  {\n    \"id\": \"b\"").unwrap();
        let damaged = |from: &str, to: &str| {
            format!("{head}  {{\n    \"id\": \"b\"{}", second.replacen(from, to, 1)).into_bytes()
        };
        let mut no_text = text.clone().into_bytes();
        no_text[text.find("\"b\"").unwrap() + 1] = 0xff;
        for bytes in [
            damaged("password", "passwprd"),
            damaged("ip_ip", "ip_iq"),
            damaged("}", "]"),
            damaged("\"ip_ip\"", "\"ip_ip"),
            no_text,
        ] {
            state.replace(TRUNKS, &bytes).unwrap();
            assert_eq!(state.trunks(), [peer("a"), peer("c")], "{}", String::from_utf8_lossy(&bytes));
            let aside = copies(&state, TRUNKS).into_iter().map(|c| fs::read(c).unwrap());
            assert!(aside.into_iter().any(|copy| copy == bytes), "the unreadable file is kept");
            assert_eq!(state.trunks(), [peer("a"), peer("c")], "the others are saved");
        }
        assert_eq!((copies(&state, TRUNKS).len(), state.damage().is_noted()), (3, true));
        state.replace(TRUNKS, b"").unwrap();
        assert_eq!(state.trunks(), []);
        fs::remove_file(state.path(TRUNKS)).unwrap();
        fs::create_dir(state.path(TRUNKS)).unwrap();
        fs::create_dir(state.path(&format!(".{TRUNKS}.new"))).unwrap();
        assert_eq!(state.trunks(), []);
        state.keep_trunks(&trunks).unwrap();
        assert_eq!(state.trunks(), trunks);
        fs::remove_dir_all(&state.dir).unwrap();
    }

    #[test]
    fn a_file_unreadable_because_of_the_disk_is_not_overwritten() {
        let state = open("unread");
        state.replace(TRUNKS, b"[{\"of_a_newer_version\": 1}]").unwrap();
        state.unread.store(true, Ordering::Relaxed);
        state.keep_trunks(&[]).unwrap();
        assert_eq!(fs::read(&copies(&state, TRUNKS)[0]).unwrap(), b"[{\"of_a_newer_version\": 1}]");
        assert_eq!(state.trunks(), []);
        state.unread.store(true, Ordering::Relaxed);
        state.remove(TRUNKS);
        state.keep_trunks(&[peer("t")]).unwrap();
        assert_eq!(state.trunks(), [peer("t")]);
        fs::remove_dir_all(&state.dir).unwrap();
    }
}
