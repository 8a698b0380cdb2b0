//! The state directory: what survives a restart, written so that a power cut leaves old or new, never half.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::disk;
use crate::base::rng::Rng;
use crate::config::TrunkFields;

/// The state directory of a running gateway.
#[derive(Debug, Clone)]
pub struct State {
    dir: PathBuf,
    /// There may be trunks in the file that we do not know.
    unread: Arc<AtomicBool>,
}

/// File of the trunks that the API made.
const TRUNKS: &str = "trunks.json";
/// Where it is put when it is no such file any more.
const DAMAGED_TRUNKS: &str = "trunks.damaged.json";

impl State {
    /// Opens the directory, making it (mode 0700) where it is missing. Where the disk takes nothing it stays missing, and
    /// nothing survives a restart.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(dir: &Path) -> io::Result<Self> {
        match disk::make_directory(dir) {
            Err(e) if disk::refuses(&e) => {
                log::error!(error:% = e; "the state directory cannot be made: nothing survives a restart");
            }
            done => done?,
        }
        Ok(Self { dir: dir.to_owned(), unread: Arc::default() })
    }

    /// It is the disk that takes nothing. Without the directory it has refused that one already.
    #[must_use]
    pub fn cannot_keep(&self, e: &io::Error) -> bool {
        disk::refuses(e) || !self.dir.is_dir()
    }

    /// The path of `name` in the directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Replaces file `name` as a whole: written beside it, synced, renamed, directory synced.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        // The disk may not have taken the directory when the gateway started.
        disk::make_directory(&self.dir)?;
        let beside = self.path(&format!(".{name}.new"));
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, self.path(name))?;
        fs::File::open(&self.dir)?.sync_all()
    }

    /// Removes file `name` if it is there.
    pub fn remove(&self, name: &str) {
        if let Err(e) = fs::remove_file(self.path(name))
            && e.kind() != io::ErrorKind::NotFound
        {
            log::warn!(file = name, error:% = e; "state file not removed");
        }
    }

    /// Writes down the trunks that the API made, passwords included; the file is for its owner only. One that could not be
    /// read is put aside before.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn keep_trunks(&self, trunks: &[TrunkFields]) -> io::Result<()> {
        if self.unread.load(Ordering::Relaxed) {
            self.put_trunks_aside()?;
        }
        self.replace(TRUNKS, &serde_json::to_vec_pretty(trunks).map_err(io::Error::other)?)
    }

    /// The trunks that the API made in earlier lives. A file that is no list of trunks any more is put aside, and one on
    /// a disk that fails is left: the trunks of the configuration work without.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn trunks(&self) -> io::Result<Vec<TrunkFields>> {
        let text = match fs::read(self.path(TRUNKS)) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) if disk::refuses(&e) => {
                log::error!(error:% = e; "trunks.json cannot be read: the trunks that the API made are not there");
                self.unread.store(true, Ordering::Relaxed);
                return Ok(Vec::new());
            }
            Err(e) => return Err(e),
        };
        let damage = match serde_json::from_slice(&text) {
            Ok(trunks) => return Ok(trunks),
            Err(e) => io::Error::other(e),
        };
        // It may be one of a newer version.
        if serde_json::from_slice::<Vec<serde_json::Map<String, serde_json::Value>>>(&text).is_ok() {
            return Err(damage);
        }
        log::error!(error:% = damage, kept = DAMAGED_TRUNKS; "trunks.json is damaged: the trunks that the API made are not there");
        self.unread.store(true, Ordering::Relaxed);
        match self.put_trunks_aside() {
            Err(e) if !disk::refuses(&e) => Err(e),
            _ => Ok(Vec::new()),
        }
    }

    fn put_trunks_aside(&self) -> io::Result<()> {
        match fs::rename(self.path(TRUNKS), self.path(DAMAGED_TRUNKS)) {
            // Somebody has repaired the disk, and the file was lost by it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
        self.unread.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// The name of this gateway: the one kept here, or a new one that is kept from now on, if the disk takes it.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn instance_id(&self, rng: &mut Rng) -> io::Result<String> {
        match fs::read_to_string(self.path("instance_id")) {
            Ok(text) if usable(text.trim()) => return Ok(text.trim().to_owned()),
            Ok(_) => log::warn!("the kept instance id is not usable; a new one is made"),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                log::warn!("the kept instance id is not text; a new one is made");
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) if disk::refuses(&e) => {
                log::error!(error:% = e; "the instance id cannot be read: this run has another");
                return Ok(rng.uuid());
            }
            Err(e) => return Err(e),
        }
        let id = rng.uuid();
        match self.replace("instance_id", format!("{id}\n").as_bytes()) {
            Err(e) if self.cannot_keep(&e) => {
                log::error!(error:% = e; "the instance id cannot be kept: the next start has another");
            }
            done => done?,
        }
        Ok(id)
    }
}

fn usable(id: &str) -> bool {
    !id.is_empty() && id.len() <= 128 && !id.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_instance_id_is_made_once() {
        let dir = std::env::temp_dir().join(format!("branchline-state-{}", std::process::id()));
        let state = State::open(&dir).unwrap();
        let mut rng = Rng::from_number(1);
        let first = state.instance_id(&mut rng).unwrap();
        assert_eq!(state.instance_id(&mut rng).unwrap(), first);
        state.replace("instance_id", b"\x00").unwrap();
        assert_ne!(state.instance_id(&mut rng).unwrap(), first);
        state.remove("instance_id");
        state.remove("instance_id");
        assert_eq!(state.trunks().unwrap(), []);
        let trunk = TrunkFields { id: "t".into(), password: "p".into(), ..TrunkFields::default() };
        state.keep_trunks(std::slice::from_ref(&trunk)).unwrap();
        assert_eq!(state.trunks().unwrap(), std::slice::from_ref(&trunk));
        let mode = fs::metadata(state.path(TRUNKS)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        state.replace(TRUNKS, b"[7]").unwrap();
        assert_eq!(state.trunks().unwrap(), [], "a damaged file does not keep the gateway from its calls");
        assert_eq!(fs::read(state.path(DAMAGED_TRUNKS)).unwrap(), b"[7]", "and is not lost");
        assert_eq!(state.trunks().unwrap(), [], "there is none now");
        state.replace(TRUNKS, b"[{\"of_a_newer_version\": 1}]").unwrap();
        assert!(state.trunks().is_err(), "nothing is wrong with it");
        // What a failing disk did not let us read is not overwritten.
        state.unread.store(true, Ordering::Relaxed);
        state.keep_trunks(&[]).unwrap();
        let aside = fs::read(state.path(DAMAGED_TRUNKS)).unwrap();
        assert_eq!(aside, b"[{\"of_a_newer_version\": 1}]");
        assert_eq!(state.trunks().unwrap(), []);
        state.unread.store(true, Ordering::Relaxed);
        state.remove(TRUNKS);
        state.keep_trunks(std::slice::from_ref(&trunk)).unwrap();
        assert_eq!(state.trunks().unwrap(), [trunk]);
        fs::remove_dir_all(dir).unwrap();
    }
}
