//! Recordings that wait for their upload: noted from the changes that go to the outbox, taken by `recording::uploads`.

use std::cell::RefCell;

use async_channel::{Receiver, Sender};

use crate::base::rng::Rng;
use crate::deliver::uploads::Uploads;
use crate::io::outbox::rows::{Op, UPLOADING};

/// The queues of uploads, and what wakes the client.
#[derive(Debug)]
pub struct UploadQueue {
    queues: RefCell<Uploads>,
    /// Wakes the client when there is something to upload.
    wake: (Sender<()>, Receiver<()>),
}

impl UploadQueue {
    /// An empty one.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self { queues: RefCell::new(Uploads::new(rng)), wake: async_channel::bounded(1) }
    }

    /// The queues, by where uploads go.
    #[must_use]
    pub fn queues(&self) -> &RefCell<Uploads> {
        &self.queues
    }

    /// A change that goes to the outbox: perhaps a recording is to be uploaded.
    pub fn note(&self, op: &Op) {
        let Op::Recording(row) = op else { return };
        if let (UPLOADING, Some(place)) = (row.state.as_str(), &row.upload) {
            self.queues.borrow_mut().push(place, row.id.clone());
            self.wake();
        }
    }

    /// Has the client look again.
    pub fn wake(&self) {
        let _woken = self.wake.0.try_send(());
    }

    /// Waits until the client is to look again.
    pub async fn woken(&self) {
        // The sender lives as long as the queue.
        let _woken = self.wake.1.recv().await;
    }
}
