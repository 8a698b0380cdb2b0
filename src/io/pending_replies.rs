//! API calls waiting for their reply.

use std::cell::RefCell;
use std::collections::BTreeMap;

use async_channel::{Receiver, Sender};

use crate::gateway::GatewayError;
use crate::gateway::interface::outputs::Replies;
use crate::gateway::interface::replies::{Handle, Reply};

type Outcome = Result<Reply, GatewayError>;

/// Waiting calls by handle.
#[derive(Debug, Default)]
pub(super) struct PendingReplies(RefCell<BTreeMap<Handle, Sender<Outcome>>>);

impl PendingReplies {
    /// Registers a waiting call.
    pub(super) fn add(&self, handle: Handle) -> Receiver<Outcome> {
        let (sender, receiver) = async_channel::bounded(1);
        self.0.borrow_mut().insert(handle, sender);
        receiver
    }

    /// Removes a waiting call.
    pub(super) fn remove(&self, handle: Handle) {
        self.0.borrow_mut().remove(&handle);
    }

    /// Passes available replies to the waiting calls; replies not yet awaited are kept.
    pub(super) fn deliver(&self, replies: &mut Replies) {
        let waiting = self.0.borrow();
        let mut early = Vec::new();
        while let Some((handle, outcome)) = replies.poll() {
            match waiting.get(&handle) {
                Some(sender) => {
                    // The call may have timed out: the result is in the events, too.
                    let _sent = sender.try_send(outcome);
                }
                None => early.push((handle, outcome)),
            }
        }
        replies.keep(early);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_kept_until_it_is_awaited() {
        let (pending, mut replies) = (PendingReplies::default(), Replies::default());
        let (first, second) = (replies.expect(), replies.expect());
        let waits = pending.add(second);
        replies.send(first, Ok(Reply::Changed));
        replies.send(second, Ok(Reply::Changed));
        pending.deliver(&mut replies);
        assert!(matches!(waits.try_recv(), Ok(Ok(Reply::Changed))));
        let late = pending.add(first);
        pending.deliver(&mut replies);
        assert!(matches!(late.try_recv(), Ok(Ok(Reply::Changed))));
        assert!(replies.poll().is_none());
    }

    #[test]
    fn no_reply_is_delivered_after_a_timeout() {
        let (pending, mut replies) = (PendingReplies::default(), Replies::default());
        let handle = replies.expect();
        let waits = pending.add(handle);
        pending.remove(handle);
        replies.send(handle, Ok(Reply::Changed));
        pending.deliver(&mut replies);
        assert!(waits.try_recv().is_err());
    }
}
