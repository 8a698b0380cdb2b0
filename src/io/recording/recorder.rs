//! The recorder thread: reads frames from rings and writes WAV files whose header is valid at all times.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};

use super::recorder_event::RecorderEvent;
use super::sync_thread::{Synced, Syncer};
use crate::dsp::frame_len;
use crate::dsp::resample::Resampler;
use crate::gateway::interface::work::{WorkId, Written};
use crate::io::media::media_memory::within;
use crate::io::media::media_plan::ring_samples;
use crate::io::system::clock;
use crate::io::system::disk;
use crate::io::wav::file::WavFile;
use crate::io::wav::repair::{Facts, HEADER, examine, repair};
use crate::media::command::RecordSlot;
use crate::media::record::Shared;

/// Interval at which rings are emptied.
const ROUND: Duration = Duration::from_millis(200);
/// Interval of header updates: maximum loss if the process is killed.
const FLUSH: Duration = Duration::from_millis(750);
/// Interval of syncs: maximum loss at a power cut, plus the duration of a sync.
const SYNC: Duration = Duration::from_millis(1500);
/// Interval at which the free disk space is checked.
const LOOK: Duration = Duration::from_secs(1);

/// A recording to start.
#[derive(Debug, Clone)]
pub struct Job {
    /// Returned when the file is open.
    pub work: WorkId,
    /// Slot of the recording.
    pub record: RecordSlot,
    /// Path of the file.
    pub file: String,
    /// Rate of the samples in the ring, Hz.
    pub input_rate: u32,
    /// Rate of the file, Hz.
    pub file_rate: u32,
    /// 1 or 2.
    pub channels: u16,
}

/// Queue capacity per recording: opened and closed, doubled as reserve.
const EVENTS_EACH: usize = 4;

struct NewRecording(Job, Consumer<i16>, Arc<Shared>);

/// The control thread's handle.
#[derive(Debug)]
pub struct Recorder {
    orders: Option<SyncSender<NewRecording>>,
    handle: Option<thread::JoinHandle<()>>,
}

impl Recorder {
    /// Starts the threads for up to this many concurrent recordings; also returns their event channel. While
    /// less than `min_free` bytes are free on a disk, its recordings are ended and new ones are refused.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn start(
        recordings: usize,
        min_free: u64,
    ) -> std::io::Result<(Self, async_channel::Receiver<RecorderEvent>)> {
        let (orders, take) = sync_channel(1024);
        let (notes, news) = async_channel::bounded(EVENTS_EACH.saturating_mul(recordings.max(1)));
        let syncer = Syncer::start(recordings, notes.clone())?;
        let synced = clock::now().mono;
        let body = move || {
            RecorderThread { notes, syncer, min_free, open: Vec::new(), looked: None, synced }.run(&take)
        };
        let handle = thread::Builder::new().name("recorder".to_owned()).spawn(body)?;
        Ok((Self { orders: Some(orders), handle: Some(handle) }, news))
    }

    /// Starts a recording; returns the ring for the media thread. `None` if too many orders are queued.
    pub fn open(&self, job: Job) -> Option<(Producer<i16>, Arc<Shared>)> {
        let samples = ring_samples(job.input_rate, job.channels);
        let ((producer, consumer), shared) =
            within(|| (RingBuffer::new(samples), Arc::new(Shared::default())));
        self.orders.as_ref()?.try_send(NewRecording(job, consumer, Arc::clone(&shared))).ok()?;
        Some((producer, shared))
    }

    /// Completes all files and stops the thread.
    pub fn stop(&mut self) {
        self.orders = None;
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            log::error!("the recorder thread panicked");
        }
    }
}

struct Open {
    job: Job,
    ring: Consumer<i16>,
    shared: Arc<Shared>,
    writer: WavFile,
    /// The same file, for syncing.
    file: Arc<Synced>,
    resamplers: Vec<Option<Resampler>>,
    /// A silent frame in ring format.
    silence: Vec<i16>,
    scratch: Scratch,
    flushed: Instant,
}

impl std::fmt::Debug for NewRecording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

struct RecorderThread {
    notes: async_channel::Sender<RecorderEvent>,
    syncer: Syncer,
    min_free: u64,
    open: Vec<Open>,
    looked: Option<Instant>,
    /// When the last sync of all files was requested.
    synced: Instant,
}

impl RecorderThread {
    fn tell(&self, note: RecorderEvent) {
        // The receiver exists as long as the gateway.
        if self.notes.try_send(note).is_err() {
            log::error!("recorder events cannot be delivered");
        }
    }

    fn run(mut self, orders: &Receiver<NewRecording>) {
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
                Ok(NewRecording(job, ring, shared)) => {
                    let work = job.work;
                    let made = create(job, ring, shared, self.min_free);
                    self.tell(RecorderEvent::Opened(work, made.as_ref().map(|_| ()).map_err(String::clone)));
                    self.open.extend(made);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => running = false,
            }
            // Rings are emptied in time even if many orders arrive.
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
        // All files together, which reduces disk operations.
        let sync = now.saturating_duration_since(self.synced) >= SYNC;
        for mut o in std::mem::take(&mut self.open) {
            match o.step(now, running, sync, full.as_deref()) {
                Ok(true) => self.open.push(o),
                Ok(false) => self.finish(o),
                Err(e) => self.break_off(o, e),
            }
        }
        if sync {
            self.synced = now;
            // If the previous sync round is still running, these files are synced in the next.
            self.syncer.sync(self.open.iter().map(|o| Arc::clone(&o.file)).collect());
        }
    }

    /// Why recordings must end, if so.
    fn is_full(&mut self, now: Instant) -> Option<String> {
        if self.looked.is_some_and(|at| now.saturating_duration_since(at) < LOOK) {
            return None;
        }
        self.looked = Some(now);
        let o = self.open.first()?;
        room_for(Path::new(&o.job.file), self.min_free).err()
    }

    fn finish(&self, mut o: Open) {
        let frames = o.writer.frames();
        let (record, rate, channels) = (o.job.record, o.job.file_rate, o.job.channels);
        if let Err(e) = o.writer.flush() {
            return self.break_off(o, e.to_string());
        }
        let facts = Written {
            bytes: HEADER + frames * u64::from(channels) * 2,
            duration_ms: frames * 1000 / u64::from(rate.max(1)),
            sample_rate: rate,
            channels,
            began: o.shared.began.load(Ordering::Acquire),
        };
        self.syncer.close(o.file, RecorderEvent::Closed(record, None, facts));
    }

    /// The disk cannot be written: keeps what was written, and repairs the header accordingly.
    fn break_off(&self, mut o: Open, why: String) {
        log::error!(error = why; "a recording was ended: the disk cannot be written");
        let (record, name, file) = (o.job.record, o.job.file.clone(), Arc::clone(&o.file));
        let began = o.shared.began.load(Ordering::Acquire);
        // If the disk can still be written (nearly full), nothing is lost.
        let _last_try = o.writer.flush();
        drop(o);
        // If the header cannot be repaired, the file is described as it is.
        let held = repair(Path::new(&name)).or_else(|_| examine(Path::new(&name)));
        let written = held.map_or_else(|_| Written::default(), |facts| written(facts, began));
        self.syncer.close(file, RecorderEvent::Closed(record, Some(why), written));
    }
}

/// Checks the free disk space for a file.
pub(super) fn room_for(file: &Path, min_free: u64) -> Result<(), String> {
    let dir = file.parent().unwrap_or(file);
    let Some(free) = disk::free(dir) else { return Ok(()) };
    if free >= min_free {
        return Ok(());
    }
    let mb = |bytes: u64| bytes >> 20;
    Err(format!(
        "the disk is full: {} MB are free, {} must be left free (recording.min_free_mb)",
        mb(free),
        mb(min_free)
    ))
}

fn create(job: Job, ring: Consumer<i16>, shared: Arc<Shared>, min_free: u64) -> Result<Open, String> {
    let path = Path::new(&job.file);
    if let Some(dir) = path.parent() {
        disk::make_directory(dir).map_err(|e| e.to_string())?;
    }
    room_for(path, min_free)?;
    let writer = WavFile::create(path, job.file_rate, job.channels).map_err(|e| e.to_string())?;
    let file = Arc::new(Synced::new(writer.try_clone().map_err(|e| e.to_string())?, path));
    let resamplers = (0..job.channels).map(|_| Resampler::new(job.input_rate, job.file_rate)).collect();
    let silence = vec![0; frame_len(job.input_rate) * usize::from(job.channels)];
    let scratch = Scratch::new(frame_len(job.file_rate));
    Ok(Open { job, ring, shared, writer, file, resamplers, silence, scratch, flushed: clock::now().mono })
}

impl Open {
    /// Writes available frames, all of them before a `sync`. False at the end.
    fn step(&mut self, now: Instant, running: bool, sync: bool, full: Option<&str>) -> Result<bool, String> {
        // Read before the ring is emptied, so that frames written before the end are recorded.
        let ended = self.shared.ended.load(Ordering::Acquire) || !running;
        self.drain().map_err(|e| e.to_string())?;
        if let Some(why) = full {
            return Err(why.to_owned());
        }
        if let Some(why) = self.file.failure() {
            return Err(why);
        }
        if ended {
            return Ok(false);
        }
        if sync || now.saturating_duration_since(self.flushed) >= FLUSH {
            self.flushed = now;
            self.writer.flush().map_err(|e| e.to_string())?;
        }
        Ok(true)
    }

    fn drain(&mut self) -> std::io::Result<()> {
        let n = self.silence.len();
        while self.ring.slots() >= n {
            let Ok(chunk) = self.ring.read_chunk(n) else { break };
            // The ring holds whole frames, so that none wraps around its end.
            let (frame, _) = chunk.as_slices();
            self.scratch.write(frame, &mut self.resamplers, &mut self.writer)?;
            chunk.commit_all();
        }
        // Dropped frames are replaced by silence, to keep the time base.
        for _ in 0..self.shared.dropped.swap(0, Ordering::AcqRel) {
            self.scratch.write(&self.silence, &mut self.resamplers, &mut self.writer)?;
        }
        Ok(())
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

/// Buffers for both channels of a frame at the file's rate.
struct Scratch {
    left: Vec<i16>,
    right: Vec<i16>,
}

impl Scratch {
    fn new(samples: usize) -> Self {
        Self { left: vec![0; samples], right: vec![0; samples] }
    }

    /// Writes a frame, left channel first, at the file's rate.
    fn write(
        &mut self,
        frame: &[i16],
        resamplers: &mut [Option<Resampler>],
        to: &mut WavFile,
    ) -> std::io::Result<()> {
        let (left, right) = match resamplers.len() {
            2 => frame.split_at(frame.len() / 2),
            _ => (frame, &[][..]),
        };
        match resamplers {
            [Some(only)] => {
                only.process(left, &mut self.left);
                to.append(&self.left, None)
            }
            [Some(first), Some(second)] => {
                first.process(left, &mut self.left);
                second.process(right, &mut self.right);
                to.append(&self.left, Some(&self.right))
            }
            [_, _] => to.append(left, Some(right)),
            _ => to.append(left, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_valid_while_it_runs_and_complete_at_the_end() {
        let dir = std::env::temp_dir().join(format!("branchline-rec-{}", std::process::id()));
        let file = dir.join("a.wav").to_string_lossy().into_owned();
        let (mut recorder, news) = Recorder::start(4, 0).unwrap();
        let job =
            Job { work: 7, record: 3, file: file.clone(), input_rate: 8000, file_rate: 16_000, channels: 2 };
        let (mut ring, shared) = recorder.open(job.clone()).unwrap();
        assert_eq!(news.recv_blocking(), Ok(RecorderEvent::Opened(7, Ok(()))));
        assert_eq!(hound::WavReader::open(&file).unwrap().len(), 0);
        for i in 0..50 {
            ring.push_entire_slice(&[1000 + i; 160]).unwrap();
            ring.push_entire_slice(&[-2000; 160]).unwrap();
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
        assert_eq!(news.recv_blocking(), Ok(RecorderEvent::Closed(3, None, whole)));
        assert_eq!(std::fs::metadata(&file).unwrap().len(), whole.bytes);
        let mut reader = hound::WavReader::open(&file).unwrap();
        assert_eq!(
            (reader.spec().sample_rate, reader.spec().channels, reader.duration()),
            (16_000, 2, 60 * 320)
        );
        let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        assert!((samples[10_001] + 2000).abs() < 20 && samples[2 * 55 * 320 + 1] == 0);
        let (_ring, _) = recorder.open(Job { work: 8, ..job }).unwrap();
        assert!(
            matches!(news.recv_blocking(), Ok(RecorderEvent::Opened(8, Err(_)))),
            "a file is never overwritten"
        );
        recorder.stop();
        std::fs::remove_dir_all(dir).unwrap();
    }
}
