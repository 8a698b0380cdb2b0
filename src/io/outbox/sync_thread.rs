//! Brings the outbox to the disk, on a thread of its own: a slow disk keeps nobody waiting who has events to commit.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use crate::io::system::clock;

/// Least time between two syncs.
const SYNC: Duration = Duration::from_secs(1);

/// Brings to the disk what was committed, at most once in [`SYNC`].
pub(super) fn sync(log: Option<&Path>, dirty: &Receiver<()>) {
    while dirty.recv().is_ok() {
        let began = clock::now().mono;
        if let Some(log) = log
            && let Err(e) = File::open(log).and_then(|f| f.sync_data())
            && e.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!(error:% = e; "the outbox cannot be synced");
        }
        rest(began + SYNC);
    }
}

fn rest(until: Instant) {
    let left = until.saturating_duration_since(clock::now().mono);
    thread::park_timeout(left);
}
