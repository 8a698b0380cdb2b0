//! Outputs of the core besides messages, events and media commands: work items for `io`, and replies to the
//! API.

use std::collections::VecDeque;

use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::replies::{Handle, Reply};
use crate::gateway::interface::work::{Work, WorkId};

/// Most pending work items; further ones fail at once.
const MAX_WORK: usize = 4096;
/// Most replies kept for callers that have not claimed them; the oldest are dropped.
const MAX_EARLY: usize = 64;

/// Work items for `io`.
#[derive(Debug, Default)]
pub struct IoRequests {
    waiting: VecDeque<Work>,
    last: WorkId,
}

impl IoRequests {
    /// Queues a work item; `None` if the queue is full.
    pub fn start(&mut self, make: impl FnOnce(WorkId) -> Work) -> Option<WorkId> {
        if self.waiting.len() >= MAX_WORK {
            return None;
        }
        self.last += 1;
        self.waiting.push_back(make(self.last));
        Some(self.last)
    }

    /// Cancels an earlier work item; never fails.
    pub fn cancel(&mut self, id: WorkId) {
        self.waiting.push_back(Work::GiveUp(id));
    }

    /// The next work item; call until `None`.
    pub fn poll(&mut self) -> Option<Work> {
        self.waiting.pop_front()
    }
}

/// Deferred replies to API requests.
#[derive(Debug, Default)]
pub struct Replies {
    ready: VecDeque<(Handle, Result<Reply, GatewayError>)>,
    last: Handle,
}

impl Replies {
    /// Creates a handle for a deferred reply.
    pub fn expect(&mut self) -> Handle {
        self.last += 1;
        self.last
    }

    /// Sends the reply for a handle.
    pub fn send(&mut self, handle: Handle, outcome: Result<Reply, GatewayError>) {
        self.ready.push_back((handle, outcome));
    }

    /// Keeps replies that were not claimed yet; beyond 64 the oldest are dropped.
    pub fn keep(&mut self, early: Vec<(Handle, Result<Reply, GatewayError>)>) {
        self.ready.extend(early);
        while self.ready.len() > MAX_EARLY {
            self.ready.pop_front();
        }
    }

    /// The next reply; call until `None`.
    pub fn poll(&mut self) -> Option<(Handle, Result<Reply, GatewayError>)> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_to_io_are_bounded_and_numbered() {
        let mut io = IoRequests::default();
        let ids: Vec<_> = (0..MAX_WORK).filter_map(|_| io.start(Work::GiveUp)).collect();
        assert_eq!((ids.len(), ids.first(), io.start(Work::GiveUp)), (MAX_WORK, Some(&1), None));
        io.cancel(7);
        assert_eq!(std::iter::from_fn(|| io.poll()).last(), Some(Work::GiveUp(7)));
        assert_eq!(io.start(Work::GiveUp), Some(MAX_WORK as WorkId + 1));
    }

    #[test]
    fn the_oldest_replies_that_nobody_fetches_are_dropped() {
        let mut replies = Replies::default();
        let early: Vec<_> = (0..100).map(|_| (replies.expect(), Ok(Reply::Changed))).collect();
        replies.keep(early);
        let kept: Vec<Handle> = std::iter::from_fn(|| replies.poll()).map(|(h, _)| h).collect();
        assert_eq!(kept, (37..=100).collect::<Vec<_>>());
    }
}
