//! Feeds sounds to the media thread's rings, all in one thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rtrb::{Producer, RingBuffer};
use ureq::Agent;

use super::decode::{Bare, Sound};
use super::fetch::{Fetched, Sounds};
use crate::io::media::media_memory::within;
use crate::media::play::{Feeding, Source};

/// Interval at which rings are filled.
const ROUND: Duration = Duration::from_millis(100);
/// A sound of up to this many seconds is cached in memory when repeated.
const SHORT_S: u32 = 2;
/// Minimum duration of a repeated sound, in 1/s: padded with silence.
const SHORTEST: u32 = 50;

struct Feed {
    source: Sound,
    ring: Producer<i16>,
    feeding: Arc<Feeding>,
    rate: u32,
    /// Decoded, not yet in the ring.
    left: VecDeque<i16>,
    /// Remaining repetitions; `None`: endless.
    repeats: Option<u32>,
    /// The samples of a short sound, complete or so far.
    short: Option<Vec<i16>>,
    whole: bool,
    /// Its file; a temporary one is deleted with it.
    _file: Fetched,
}

/// A requested sound.
#[derive(Debug, Clone)]
pub struct SoundRequest {
    /// Its location: a URL, or `file:` and a name in the prompt directory.
    pub url: String,
    /// Name of its temporary file.
    pub name: String,
    /// Output rate, Hz.
    pub rate: u32,
    /// Number of repetitions; 0: endless.
    pub repeat: u32,
    /// Format if it contains raw samples.
    pub bare: Option<Bare>,
    /// Set to cancel the fetch.
    pub given_up: Arc<AtomicBool>,
}

/// The control thread's handle.
#[derive(Debug, Clone)]
pub struct Feeder {
    feeds: Sender<Message>,
    sounds: Sounds,
}

struct Message(Box<Feed>);

impl Feeder {
    /// Starts the thread.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn start(sounds: Sounds) -> std::io::Result<Self> {
        let (feeds, take) = channel();
        thread::Builder::new().name("feeder".to_owned()).spawn(move || run(&take))?;
        Ok(Self { feeds, sounds })
    }

    /// Fetches a sound (blocking) and prepares it for playback.
    ///
    /// # Errors
    /// Why it cannot be fetched or played.
    pub fn fetch(&self, client: &Agent, wanted: &SoundRequest) -> Result<Source, String> {
        let file = match Sounds::prompt_of(&wanted.url) {
            Some(name) => self.sounds.prompt(name)?,
            None => self.sounds.download(client, &wanted.url, &wanted.name, &wanted.given_up)?,
        };
        let source = Sound::open(&file.path, wanted.bare, wanted.rate)?;
        let samples = usize::try_from(wanted.rate / 2).unwrap_or(8000);
        let ((ring, consumer), feeding) = within(|| (RingBuffer::new(samples), Arc::new(Feeding::default())));
        let repeats = wanted.repeat.checked_sub(1);
        let feed = Feed {
            source,
            ring,
            feeding: Arc::clone(&feeding),
            rate: wanted.rate,
            left: VecDeque::new(),
            repeats,
            short: (repeats != Some(0)).then(Vec::new),
            whole: false,
            _file: file,
        };
        self.feeds.send(Message(Box::new(feed))).map_err(|_| "the feeder has stopped".to_owned())?;
        Ok(Source::Ring(consumer, feeding))
    }
}

fn run(feeds: &Receiver<Message>) {
    let mut active: Vec<Box<Feed>> = Vec::new();
    loop {
        let wait = if active.is_empty() { Duration::from_secs(3600) } else { ROUND };
        match feeds.recv_timeout(wait) {
            Ok(Message(feed)) => active.push(feed),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        active.retain_mut(|feed| feed.top_up());
    }
}

impl Feed {
    /// Fills the ring; false when the feed has ended or its ring was dropped.
    fn top_up(&mut self) -> bool {
        if self.ring.is_abandoned() {
            return false;
        }
        loop {
            while self.ring.slots() > 0 {
                let Some(x) = self.left.pop_front() else { break };
                // Cannot fail: this is the only producer, and space was checked.
                let _put = self.ring.push(x);
            }
            if !self.left.is_empty() {
                return true;
            }
            match self.next_piece() {
                Ok(true) => {}
                Ok(false) => {
                    self.feeding.end(false);
                    return false;
                }
                Err(e) => {
                    log::info!(error = e; "a playback ends early");
                    self.feeding.end(true);
                    return false;
                }
            }
        }
    }

    /// Reads on, from the beginning again if it is repeated; false at the end.
    fn next_piece(&mut self) -> Result<bool, String> {
        if !self.whole {
            let piece = self.source.read()?;
            self.remember(&piece);
            if !piece.is_empty() {
                self.left.extend(piece);
                return Ok(true);
            }
        }
        if self.repeats == Some(0) {
            return Ok(false);
        }
        self.repeats = self.repeats.map(|n| n - 1);
        if let Some(short) = &mut self.short {
            self.whole = true;
            if short.is_empty() {
                return Ok(false);
            }
            // Padded, so that very short sounds cannot cause a busy loop.
            short.resize(short.len().max((self.rate / SHORTEST) as usize), 0);
            self.left.extend(short.iter());
            return Ok(true);
        }
        self.source.rewind()?;
        self.left.extend(self.source.read()?);
        Ok(!self.left.is_empty())
    }

    /// Caches samples while the sound may be a short one.
    fn remember(&mut self, piece: &[i16]) {
        let most = (self.rate * SHORT_S) as usize;
        if self.short.as_ref().is_some_and(|s| s.len() + piece.len() > most) {
            self.short = None;
        }
        if let Some(short) = &mut self.short {
            short.extend_from_slice(piece);
        }
    }
}
