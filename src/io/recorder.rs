//! The recorder thread: takes frames from rings, writes WAV files whose header is valid at all times.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::BufWriter;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use hound::{SampleFormat, WavSpec, WavWriter};
use rtrb::{Consumer, Producer, RingBuffer};

use super::clock;
use super::syncer::{Synced, Syncer};
use super::wav_repair::{Facts, HEADER, MAX_DATA, TOO_LONG, examine, repair};
use crate::dsp::frame_len;
use crate::dsp::resample::Resampler;
use crate::gateway::work::{WorkId, Written};
use crate::media::command::RecordSlot;
use crate::media::record::Shared;

/// How much sound a ring holds, frames: 2 s.
const RING_FRAMES: usize = 100;
/// How often rings are emptied.
const ROUND: Duration = Duration::from_millis(200);
/// How often a file's header is brought up to date: a killed process loses this much at most.
const FLUSH: Duration = Duration::from_millis(750);
/// How often a file is brought to the disk: a power cut loses this much at most, and what a sync takes.
const SYNC: Duration = Duration::from_millis(1500);
/// How often the room on the disk is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A recording to make.
#[derive(Debug, Clone)]
pub struct Job {
    /// Goes back when the file is there.
    pub work: WorkId,
    /// The recording.
    pub record: RecordSlot,
    /// Path of the file.
    pub file: String,
    /// Rate of what comes in, Hz.
    pub input_rate: u32,
    /// Rate of the file, Hz.
    pub file_rate: u32,
    /// 1 or 2.
    pub channels: u16,
}

/// News from the recorder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The file is there, or why not.
    Opened(WorkId, Result<(), String>),
    /// The file is complete; why it ended early, if it did, and what it holds.
    Closed(RecordSlot, Option<String>, Written),
}

struct Order(Job, Consumer<i16>, Arc<Shared>);

/// The control thread's end.
#[derive(Debug)]
pub struct Recorder {
    orders: Option<SyncSender<Order>>,
    handle: Option<thread::JoinHandle<()>>,
}

impl Recorder {
    /// Starts the threads; their news come out of `notes`. Recordings end, and none begin, while less than `min_free` bytes
    /// are free on their disk.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn start(notes: async_channel::Sender<Note>, min_free: u64) -> std::io::Result<Self> {
        let (orders, take) = sync_channel(1024);
        let syncer = Syncer::start(notes.clone())?;
        let body = move || Keeper { notes, syncer, min_free, open: Vec::new(), looked: None }.run(&take);
        let handle = thread::Builder::new().name("recorder".to_owned()).spawn(body)?;
        Ok(Self { orders: Some(orders), handle: Some(handle) })
    }

    /// Starts a recording; the ring for the media thread. `None` when too many wait.
    pub fn open(&self, job: Job) -> Option<(Producer<i16>, Arc<Shared>)> {
        let samples = frame_len(job.input_rate) * usize::from(job.channels) * RING_FRAMES;
        let (producer, consumer) = RingBuffer::new(samples);
        let shared = Arc::new(Shared::default());
        self.orders.as_ref()?.try_send(Order(job, consumer, Arc::clone(&shared))).ok()?;
        Some((producer, shared))
    }

    /// Finishes all files and ends the thread.
    pub fn stop(&mut self) {
        self.orders = None;
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            log::error!("the recorder thread had failed");
        }
    }
}

struct Open {
    job: Job,
    ring: Consumer<i16>,
    shared: Arc<Shared>,
    writer: WavWriter<BufWriter<File>>,
    /// The same file, to be synced.
    file: Arc<Synced>,
    resamplers: Vec<Option<Resampler>>,
    scratch: Scratch,
    flushed: Instant,
    synced: Instant,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

struct Keeper {
    notes: async_channel::Sender<Note>,
    syncer: Syncer,
    min_free: u64,
    open: Vec<Open>,
    looked: Option<Instant>,
}

impl Keeper {
    fn tell(&self, note: Note) {
        // The receiver lives as long as the gateway; without it nobody wants to know.
        if self.notes.try_send(note).is_err() {
            log::error!("the recorder's news are not taken");
        }
    }

    fn run(mut self, orders: &Receiver<Order>) {
        let mut running = true;
        let mut next_round = clock::now().mono + ROUND;
        while running || !self.open.is_empty() {
            let now = clock::now().mono;
            let wait = if self.open.is_empty() {
                Duration::from_secs(3600)
            } else {
                next_round.saturating_duration_since(now)
            };
            match orders.recv_timeout(wait) {
                Ok(Order(job, ring, shared)) => {
                    let work = job.work;
                    let made = create(job, ring, shared, self.min_free);
                    self.tell(Note::Opened(work, made.as_ref().map(|_| ()).map_err(String::clone)));
                    self.open.extend(made);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => running = false,
            }
            // However many orders come, the rings are emptied in time.
            let now = clock::now().mono;
            if now >= next_round || !running {
                next_round = now + ROUND;
                self.round(now, running);
            }
        }
        self.syncer.stop();
    }

    fn round(&mut self, now: Instant, running: bool) {
        let full = self.is_full(now);
        let mut due = Vec::new();
        for mut o in std::mem::take(&mut self.open) {
            match o.step(now, running, full.as_deref()) {
                Ok(Step::On) => self.open.push(o),
                Ok(Step::Sync) => {
                    due.push(Arc::clone(&o.file));
                    self.open.push(o);
                }
                Ok(Step::Over) => self.finish(o),
                Err(e) => self.break_off(o, e),
            }
        }
        // Where the last round of syncs still goes on, these are caught up with the next.
        self.syncer.sync(due);
    }

    /// Why no recording may go on, if so.
    fn is_full(&mut self, now: Instant) -> Option<String> {
        if self.looked.is_some_and(|at| now.saturating_duration_since(at) < LOOK) {
            return None;
        }
        self.looked = Some(now);
        let o = self.open.first()?;
        room_for(Path::new(&o.job.file), self.min_free).err()
    }

    fn finish(&self, o: Open) {
        let frames = u64::from(o.writer.duration());
        let (record, rate, channels) = (o.job.record, o.job.file_rate, o.job.channels);
        let error = o.writer.finalize().err().map(|e| e.to_string());
        let facts = Written {
            bytes: HEADER + frames * u64::from(channels) * 2,
            duration_ms: frames * 1000 / u64::from(rate.max(1)),
            sample_rate: rate,
            channels,
            began: o.shared.began.load(Ordering::Acquire),
        };
        self.syncer.close(o.file, Note::Closed(record, error, facts));
    }

    /// The disk takes no more: what was written is kept, and the header put right for as much as there is.
    fn break_off(&self, o: Open, why: String) {
        log::error!(error = why; "a recording ends: the disk refuses it");
        let (record, name, file) = (o.job.record, o.job.file.clone(), Arc::clone(&o.file));
        let began = o.shared.began.load(Ordering::Acquire);
        drop(o);
        // A disk that takes nothing does not take a better header either.
        let held = repair(Path::new(&name)).or_else(|_| examine(Path::new(&name)));
        let written = held.map_or_else(|_| Written::default(), |facts| written(facts, began));
        self.syncer.close(file, Note::Closed(record, Some(why), written));
    }
}

/// Whether there is room for a file, and why not.
pub(super) fn room_for(file: &Path, min_free: u64) -> Result<(), String> {
    let dir = file.parent().unwrap_or(file);
    let Ok(disk) = rustix::fs::statvfs(dir) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= min_free {
        return Ok(());
    }
    let mb = |bytes: u64| bytes >> 20;
    Err(format!(
        "the disk is full: {} MB are free, {} are left alone (recording.min_free_mb)",
        mb(free),
        mb(min_free)
    ))
}

fn create(job: Job, ring: Consumer<i16>, shared: Arc<Shared>, min_free: u64) -> Result<Open, String> {
    let path = Path::new(&job.file);
    if let Some(dir) = path.parent()
        && !dir.is_dir()
    {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| e.to_string())?;
    }
    room_for(path, min_free)?;
    let file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|e| e.to_string())?;
    let same = file.try_clone().map_err(|e| e.to_string())?;
    let spec = WavSpec {
        channels: job.channels,
        sample_rate: job.file_rate,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut writer =
        WavWriter::new(BufWriter::with_capacity(64 * 1024, file), spec).map_err(|e| e.to_string())?;
    writer.flush().map_err(|e| e.to_string())?;
    let resamplers = (0..job.channels).map(|_| Resampler::new(job.input_rate, job.file_rate)).collect();
    let file = Arc::new(Synced::new(same, path));
    let now = clock::now().mono;
    // The name of a new file has to reach the disk too: it is synced with the first round.
    let scratch = Scratch::default();
    Ok(Open { job, ring, shared, writer, file, resamplers, scratch, flushed: now, synced: now - SYNC })
}

/// What became of a recording in a round.
enum Step {
    On,
    /// Its file is to be brought to the disk.
    Sync,
    /// It is to be finished.
    Over,
}

impl Open {
    /// Writes what has come.
    fn step(&mut self, now: Instant, running: bool, full: Option<&str>) -> Result<Step, String> {
        // Asked before the ring is emptied: what was put in before the end is then written.
        let ended = self.shared.ended.load(Ordering::Acquire) || !running;
        drain(self).map_err(|e| e.to_string())?;
        if let Some(why) = full {
            return Err(why.to_owned());
        }
        if let Some(why) = self.file.failure() {
            return Err(why);
        }
        if ended {
            return Ok(Step::Over);
        }
        let since = |at: Instant| now.saturating_duration_since(at);
        let sync = since(self.synced) >= SYNC;
        if sync || since(self.flushed) >= FLUSH {
            self.flushed = now;
            self.writer.flush().map_err(|e| e.to_string())?;
        }
        if sync {
            self.synced = now;
            return Ok(Step::Sync);
        }
        Ok(Step::On)
    }
}

fn written(f: Facts, began: u32) -> Written {
    Written {
        bytes: f.bytes,
        duration_ms: f.duration_ms,
        sample_rate: f.sample_rate,
        channels: f.channels,
        began,
    }
}

/// Room for a frame on its way from the ring to the file, used again and again.
#[derive(Default)]
struct Scratch {
    /// As it comes out of the ring.
    frame: Vec<i16>,
    /// One channel of it, before and after the conversion of its rate.
    channel: Vec<i16>,
    converted: Vec<i16>,
    /// As it goes into the file.
    out: Vec<i16>,
}

fn drain(o: &mut Open) -> hound::Result<()> {
    let channels = usize::from(o.job.channels);
    let n = frame_len(o.job.input_rate) * channels;
    while o.ring.slots() >= n {
        let Ok(chunk) = o.ring.read_chunk(n) else { break };
        let (first, second) = chunk.as_slices();
        o.scratch.frame.clear();
        o.scratch.frame.extend_from_slice(first);
        o.scratch.frame.extend_from_slice(second);
        chunk.commit_all();
        write(o)?;
    }
    // Frames there was no room for: the timeline goes on in silence.
    let dropped = o.shared.dropped.swap(0, Ordering::AcqRel);
    for _ in 0..dropped {
        o.scratch.frame.clear();
        o.scratch.frame.resize(n, 0);
        write(o)?;
    }
    Ok(())
}

/// Writes the frame that is in the scratch.
fn write(o: &mut Open) -> hound::Result<()> {
    if u64::from(o.writer.len()) * 2 >= MAX_DATA {
        let full = std::io::Error::new(std::io::ErrorKind::FileTooLarge, TOO_LONG);
        return Err(hound::Error::IoError(full));
    }
    convert(&mut o.scratch, &mut o.resamplers, frame_len(o.job.file_rate));
    let mut writer = o.writer.get_i16_writer(u32::try_from(o.scratch.out.len()).unwrap_or(0));
    o.scratch.out.iter().for_each(|x| writer.write_sample(*x));
    writer.flush()
}

/// Makes of the frame what the file wants: `samples` a channel.
fn convert(s: &mut Scratch, resamplers: &mut [Option<Resampler>], samples: usize) {
    if resamplers.iter().all(Option::is_none) {
        std::mem::swap(&mut s.frame, &mut s.out);
        return;
    }
    s.out.resize(samples * resamplers.len(), 0);
    if let [Some(only)] = resamplers {
        return only.process(&s.frame, &mut s.out);
    }
    s.converted.resize(samples, 0);
    for (right, resampler) in [false, true].into_iter().zip(resamplers) {
        let pairs = s.frame.as_chunks::<2>().0;
        s.channel.clear();
        s.channel.extend(pairs.iter().map(|[l, r]| if right { *r } else { *l }));
        if let Some(resampler) = resampler {
            resampler.process(&s.channel, &mut s.converted);
        }
        for ([l, r], x) in s.out.as_chunks_mut::<2>().0.iter_mut().zip(&s.converted) {
            *(if right { r } else { l }) = *x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_readable_while_it_runs_and_whole_at_the_end() {
        let dir = std::env::temp_dir().join(format!("branchline-rec-{}", std::process::id()));
        let file = dir.join("a.wav").to_string_lossy().into_owned();
        let (notes, news) = async_channel::bounded(16);
        let mut recorder = Recorder::start(notes, 0).unwrap();
        let job =
            Job { work: 7, record: 3, file: file.clone(), input_rate: 8000, file_rate: 16_000, channels: 2 };
        let (mut ring, shared) = recorder.open(job.clone()).unwrap();
        assert_eq!(news.recv_blocking(), Ok(Note::Opened(7, Ok(()))));
        assert_eq!(hound::WavReader::open(&file).unwrap().len(), 0);
        for i in 0..50 {
            for _ in 0..160 {
                ring.push(1000 + i).unwrap();
                ring.push(-2000).unwrap();
            }
        }
        shared.dropped.store(10, Ordering::Release);
        shared.ended.store(true, Ordering::Release);
        let whole = Written {
            bytes: 44 + 60 * 320 * 4,
            duration_ms: 1200,
            sample_rate: 16_000,
            channels: 2,
            began: 0,
        };
        assert_eq!(news.recv_blocking(), Ok(Note::Closed(3, None, whole)));
        assert_eq!(std::fs::metadata(&file).unwrap().len(), whole.bytes);
        let mut reader = hound::WavReader::open(&file).unwrap();
        assert_eq!(
            (reader.spec().sample_rate, reader.spec().channels, reader.duration()),
            (16_000, 2, 60 * 320)
        );
        let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        assert!((samples[10_001] + 2000).abs() < 20 && samples[2 * 55 * 320 + 1] == 0);
        let (_ring, _) = recorder.open(Job { work: 8, ..job }).unwrap();
        assert!(matches!(news.recv_blocking(), Ok(Note::Opened(8, Err(_)))), "a file is never written over");
        recorder.stop();
        std::fs::remove_dir_all(dir).unwrap();
    }
}
