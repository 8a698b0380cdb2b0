//! Syncs the outbox in a separate thread, so that a slow disk does not delay commits.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use crate::io::system::clock;

/// Minimum time between two syncs.
const SYNC: Duration = Duration::from_secs(1);

/// Syncs committed data, at most once per [`SYNC`].
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
