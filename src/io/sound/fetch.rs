//! Sources of sounds: URLs, downloaded to temporary files with limits of size and time, and the prompt
//! directory.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::io::net::redirect::{self, MAX_REDIRECTS};
use crate::io::system::disk;
use ureq::http::Response;
use ureq::{Agent, Body};

/// Maximum size of a download, and of all temporary files together, bytes.
const MAX_SOUND: u64 = 64 * 1024 * 1024;
const MAX_ALL: u64 = 512 * 1024 * 1024;
/// Read buffer, bytes.
const PIECE: usize = 64 * 1024;

/// Directories and limits of sounds.
#[derive(Debug, Clone)]
pub struct Sounds {
    dir: PathBuf,
    prompts: Option<PathBuf>,
    /// Disk space to be left free, bytes.
    keep_free: u64,
    /// Size of all temporary files, bytes.
    held: Arc<AtomicU64>,
}

/// A sound file; a temporary one is deleted on drop.
#[derive(Debug)]
pub struct Fetched {
    /// Its file.
    pub path: PathBuf,
    temporary: Option<(u64, Arc<AtomicU64>)>,
}

impl Drop for Fetched {
    fn drop(&mut self) {
        let Some((size, held)) = &self.temporary else { return };
        held.fetch_sub(*size, Ordering::AcqRel);
        if let Err(e) = std::fs::remove_file(&self.path)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!(error:% = e; "temporary sound not removed");
        }
    }
}

/// Creates or empties the directory.
fn empty(dir: &Path) -> std::io::Result<()> {
    disk::make_directory(dir)?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl Sounds {
    /// Temporary files go to `dir`, which is emptied; `prompts` is the prompt directory. If the disk cannot
    /// be written, or less than `keep_free` bytes (needed by recordings and the outbox) would stay free, only
    /// sounds from URLs fail.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn open(dir: PathBuf, prompts: Option<PathBuf>, keep_free: u64) -> std::io::Result<Self> {
        match empty(&dir) {
            Err(e) if disk::refuses(&e) => log::error!(error:% = e; "sounds cannot be fetched from URLs"),
            done => done?,
        }
        Ok(Self { dir, prompts, keep_free, held: Arc::default() })
    }

    /// The file of a prompt; never a file outside the prompt directory.
    ///
    /// # Errors
    /// There is no such file, or no prompt directory.
    pub fn prompt(&self, name: &str) -> Result<Fetched, String> {
        let dir = self.prompts.as_ref().ok_or("no directory of prompts is configured (prompts.dir)")?;
        let dir = dir.canonicalize().map_err(|e| format!("prompts.dir: {e}"))?;
        // Symbolic links are resolved before the check.
        let file = dir.join(name).canonicalize().ok().filter(|f| f.starts_with(&dir) && f.is_file());
        file.map(|path| Fetched { path, temporary: None }).ok_or_else(|| "no such prompt".to_owned())
    }

    /// Downloads a URL (blocking) into a temporary file of this name. Stops when `given_up` is set.
    ///
    /// # Errors
    /// Why it failed.
    pub fn download(
        &self,
        client: &Agent,
        url: &str,
        name: &str,
        given_up: &AtomicBool,
    ) -> Result<Fetched, String> {
        let reply = request(client, url)?;
        if reply.body().content_length().is_some_and(|n| n > MAX_SOUND) {
            return Err(too_large());
        }
        let mut fetched = Fetched { path: self.dir.join(name), temporary: Some((0, Arc::clone(&self.held))) };
        // The disk may have refused the directory at the start.
        let mut out = disk::make_directory(&self.dir)
            .and_then(|()| File::create(&fetched.path))
            .map_err(|e| format!("the sound cannot be kept: {e}"))?;
        let mut body = reply.into_body().into_reader();
        let mut piece = vec![0; PIECE];
        loop {
            let n = body.read(&mut piece).map_err(|e| e.to_string())?;
            let got = piece.get(..n).unwrap_or_default();
            if got.is_empty() {
                return out.flush().map(|()| fetched).map_err(|e| e.to_string());
            }
            if given_up.load(Ordering::Acquire) {
                return Err("the fetch was cancelled".to_owned());
            }
            let Some((size, held)) = &mut fetched.temporary else { return Err(String::new()) };
            *size += n as u64;
            let all = held.fetch_add(n as u64, Ordering::AcqRel) + n as u64;
            if *size > MAX_SOUND {
                return Err(too_large());
            }
            if all > MAX_ALL {
                return Err(format!("the sounds being played use {} MiB already", MAX_ALL / 1024 / 1024));
            }
            self.has_room(n as u64)?;
            out.write_all(got).map_err(|e| format!("the sound cannot be kept: {e}"))?;
        }
    }

    /// Checks whether this many more bytes may be written.
    fn has_room(&self, size: u64) -> Result<(), String> {
        let Some(free) = disk::free(&self.dir).filter(|free| *free < self.keep_free + size) else {
            return Ok(());
        };
        let (free, kept) = (free >> 20, self.keep_free >> 20);
        Err(format!(
            "the disk is nearly full: {free} MB are free, {kept} must be left free (twice recording.min_free_mb)"
        ))
    }

    /// The name of a prompt, if the URL refers to one.
    #[must_use]
    pub fn prompt_of(url: &str) -> Option<&str> {
        url.strip_prefix("file:")
    }

    /// The directory of temporary files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Requests a URL, following redirects; returns a successful response.
fn request(client: &Agent, url: &str) -> Result<Response<Body>, String> {
    let mut url = url.to_owned();
    for _ in 0..=MAX_REDIRECTS {
        // Without this header, a server may use any content coding (RFC 9110 §12.5.3).
        let asked = client.get(&url).header("Accept-Encoding", "identity");
        let reply = asked.call().map_err(|e| e.to_string())?;
        let status = reply.status().as_u16();
        let field =
            |name: &str| reply.headers().get(name).and_then(|v| std::str::from_utf8(v.as_bytes()).ok());
        if redirect::is_redirect(status) {
            let to = field("Location")
                .ok_or_else(|| format!("the server answered {status} without a Location"))?;
            url = redirect::target(&url, to)?;
            continue;
        }
        // Unknown 2xx codes are treated as 200 (RFC 9110 §15); these have no content, or only a part.
        if !(200..300).contains(&status) || matches!(status, 204..=206) {
            return Err(format!("the server answered {status}"));
        }
        let coding = field("Content-Encoding").unwrap_or_default().trim();
        if !coding.is_empty() && !coding.eq_ignore_ascii_case("identity") {
            let coding = coding.escape_default();
            return Err(format!(
                "the server sent content coding {coding} although only identity is accepted"
            ));
        }
        return Ok(reply);
    }
    Err(format!("more than {MAX_REDIRECTS} redirects"))
}

fn too_large() -> String {
    format!("larger than {} MiB", MAX_SOUND / 1024 / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_only_those_in_their_directory() {
        let base = std::env::temp_dir().join(format!("branchline-fetch-{}", std::process::id()));
        let prompts = base.join("prompts");
        std::fs::create_dir_all(prompts.join("de")).unwrap();
        std::fs::write(prompts.join("de/a.wav"), "x").unwrap();
        std::fs::write(base.join("secret.wav"), "x").unwrap();
        std::os::unix::fs::symlink(base.join("secret.wav"), prompts.join("link.wav")).unwrap();
        std::os::unix::fs::symlink(prompts.join("de/a.wav"), prompts.join("inside.wav")).unwrap();
        let sounds = Sounds::open(base.join("sounds"), Some(prompts.clone()), 0).unwrap();
        assert!(sounds.prompt("de/a.wav").is_ok() && sounds.prompt("inside.wav").is_ok());
        for bad in ["../secret.wav", "link.wav", "de", "none.wav", "/etc/passwd", "a\0b", ""] {
            assert_eq!(sounds.prompt(bad).err().as_deref(), Some("no such prompt"), "{bad:?}");
        }
        assert!(prompts.join("de/a.wav").exists(), "a prompt is not removed after it was played");
        std::fs::remove_dir_all(base).unwrap();
    }
}
