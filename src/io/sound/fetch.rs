//! Where sounds come from: URLs, fetched into a temporary file with limits of size and time, and the directory of
//! prompts.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::io::net::http_client::HttpClient;
use crate::io::net::redirect::{self, MAX_REDIRECTS};
use crate::io::system::disk;
use ureq::Body;
use ureq::http::Response;

/// Largest sound fetched, and all that are there at once, bytes.
const MAX_SOUND: u64 = 64 * 1024 * 1024;
const MAX_ALL: u64 = 512 * 1024 * 1024;
/// Read at a time, bytes.
const PIECE: usize = 64 * 1024;

/// The places sounds are taken from.
#[derive(Debug, Clone)]
pub struct Sounds {
    dir: PathBuf,
    prompts: Option<PathBuf>,
    /// Bytes of the disk that are left to others.
    keep_free: u64,
    /// Bytes of all temporary files.
    held: Arc<AtomicU64>,
}

/// A sound that is here; a temporary one goes away with this.
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

/// The directory, with nothing of an earlier run in it.
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
    /// Temporary files go to `dir`, which is emptied; `prompts` holds those that have names. Where the disk takes
    /// nothing, sounds of URLs fail one by one, and all else is played; so do they where fewer than `keep_free` bytes would
    /// stay free, which recordings and the outbox need.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(dir: PathBuf, prompts: Option<PathBuf>, keep_free: u64) -> std::io::Result<Self> {
        match empty(&dir) {
            Err(e) if disk::refuses(&e) => log::error!(error:% = e; "no sound can be fetched from a URL"),
            done => done?,
        }
        Ok(Self { dir, prompts, keep_free, held: Arc::default() })
    }

    /// The file of a name in the directory of prompts, and of none outside it.
    ///
    /// # Errors
    /// There is no such file, or no such directory.
    pub fn prompt(&self, name: &str) -> Result<Fetched, String> {
        let dir = self.prompts.as_ref().ok_or("no directory of prompts is configured (prompts.dir)")?;
        let dir = dir.canonicalize().map_err(|e| format!("prompts.dir: {e}"))?;
        // Links that lead out of it count as what they are.
        let file = dir.join(name).canonicalize().ok().filter(|f| f.starts_with(&dir) && f.is_file());
        file.map(|path| Fetched { path, temporary: None }).ok_or_else(|| "no such prompt".to_owned())
    }

    /// Fetches what a URL leads to (blocking) into a temporary file of this name. Ends early once it is `given_up`.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn download(
        &self,
        client: &HttpClient,
        url: &str,
        name: &str,
        given_up: &AtomicBool,
    ) -> Result<Fetched, String> {
        let reply = request(client, url)?;
        if reply.body().content_length().is_some_and(|n| n > MAX_SOUND) {
            return Err(too_large());
        }
        let mut fetched = Fetched { path: self.dir.join(name), temporary: Some((0, Arc::clone(&self.held))) };
        // The disk may not have taken the directory when the gateway started.
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
                return Err("it is not wanted any more".to_owned());
            }
            let Some((size, held)) = &mut fetched.temporary else { return Err(String::new()) };
            *size += n as u64;
            let all = held.fetch_add(n as u64, Ordering::AcqRel) + n as u64;
            if *size > MAX_SOUND {
                return Err(too_large());
            }
            if all > MAX_ALL {
                return Err(format!("the sounds being played take {} MiB already", MAX_ALL / 1024 / 1024));
            }
            self.has_room(n as u64)?;
            out.write_all(got).map_err(|e| format!("the sound cannot be kept: {e}"))?;
        }
    }

    /// Whether so many bytes more may be written, and why not.
    fn has_room(&self, size: u64) -> Result<(), String> {
        let Some(free) = disk::free(&self.dir).filter(|free| *free < self.keep_free + size) else {
            return Ok(());
        };
        let (free, kept) = (free >> 20, self.keep_free >> 20);
        Err(format!(
            "the disk is nearly full: {free} MB are free, {kept} are left to others (twice recording.min_free_mb)"
        ))
    }

    /// The name of a prompt, if that is what a URL means.
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

/// Asks for what a URL leads to, wherever it has moved; an answer that holds it.
fn request(client: &HttpClient, url: &str) -> Result<Response<Body>, String> {
    let mut url = url.to_owned();
    for _ in 0..=MAX_REDIRECTS {
        // Without a word on it, a server may send whatever coding it likes (RFC 9110 §12.5.3).
        let asked = client.fetching().get(&url).header("Accept-Encoding", "identity");
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
        // A class is understood by its first digit (RFC 9110 §15); these hold nothing, or a part nobody asked for.
        if !(200..300).contains(&status) || matches!(status, 204..=206) {
            return Err(format!("the server answered {status}"));
        }
        let coding = field("Content-Encoding").unwrap_or_default().trim();
        if !coding.is_empty() && !coding.eq_ignore_ascii_case("identity") {
            let coding = coding.escape_default();
            return Err(format!("the server sends it as {coding}, though only identity was asked for"));
        }
        return Ok(reply);
    }
    Err(format!("more than {MAX_REDIRECTS} redirections"))
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
