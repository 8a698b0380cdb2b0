//! Sounds from URLs, fetched into a temporary file, and from the directory of prompts: fed to the media thread's rings
//! by one thread.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rtrb::{Producer, RingBuffer};

use super::http_client::HttpClient;
use super::sound::{Bare, Sound};
use crate::media::play::Source;

/// Largest sound fetched, bytes.
const MAX_SOUND: u64 = 64 * 1024 * 1024;
/// How often rings are filled.
const ROUND: Duration = Duration::from_millis(100);

struct Feed {
    source: Sound,
    ring: Producer<i16>,
    ended: Arc<AtomicBool>,
    /// Read, not yet in the ring.
    left: std::collections::VecDeque<i16>,
    /// Further times to play; `None`: for ever.
    repeats: Option<u32>,
    /// To be removed at the end.
    temporary: Option<PathBuf>,
}

/// A sound that is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where it is: an URL, or `file:` and a name in the directory of prompts.
    pub url: String,
    /// Names its temporary file.
    pub name: String,
    /// Rate at which it is heard, Hz.
    pub rate: u32,
    /// How often; 0: for ever.
    pub repeat: u32,
    /// What it holds, should it be bare samples.
    pub bare: Option<Bare>,
}

/// The control thread's end.
#[derive(Debug, Clone)]
pub struct Feeder {
    feeds: Sender<Message>,
    dir: PathBuf,
    prompts: Option<PathBuf>,
}

struct Message(Feed);

impl Feeder {
    /// Starts the thread; temporary files go to `dir`, and `prompts` holds those that have names.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn start(dir: PathBuf, prompts: Option<PathBuf>) -> std::io::Result<Self> {
        if dir.is_dir() {
            // What an earlier run left behind.
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        let (feeds, take) = channel();
        thread::Builder::new().name("feeder".to_owned()).spawn(move || run(&take))?;
        Ok(Self { feeds, dir, prompts })
    }

    /// Fetches a sound (blocking) and gets it ready to be heard.
    ///
    /// # Errors
    /// Why it cannot be had or played.
    pub fn fetch(&self, client: &HttpClient, wanted: &Wanted) -> Result<Source, String> {
        let temporary = match wanted.url.strip_prefix("file:") {
            Some(_) => None,
            None => Some(self.dir.join(&wanted.name)),
        };
        let ready = match &temporary {
            Some(file) => download(client, &wanted.url, file).map(|()| file.clone()),
            None => self.prompt(wanted.url.strip_prefix("file:").unwrap_or_default()),
        };
        let ready = ready.and_then(|file| Sound::open(&file, wanted.bare, wanted.rate));
        let source = ready.inspect_err(|_| discard(temporary.as_deref()))?;
        let (ring, consumer) = RingBuffer::new(usize::try_from(wanted.rate / 2).unwrap_or(8000));
        let ended = Arc::new(AtomicBool::new(false));
        let feed = Feed {
            source,
            ring,
            ended: Arc::clone(&ended),
            left: std::collections::VecDeque::new(),
            repeats: wanted.repeat.checked_sub(1),
            temporary,
        };
        self.feeds.send(Message(feed)).map_err(|_| "the feeder has stopped".to_owned())?;
        Ok(Source::Ring(consumer, ended))
    }

    /// The file of a name in the directory of prompts, and of none outside it.
    fn prompt(&self, name: &str) -> Result<PathBuf, String> {
        let dir = self.prompts.as_ref().ok_or("no directory of prompts is configured (prompts.dir)")?;
        let dir = dir.canonicalize().map_err(|e| format!("prompts.dir: {e}"))?;
        // Links that lead out of it count as what they are.
        let file = dir.join(name).canonicalize().ok().filter(|f| f.starts_with(&dir) && f.is_file());
        file.ok_or_else(|| "no such prompt".to_owned())
    }
}

fn discard(file: Option<&Path>) {
    if let Some(file) = file
        && let Err(e) = std::fs::remove_file(file)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        log::warn!(error:% = e; "temporary sound not removed");
    }
}

fn download(client: &HttpClient, url: &str, file: &Path) -> Result<(), String> {
    let reply = client.fetching().get(url).call().map_err(|e| e.to_string())?;
    let status = reply.status().as_u16();
    if status != 200 {
        return Err(format!("the server answered {status}"));
    }
    let mut body = reply.into_body().into_reader().take(MAX_SOUND + 1);
    let mut out = std::fs::File::create(file).map_err(|e| e.to_string())?;
    let size = std::io::copy(&mut body, &mut out).map_err(|e| e.to_string())?;
    if size > MAX_SOUND {
        return Err(format!("larger than {} MiB", MAX_SOUND / 1024 / 1024));
    }
    out.flush().map_err(|e| e.to_string())
}

fn run(feeds: &Receiver<Message>) {
    let mut active: Vec<Feed> = Vec::new();
    loop {
        let wait = if active.is_empty() { Duration::from_secs(3600) } else { ROUND };
        match feeds.recv_timeout(wait) {
            Ok(Message(feed)) => active.push(feed),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        active = active.into_iter().filter_map(top_up).collect();
    }
}

/// Fills the ring; `None` when the feed is over or nobody listens any more.
fn top_up(mut feed: Feed) -> Option<Feed> {
    if feed.ring.is_abandoned() {
        discard(feed.temporary.as_deref());
        return None;
    }
    loop {
        while feed.ring.slots() > 0 {
            let Some(x) = feed.left.pop_front() else { break };
            // There is room, and nobody else puts anything in.
            let _put = feed.ring.push(x);
        }
        if !feed.left.is_empty() {
            return Some(feed);
        }
        match next_piece(&mut feed) {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) => {
                log::info!(error = e; "a playback ends early");
                break;
            }
        }
    }
    feed.ended.store(true, Ordering::Release);
    discard(feed.temporary.as_deref());
    None
}

/// Reads on, from the beginning again if it is to be repeated; false at the very end.
fn next_piece(feed: &mut Feed) -> Result<bool, String> {
    feed.left.extend(feed.source.read()?);
    if !feed.left.is_empty() {
        return Ok(true);
    }
    if feed.repeats == Some(0) {
        return Ok(false);
    }
    feed.repeats = feed.repeats.map(|n| n - 1);
    feed.source.rewind()?;
    feed.left.extend(feed.source.read()?);
    Ok(!feed.left.is_empty())
}
