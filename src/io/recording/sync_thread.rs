//! Syncs recordings to disk in a separate thread, so that a slow disk does not block the recorder.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use super::recorder_event::RecorderEvent;
use super::syncfs::sync_disk_of;

/// File systems with a reliable `syncfs`: ext2 to ext4, XFS, Btrfs, F2FS.
const LOCAL: [u32; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010];
/// Number of files on one disk from which the whole file system is synced: one journal commit instead of one
/// per file.
const MANY: usize = 4;

/// Queue capacity per recording: a sync round and its close.
const WAITING_EACH: usize = 2;

/// A file that is synced periodically.
#[derive(Debug)]
pub(super) struct Synced {
    file: File,
    dir: PathBuf,
    /// Device number, if its file system can be synced as a whole.
    disk: Option<u64>,
    /// Its directory entry is synced.
    named: AtomicBool,
    /// It is queued for sync.
    waits: AtomicBool,
    failure: OnceLock<String>,
}

impl Synced {
    /// The file at `path`.
    pub(super) fn new(file: File, path: &Path) -> Self {
        let dir = path.parent().unwrap_or(path).to_owned();
        // Other file systems, e.g. network and FUSE, may not implement it reliably.
        let whole = rustix::fs::fstatfs(&file).is_ok_and(|fs| LOCAL.contains(&(fs.f_type as u32)));
        let disk = file.metadata().ok().filter(|_| whole).map(|m| m.dev());
        Self {
            file,
            dir,
            disk,
            named: AtomicBool::new(false),
            waits: AtomicBool::new(false),
            failure: OnceLock::new(),
        }
    }

    /// The sync error, if any.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }

    fn sync(&self) {
        self.waits.store(false, Ordering::Release);
        let mut done = self.file.sync_data();
        if done.is_ok() && !self.named.load(Ordering::Acquire) {
            done = File::open(&self.dir).and_then(|d| d.sync_all());
            self.named.store(done.is_ok(), Ordering::Release);
        }
        if let Err(e) = done {
            // Only the first error is reported.
            let _told = self.failure.set(e.to_string());
        }
    }
}

enum SyncCommand {
    Sync(Vec<Arc<Synced>>),
    Close(Arc<Synced>, RecorderEvent),
}

/// The recorder's handle.
#[derive(Debug)]
pub(super) struct Syncer {
    orders: Option<SyncSender<SyncCommand>>,
    handle: Option<thread::JoinHandle<()>>,
    notes: async_channel::Sender<RecorderEvent>,
}

impl Syncer {
    /// Starts the thread for up to this many concurrent recordings; closed ones are reported in `notes` after
    /// they were synced.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub(super) fn start(
        recordings: usize,
        notes: async_channel::Sender<RecorderEvent>,
    ) -> std::io::Result<Self> {
        let (orders, take) = sync_channel(WAITING_EACH.saturating_mul(recordings.max(1)));
        let tell = notes.clone();
        let handle =
            thread::Builder::new().name("recorder-sync".to_owned()).spawn(move || run(&take, &tell))?;
        Ok(Self { orders: Some(orders), handle: Some(handle), notes })
    }

    /// Syncs files; those already queued are skipped.
    pub(super) fn sync(&self, files: Vec<Arc<Synced>>) {
        let files: Vec<_> = files.into_iter().filter(|f| !f.waits.swap(true, Ordering::AcqRel)).collect();
        if let (Some(orders), false) = (&self.orders, files.is_empty())
            && let Err(e) = orders.try_send(SyncCommand::Sync(files))
        {
            log::warn!("the disk is too slow to be synced in time");
            let (TrySendError::Full(order) | TrySendError::Disconnected(order)) = e;
            if let SyncCommand::Sync(files) = order {
                files.iter().for_each(|f| f.waits.store(false, Ordering::Release));
            }
        }
    }

    /// Syncs a complete file, then reports it.
    pub(super) fn close(&self, file: Arc<Synced>, note: RecorderEvent) {
        let Some(orders) = &self.orders else { return };
        if let Err(e) = orders.try_send(SyncCommand::Close(file, note)) {
            let (TrySendError::Full(order) | TrySendError::Disconnected(order)) = e;
            if let SyncCommand::Close(_, note) = order {
                tell(&self.notes, note);
            }
        }
    }

    /// Waits until everything is synced, and stops the thread.
    pub(super) fn stop(&mut self) {
        self.orders = None;
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            log::error!("the recorder-sync thread panicked");
        }
    }
}

/// Syncs files, grouped by disk.
fn sync_all(mut files: Vec<Arc<Synced>>) {
    files.sort_by_key(|f| f.disk);
    for same in files.chunk_by(|a, b| a.disk == b.disk && a.disk.is_some()) {
        // Data written from now on is for the next round.
        same.iter().for_each(|f| f.waits.store(false, Ordering::Release));
        let first = same.first().filter(|_| same.len() >= MANY);
        if first.is_some_and(|f| sync_disk_of(&f.file).is_ok()) {
            // This includes directory entries.
            same.iter().for_each(|f| f.named.store(true, Ordering::Release));
        } else {
            // Individually, to find out which file failed.
            same.iter().for_each(|f| f.sync());
        }
    }
}

fn run(orders: &Receiver<SyncCommand>, notes: &async_channel::Sender<RecorderEvent>) {
    while let Ok(order) = orders.recv() {
        match order {
            SyncCommand::Sync(files) => sync_all(files),
            SyncCommand::Close(file, note) => {
                file.sync();
                let note = match (note, file.failure()) {
                    (RecorderEvent::Closed(record, None, written), Some(why)) => {
                        RecorderEvent::Closed(record, Some(why), written)
                    }
                    (note, _) => note,
                };
                tell(notes, note);
            }
        }
    }
}

fn tell(notes: &async_channel::Sender<RecorderEvent>, note: RecorderEvent) {
    if notes.try_send(note).is_err() {
        log::error!("recorder events cannot be delivered");
    }
}
