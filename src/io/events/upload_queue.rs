//! Queue of recordings to upload: filled from the changes passed to the outbox, processed by
//! `recording::uploads`.

use std::cell::RefCell;

use async_channel::{Receiver, Sender};

use crate::base::rng::Rng;
use crate::delivery::uploads::Uploads;
use crate::io::outbox::rows::{Op, UPLOADING};

/// The upload queues, and a wake-up channel for the client.
#[derive(Debug)]
pub struct UploadQueue {
    queues: RefCell<Uploads>,
    /// Wakes the client.
    wake: (Sender<()>, Receiver<()>),
}

impl UploadQueue {
    /// An empty queue.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self { queues: RefCell::new(Uploads::new(rng)), wake: async_channel::bounded(1) }
    }

    /// The queues, by destination.
    #[must_use]
    pub fn queues(&self) -> &RefCell<Uploads> {
        &self.queues
    }

    /// Queues the recording if this change makes it ready for upload.
    pub fn note(&self, op: &Op) {
        let Op::Recording(row) = op else { return };
        if let (UPLOADING, Some(place)) = (row.state.as_str(), &row.upload) {
            self.queues.borrow_mut().push(place, row.id.clone());
            self.wake();
        }
    }

    /// Wakes the client.
    pub fn wake(&self) {
        let _woken = self.wake.0.try_send(());
    }

    /// Waits for a wake-up of the client.
    pub async fn woken(&self) {
        // The sender lives as long as the queue.
        let _woken = self.wake.1.recv().await;
    }
}
