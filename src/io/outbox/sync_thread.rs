//! Syncs the outbox in a separate thread, so that a slow disk does not delay commits.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::io::system::clock;

/// Minimum time between two syncs.
const SYNC: Duration = Duration::from_secs(1);

/// Handle of the thread.
pub(super) struct SyncThread {
    dirty: SyncSender<()>,
    closing: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl SyncThread {
    /// Starts the thread, which syncs `log`; `None`: an outbox in memory.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub(super) fn start(log: Option<PathBuf>) -> std::io::Result<Self> {
        let (dirty, wakes) = sync_channel(1);
        let closing = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&closing);
        let body = move || sync(log.as_deref(), &wakes, &seen);
        let thread = thread::Builder::new().name("outbox-sync".to_owned()).spawn(body)?;
        Ok(Self { dirty, closing, thread })
    }

    /// Requests a sync of what was committed.
    pub(super) fn request(&self) {
        // A pending sync covers this commit as well.
        let _requested = self.dirty.try_send(());
    }

    /// Carries out the pending sync and ends the thread.
    pub(super) fn stop(self) {
        self.closing.store(true, Ordering::Release);
        self.thread.thread().unpark();
        drop(self.dirty);
        if self.thread.join().is_err() {
            log::error!("the outbox-sync thread panicked");
        }
    }
}

/// Syncs committed data, at most once per [`SYNC`].
fn sync(log: Option<&Path>, dirty: &Receiver<()>, closing: &AtomicBool) {
    while dirty.recv().is_ok() {
        let began = clock::now().mono;
        if let Some(log) = log
            && let Err(e) = File::open(log).and_then(|f| f.sync_data())
            && e.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!(error:% = e; "the outbox cannot be synced");
        }
        rest(began + SYNC, closing);
    }
}

/// Waits until `until`, or until the thread is to end.
fn rest(until: Instant, closing: &AtomicBool) {
    while !closing.load(Ordering::Acquire) {
        let left = until.saturating_duration_since(clock::now().mono);
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}
