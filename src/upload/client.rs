//! Uploads one recording to its bucket: in one request, or as a multipart upload that survives restarts;
//! verified at the end.

use std::cell::RefCell;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek as _, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_channel::Sender;
use md5::Md5;
use sha2::{Digest as _, Sha256};
use ureq::Agent;

use super::credentials::Chain;
use super::pace::{Pace, Paced};
use super::request::{Content, Request, send};
use super::s3_response::{self, Answer};
use super::sigv4::Keys;
use super::verdict::{Verdict, judge};
use super::way::Way;
use crate::base::hex::hex;
use crate::config::{Place, S3};
use crate::delivery::failure::Failure;
use crate::delivery::uploads::Job;
use crate::io::net::http_client::{Rules, upload_agent};
use crate::io::outbox::rows::RecordingRow;
use crate::io::recording::uploads::Flight;
use crate::io::system::clock;

/// Files larger than this are sent as multipart uploads, bytes.
const WHOLE: u64 = 16 * 1024 * 1024;
/// Part size, bytes; the last part may be smaller.
const PART: u64 = 8 * 1024 * 1024;
/// Lowest bandwidth assumed for the first time-out, bytes/s.
const SLOWEST: u64 = 8 * 1024;

/// Why an upload failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Temporary failure.
    #[error("{}", .0.why)]
    Later(Failure),
    /// Temporary failure of this recording only, others need not wait: the file cannot be read.
    #[error("{0}")]
    Local(String),
    /// The server does not know the multipart upload, or has other parts.
    #[error("{0}")]
    Anew(String),
    /// Permanent failure.
    #[error("{0}")]
    Never(String),
    /// The file is missing, and the object is not known to exist.
    #[error("{0}")]
    Lost(&'static str),
    /// Cancelled: the recording was deleted.
    #[error("the recording is deleted")]
    Cancelled,
}

/// One recording to upload.
#[derive(Debug)]
pub struct Task {
    /// From the queue.
    pub job: Job,
    /// From the outbox.
    pub row: RecordingRow,
    /// Progress, and the cancellation flag.
    pub flight: Arc<Flight>,
}

/// Id of a multipart upload to be stored: the recording, and the id, if any.
pub type Note = (String, Option<String>);

/// Uploads.
#[derive(Debug)]
pub struct Client {
    settings: S3,
    free: Agent,
    guarded: Agent,
    chain: Chain,
    pace: Pace,
    notes: Sender<Note>,
}

/// Request body.
enum Load<'a> {
    Nothing,
    Text(&'a str),
    Sound(&'a File, &'a Piece),
}

/// Part of a file with its hashes.
struct Piece {
    from: u64,
    len: u64,
    sha256: [u8; 32],
    md5: [u8; 16],
}

/// State common to all requests of an upload.
struct Course<'a> {
    client: &'a Client,
    task: &'a Task,
    way: RefCell<Way>,
    keys: Keys,
    key: String,
    /// Id of the multipart upload.
    name: RefCell<Option<String>>,
}

impl Client {
    /// A client; ids of multipart uploads are sent to `notes`.
    #[must_use]
    pub fn new(settings: &S3, rules: &Rules, notes: Sender<Note>) -> Self {
        Self {
            free: upload_agent(rules, true, settings.allow_http),
            guarded: upload_agent(rules, false, settings.allow_http),
            chain: Chain::default(),
            pace: Pace::new(settings.max_kbit_s),
            settings: settings.clone(),
            notes,
        }
    }

    /// Uploads a recording. Blocks until done.
    ///
    /// # Errors
    /// The object is not known to be stored completely.
    pub fn upload(&self, task: &Task) -> Result<(), Fault> {
        let place = &task.job.place;
        let course = Course {
            client: self,
            task,
            way: RefCell::new(Way::new(place, &self.settings)),
            keys: self.keys(place)?,
            key: place.key(&task.row.id),
            name: RefCell::new(task.row.upload_id.clone()),
        };
        let result = course.run();
        let cancelled = task.flight.cancelled.load(Ordering::Acquire);
        if cancelled || matches!(result, Err(Fault::Never(_))) {
            course.abort();
        }
        if cancelled { Err(Fault::Cancelled) } else { result }
    }

    fn keys(&self, place: &Place) -> Result<Keys, Fault> {
        let s3 = &self.settings;
        let own = [&s3.access_key, &s3.secret_key].map(|key| key.reveal().to_owned());
        let own = (!s3.access_key.is_empty()).then(|| own.into());
        if place.keys.is_none() && !place.may_use_own_keys() {
            // A recording stored by an earlier version.
            let what = format!("the server {} was named without keys for it", place.endpoint);
            return Err(Fault::Never(what));
        }
        match place.keys.clone().or(own) {
            Some((access_key, secret_key)) => Ok(Keys { access_key, secret_key, session_token: None }),
            None => self.chain.keys(clock::now().utc, &|name| std::env::var(name).ok()).map_err(later),
        }
    }
}

impl Course<'_> {
    fn run(&self) -> Result<(), Fault> {
        let mut file = match File::open(&self.task.row.file) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return self.find_lost(),
            Err(e) => return Err(unreadable(&e)),
        };
        let len = file.metadata().map_err(|e| unreadable(&e))?.len();
        if len > WHOLE { self.in_parts(&mut file, len) } else { self.whole(&mut file, len) }
    }

    /// Sends a request; repeats it once for each correction that the response requires.
    fn send(&self, method: &'static str, query: &[(&str, &str)], load: &Load<'_>) -> Result<Answer, Fault> {
        loop {
            let told = self.send_once(method, query, load)?;
            let (place, settings) = (&self.task.job.place, &self.client.settings);
            let now = clock::now().utc;
            if !self.way.borrow_mut().correct(&told, place, settings, &self.key, now) {
                return Ok(told);
            }
            log::debug!(status = told.status; "a request to a bucket is sent once more, in another way");
        }
    }

    fn send_once(
        &self,
        method: &'static str,
        query: &[(&str, &str)],
        load: &Load<'_>,
    ) -> Result<Answer, Fault> {
        let trusted = self.task.job.place.trusted;
        let agent = if trusted { &self.client.free } else { &self.client.guarded };
        let way = self.way.borrow().clone();
        let go = |content| send(agent, &way, &self.keys, Request { method, key: &self.key, query, content });
        let told = match load {
            Load::Nothing => go(Content::Nothing),
            Load::Text(text) => go(Content::Text(text)),
            Load::Sound(file, piece) => {
                let mut file: &File = file;
                file.seek(SeekFrom::Start(piece.from)).map_err(|e| unreadable(&e))?;
                let inner = Read::take(file, piece.len);
                let flight = &self.task.flight;
                flight.sent.store(piece.from, Ordering::Relaxed);
                let mut sound = Paced { inner, pace: &self.client.pace, flight };
                go(Content::Sound(&mut sound, piece.len, piece.sha256, self.patience(piece.len)))
            }
        };
        told.map_err(later)
    }

    /// A request without body or with a text body.
    fn ask(&self, method: &'static str, query: &[(&str, &str)], text: Option<&str>) -> Result<Answer, Fault> {
        self.send(method, query, &text.map_or(Load::Nothing, Load::Text))
    }

    fn put(&self, file: &File, query: &[(&str, &str)], piece: &Piece) -> Result<Answer, Fault> {
        good(self.send("PUT", query, &Load::Sound(file, piece))?)
    }

    /// Time-out of a body: at [`SLOWEST`], longer after failures, in case the line really is that slow.
    fn patience(&self, len: u64) -> Duration {
        let limit = u64::from(self.client.settings.max_kbit_s) * 1000 / 8 / 8;
        let rate = if limit == 0 { SLOWEST } else { limit.min(SLOWEST) };
        let times = 1 + u64::from(self.task.job.failures.min(8));
        Duration::from_secs(60 + len / rate.max(1) * times)
    }

    fn whole(&self, file: &mut File, len: u64) -> Result<(), Fault> {
        let piece = self.digests(file, 0, len)?;
        let told = self.put(file, &[], &piece)?.etag;
        self.verify(told.as_deref(), &hex(&piece.md5), len)
    }

    /// Nothing is hashed before the server has responded: if it is unreachable, the file need not be read.
    fn in_parts(&self, file: &mut File, len: u64) -> Result<(), Fault> {
        let (name, there) = match &self.task.row.upload_id {
            Some(name) => match self.parts(name) {
                Ok(there) => (name.clone(), there),
                // The response to the completion in an earlier try may have been lost.
                Err(Fault::Anew(_)) if self.is_complete(file, len)? => return Ok(()),
                Err(Fault::Anew(_)) => (self.begin()?, Vec::new()),
                Err(e) => return Err(e),
            },
            None => (self.begin()?, Vec::new()),
        };
        let (mut etags, mut digests, mut guessed) = (Vec::new(), Vec::new(), false);
        for (number, (from, size)) in (1u32..).zip(parts_of(len)) {
            let piece = self.digests(file, from, size)?;
            let md5 = hex(&piece.md5);
            digests.push(piece.md5);
            let same = |p: &s3_response::Part| {
                p.part_number == number && p.size == size && s3_response::bare(&p.etag) == md5
            };
            if there.iter().any(same) {
                etags.push(md5);
                continue;
            }
            let number = number.to_string();
            let query = [("partNumber", number.as_str()), ("uploadId", name.as_str())];
            let told = self.forgotten(self.put(file, &query, &piece))?;
            guessed |= told.etag.is_none();
            // If the ETag is not given, it most likely is the MD5.
            etags.push(told.etag.unwrap_or(md5));
        }
        if guessed {
            self.look_up(&name, &mut etags)?;
        }
        let told = self.complete(&name, &etags);
        if guessed && matches!(told, Err(Fault::Anew(_))) {
            return Err(Fault::Never("the server tells no ETag of a part, and takes no other".to_owned()));
        }
        self.verify(self.forgotten(told)?.as_deref(), &combined(&digests), len)
    }

    /// Completes missing ETags from the server's list of parts, if it has one.
    fn look_up(&self, name: &str, etags: &mut [String]) -> Result<(), Fault> {
        for part in self.parts(name)? {
            let at = usize::try_from(part.part_number).ok().and_then(|n| n.checked_sub(1));
            if let Some(etag) = at.and_then(|at| etags.get_mut(at)) {
                *etag = s3_response::bare(&part.etag);
            }
        }
        Ok(())
    }

    /// Completes the multipart upload; returns the ETag, if given. Only a complete response proves success.
    fn complete(&self, name: &str, etags: &[String]) -> Result<Option<String>, Fault> {
        let order = s3_response::complete_order(etags);
        let told = good(self.ask("POST", &[("uploadId", name)], Some(&order))?)?;
        s3_response::completed(&told.text).ok_or_else(|| strange(&told))
    }

    /// True if the object exists and consists of the parts of this file.
    fn is_complete(&self, file: &mut File, len: u64) -> Result<bool, Fault> {
        let digest = |(from, size)| self.digests(file, from, size).map(|p| p.md5);
        let digests: Vec<[u8; 16]> = parts_of(len).map(digest).collect::<Result<_, _>>()?;
        let there = self.ask("HEAD", &[], None)?;
        let same = there.etag == Some(combined(&digests)) && there.length == Some(len);
        Ok(same && (200..300).contains(&there.status))
    }

    /// Starts a multipart upload and stores its id.
    fn begin(&self) -> Result<String, Fault> {
        let told = good(self.ask("POST", &[("uploads", "")], None)?)?;
        let name = s3_response::upload_id(&told.text).ok_or_else(|| strange(&told))?;
        self.note(Some(name.clone()));
        Ok(name)
    }

    /// If the server has forgotten the multipart upload, the next try starts a new one.
    fn forgotten<T>(&self, told: Result<T, Fault>) -> Result<T, Fault> {
        if matches!(told, Err(Fault::Anew(_))) {
            // It may still exist with parts that do not match.
            self.abort();
            self.note(None);
        }
        told
    }

    fn note(&self, name: Option<String>) {
        self.name.replace(name.clone());
        // The receiver lives as long as the gateway.
        if self.client.notes.send_blocking((self.task.row.id.clone(), name)).is_err() {
            log::debug!("an upload in parts is not written down");
        }
    }

    /// The parts already uploaded.
    fn parts(&self, name: &str) -> Result<Vec<s3_response::Part>, Fault> {
        let told = self.ask("GET", &[("uploadId", name)], None)?;
        let refused = matches!(told.status, 400..=499 | 501);
        let told = match good(told) {
            // Without permission to list parts, all are sent again.
            Err(Fault::Later(_) | Fault::Never(_)) if refused => return Ok(Vec::new()),
            told => told?,
        };
        s3_response::parts(&told.text).ok_or_else(|| strange(&told))
    }

    /// Aborts a multipart upload that is no longer needed.
    fn abort(&self) {
        let name = self.name.borrow().clone();
        let Some(name) = name else { return };
        if let Err(e) = self.ask("DELETE", &[("uploadId", &name)], None).and_then(good) {
            log::debug!(error:% = e; "an upload in parts is left at its server");
        }
    }

    /// Verifies that the object equals the file. The server has accepted every byte with a signed SHA-256 and
    /// returned an ETag: that is compared, or, if the server computes ETags differently, the size, which
    /// requires read permission.
    fn verify(&self, told: Option<&str>, wanted: &str, len: u64) -> Result<(), Fault> {
        if told == Some(wanted) {
            return Ok(());
        }
        let there = self.ask("HEAD", &[], None);
        let other = || later("what is in the bucket is not what was sent".to_owned());
        match there {
            Ok(there) if (200..300).contains(&there.status) => match there.length {
                Some(length) if length != len => Err(other()),
                None if told.is_none() => Err(other()),
                _ => Ok(()),
            },
            Ok(there) if there.status == 404 => Err(other()),
            Ok(there) if matches!(there.status, 403 | 405 | 501) => Ok(()),
            // An object with an ETag exists, whether or not it can be queried now.
            _ if told.is_some() => Ok(()),
            Ok(there) => Err(later(s3_response::explain(&there))),
            Err(e) => Err(e),
        }
    }

    /// The file is missing: perhaps it was uploaded, and the power failed before that was stored.
    fn find_lost(&self) -> Result<(), Fault> {
        let there = self.ask("HEAD", &[], None)?;
        match there.status {
            200 if there.length == Some(self.task.row.bytes) && there.etag.is_some() => Ok(()),
            200 | 404 => Err(Fault::Lost("the file is gone")),
            403 | 405 | 501 => {
                Err(Fault::Lost("the file is gone, and the bucket does not tell whether it is there"))
            }
            _ => Err(later(s3_response::explain(&there))),
        }
    }

    fn digests(&self, file: &mut File, from: u64, len: u64) -> Result<Piece, Fault> {
        file.seek(SeekFrom::Start(from)).map_err(|e| unreadable(&e))?;
        let (mut sha256, mut md5) = (Sha256::new(), Md5::new());
        let mut inner = Read::take(&*file, len);
        let mut buffer = vec![0; 64 * 1024];
        let mut left = len;
        while left > 0 {
            if self.task.flight.cancelled.load(Ordering::Acquire) {
                return Err(Fault::Cancelled);
            }
            let read = inner.read(&mut buffer).map_err(|e| unreadable(&e))?;
            if read == 0 {
                return Err(Fault::Local("the file has become shorter".to_owned()));
            }
            let bytes = buffer.get(..read).unwrap_or_default();
            sha256.update(bytes);
            md5.update(bytes);
            left -= read as u64;
        }
        Ok(Piece { from, len, sha256: sha256.finalize().into(), md5: md5.finalize().into() })
    }
}

/// Offset and size of each part, bytes.
fn parts_of(len: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..len.div_ceil(PART)).map(move |n| (n * PART, PART.min(len - n * PART)))
}

/// The S3 ETag of an object consisting of these parts.
fn combined(parts: &[[u8; 16]]) -> String {
    let mut md5 = Md5::new();
    parts.iter().for_each(|p| md5.update(p));
    format!("{}-{}", hex(&md5.finalize()), parts.len())
}

fn unreadable(e: &std::io::Error) -> Fault {
    Fault::Local(format!("the file cannot be read: {e}"))
}

fn later(why: String) -> Fault {
    Fault::Later(why.into())
}

fn strange(told: &Answer) -> Fault {
    later(s3_response::explain(told))
}

/// Returns the response unless it is an error.
fn good(told: Answer) -> Result<Answer, Fault> {
    match judge(&told, clock::now().utc) {
        Verdict::Done => Ok(told),
        Verdict::Later(failure) => Err(Fault::Later(failure)),
        Verdict::Anew(why) => Err(Fault::Anew(why)),
        Verdict::Never(why) => Err(Fault::Never(why)),
    }
}
