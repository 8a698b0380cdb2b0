//! The way of one recording into its bucket: whole, or in parts that a restart goes on with; believed only when verified.

use std::cell::RefCell;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek as _, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_channel::Sender;
use md5::Md5;
use sha2::{Digest as _, Sha256};
use ureq::Agent;

use super::answer;
use super::credentials::Chain;
use super::pace::{Pace, Paced};
use super::request::{Answer, Content, Request, Server, send};
use super::sigv4::Keys;
use crate::base::hex::hex;
use crate::config::{Place, S3};
use crate::deliver::uploads::Job;
use crate::io::clock;
use crate::io::http_client::{Rules, upload_agent};
use crate::io::outbox_rows::RecordingRow;

/// Files larger than this go in parts, bytes.
const WHOLE: u64 = 16 * 1024 * 1024;
/// Size of a part, bytes; the last may be smaller.
const PART: u64 = 8 * 1024 * 1024;
/// Slowest line that an upload is made for at first, bytes/s.
const SLOWEST: u64 = 8 * 1024;

/// Why an upload is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It may be later.
    #[error("{0}")]
    Later(String),
    /// It may be later, and others need not wait for it: the file cannot be read.
    #[error("{0}")]
    Local(String),
    /// The server knows nothing of the upload in parts, or not of all of them.
    #[error("the upload in parts is gone")]
    NoSuchUpload,
    /// The file is not there, and neither is the object.
    #[error("the file is not there")]
    Lost,
    /// Nobody wants it any more.
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
    /// Set when the recording is deleted meanwhile.
    pub cancelled: Arc<AtomicBool>,
}

/// An upload in parts, to be written down: the recording, and its name if it has one.
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

/// Part of a file, and its digests.
struct Piece {
    from: u64,
    len: u64,
    sha256: [u8; 32],
    md5: [u8; 16],
}

/// What all requests of an upload have in common.
struct Course<'a> {
    client: &'a Client,
    task: &'a Task,
    server: Server,
    keys: Keys,
    key: String,
    /// Name of the upload in parts.
    name: RefCell<Option<String>>,
}

impl Client {
    /// A client; names of uploads in parts go into `notes`.
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

    /// Uploads a recording. It blocks until it is done.
    ///
    /// # Errors
    /// It is not known to be there, whole.
    pub fn upload(&self, task: &Task) -> Result<(), Fault> {
        let place = &task.job.place;
        let course = Course {
            client: self,
            task,
            server: Server::of(place, &self.settings),
            keys: self.keys(place).map_err(Fault::Later)?,
            key: place.key(&task.row.id),
            name: RefCell::new(task.row.upload_id.clone()),
        };
        let result = course.run();
        let cancelled = task.cancelled.load(Ordering::Acquire);
        if cancelled && let Err(e) = course.abort() {
            log::debug!(error:% = e; "an upload in parts is left at its server");
        }
        if cancelled { Err(Fault::Cancelled) } else { result }
    }

    fn keys(&self, place: &Place) -> Result<Keys, String> {
        let s3 = &self.settings;
        let own = (!s3.access_key.is_empty()).then(|| (s3.access_key.clone(), s3.secret_key.clone()));
        match place.keys.clone().or(own) {
            Some((access_key, secret_key)) => Ok(Keys { access_key, secret_key, session_token: None }),
            None => self.chain.keys(clock::now().utc, &|name| std::env::var(name).ok()),
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

    fn send(&self, request: Request<'_>) -> Result<Answer, Fault> {
        let place = &self.task.job.place;
        let agent = if place.trusted { &self.client.free } else { &self.client.guarded };
        send(agent, &self.server, &self.keys, &place.region, request).map_err(Fault::Later)
    }

    /// A request without a body, or with a text.
    fn ask(&self, method: &'static str, query: &[(&str, &str)], text: Option<&str>) -> Result<Answer, Fault> {
        let content = text.map_or(Content::Nothing, Content::Text);
        self.send(Request { method, key: &self.key, query, content })
    }

    fn put(&self, file: &mut File, query: &[(&str, &str)], piece: &Piece) -> Result<Answer, Fault> {
        file.seek(SeekFrom::Start(piece.from)).map_err(|e| unreadable(&e))?;
        let inner = Read::take(&*file, piece.len);
        let mut sound = Paced { inner, pace: &self.client.pace, cancelled: &self.task.cancelled };
        let content = Content::Sound(&mut sound, piece.len, piece.sha256, self.patience(piece.len));
        good(self.send(Request { method: "PUT", key: &self.key, query, content })?)
    }

    /// How long a body may take: as at [`SLOWEST`], and longer after failures, should the line really be that slow.
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

    /// Nothing of it is hashed before the server has answered: of a dead one the file need not be read.
    fn in_parts(&self, file: &mut File, len: u64) -> Result<(), Fault> {
        let (name, there) = match &self.task.row.upload_id {
            Some(name) => match self.parts(name) {
                Ok(there) => (name.clone(), there),
                // Perhaps the last answer of an earlier try was never heard.
                Err(Fault::NoSuchUpload) if self.is_complete(file, len)? => return Ok(()),
                Err(Fault::NoSuchUpload) => (self.begin()?, Vec::new()),
                Err(e) => return Err(e),
            },
            None => (self.begin()?, Vec::new()),
        };
        let (mut etags, mut digests) = (Vec::new(), Vec::new());
        for (number, (from, size)) in (1u32..).zip(parts_of(len)) {
            let piece = self.digests(file, from, size)?;
            let md5 = hex(&piece.md5);
            digests.push(piece.md5);
            let same =
                |p: &answer::Part| p.part_number == number && p.size == size && answer::bare(&p.etag) == md5;
            if there.iter().any(same) {
                etags.push(md5);
                continue;
            }
            let number = number.to_string();
            let query = [("partNumber", number.as_str()), ("uploadId", name.as_str())];
            let told = self.forgotten(self.put(file, &query, &piece))?;
            etags.push(told.etag.ok_or_else(|| strange(&told.text))?);
        }
        let order = answer::complete_order(&etags);
        let told = self.ask("POST", &[("uploadId", &name)], Some(&order)).and_then(good);
        let told = self.forgotten(told)?;
        let etag = answer::completed(&told.text).ok_or_else(|| strange(&told.text))?;
        self.verify(Some(&etag), &combined(&digests), len)
    }

    /// True when the object is there, made of the parts of this file.
    fn is_complete(&self, file: &mut File, len: u64) -> Result<bool, Fault> {
        let digest = |(from, size)| self.digests(file, from, size).map(|p| p.md5);
        let digests: Vec<[u8; 16]> = parts_of(len).map(digest).collect::<Result<_, _>>()?;
        Ok(self.verify(None, &combined(&digests), len).is_ok())
    }

    /// Begins an upload in parts, and has its name written down.
    fn begin(&self) -> Result<String, Fault> {
        let told = good(self.ask("POST", &[("uploads", "")], None)?)?;
        let name = answer::upload_id(&told.text).ok_or_else(|| strange(&told.text))?;
        self.note(Some(name.clone()));
        Ok(name)
    }

    /// An upload in parts that the server has forgotten is begun anew next time.
    fn forgotten(&self, told: Result<Answer, Fault>) -> Result<Answer, Fault> {
        if told == Err(Fault::NoSuchUpload) {
            // It may be there still, with parts that do not fit.
            if let Err(e) = self.abort() {
                log::debug!(error:% = e; "an upload in parts is left at its server");
            }
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

    /// The parts that are there.
    fn parts(&self, name: &str) -> Result<Vec<answer::Part>, Fault> {
        let told = self.ask("GET", &[("uploadId", name)], None)?;
        let refused = matches!(told.status, 400..=499 | 501);
        let told = match good(told) {
            // Whoever may only put may not ask: then all of them are sent once more.
            Err(Fault::Later(_)) if refused => return Ok(Vec::new()),
            told => told?,
        };
        answer::parts(&told.text).ok_or_else(|| strange(&told.text))
    }

    /// Takes back an upload in parts that nobody wants.
    fn abort(&self) -> Result<(), Fault> {
        let name = self.name.borrow().clone();
        match name {
            Some(name) => good(self.ask("DELETE", &[("uploadId", &name)], None)?).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Makes sure that the object is what the file is: by its digest, or, where the server makes another one, by what it
    /// says of the object.
    fn verify(&self, told: Option<&str>, wanted: &str, len: u64) -> Result<(), Fault> {
        if told == Some(wanted) {
            return Ok(());
        }
        let there = good(self.ask("HEAD", &[], None)?)?;
        let etag = there.etag.as_deref();
        let same = etag.is_some() && (etag == Some(wanted) || etag == told);
        if same && there.length == Some(len) {
            return Ok(());
        }
        Err(Fault::Later("what is in the bucket is not what was sent".to_owned()))
    }

    /// The file is gone: perhaps because it was uploaded, and a power cut came before that was written down.
    fn find_lost(&self) -> Result<(), Fault> {
        let there = self.ask("HEAD", &[], None)?;
        match there.status {
            200 if there.length == Some(self.task.row.bytes) && there.etag.is_some() => Ok(()),
            200 | 404 => Err(Fault::Lost),
            403 => Err(Fault::Local(
                "the file is gone, and the bucket does not tell whether it is there".to_owned(),
            )),
            _ => good(there).map(|_| ()),
        }
    }

    fn digests(&self, file: &mut File, from: u64, len: u64) -> Result<Piece, Fault> {
        file.seek(SeekFrom::Start(from)).map_err(|e| unreadable(&e))?;
        let (mut sha256, mut md5) = (Sha256::new(), Md5::new());
        let mut inner = Read::take(&*file, len);
        let mut buffer = vec![0; 64 * 1024];
        let mut left = len;
        while left > 0 {
            if self.task.cancelled.load(Ordering::Acquire) {
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

/// Where each part of a file begins, and its size, bytes.
fn parts_of(len: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..len.div_ceil(PART)).map(move |n| (n * PART, PART.min(len - n * PART)))
}

/// The digest that an object made of parts has, by those of the parts.
fn combined(parts: &[[u8; 16]]) -> String {
    let mut md5 = Md5::new();
    parts.iter().for_each(|p| md5.update(p));
    format!("{}-{}", hex(&md5.finalize()), parts.len())
}

fn unreadable(e: &std::io::Error) -> Fault {
    Fault::Local(format!("the file cannot be read: {e}"))
}

fn strange(text: &str) -> Fault {
    Fault::Later(answer::explain(200, text))
}

/// An answer that is no refusal. S3 may refuse with a 200 when it has begun to answer before it knew.
fn good(told: Answer) -> Result<Answer, Fault> {
    let refusal = answer::refusal(&told.text);
    let anew = ["NoSuchUpload", "InvalidPart", "InvalidPartOrder"];
    if refusal.as_ref().is_some_and(|r| anew.contains(&r.code.as_str())) {
        return Err(Fault::NoSuchUpload);
    }
    if (200..300).contains(&told.status) && refusal.is_none() {
        return Ok(told);
    }
    Err(Fault::Later(answer::explain(told.status, &told.text)))
}
