//! Calls of the API whose reply is still to come.

use std::cell::RefCell;
use std::collections::BTreeMap;

use async_channel::{Receiver, Sender};

use crate::gateway::GatewayError;
use crate::gateway::interface::outputs::Replies;
use crate::gateway::interface::replies::{Handle, Reply};

type Outcome = Result<Reply, GatewayError>;

/// Who waits for which reply.
#[derive(Debug, Default)]
pub(super) struct PendingReplies(RefCell<BTreeMap<Handle, Sender<Outcome>>>);

impl PendingReplies {
    /// Somebody waits for this reply.
    pub(super) fn add(&self, handle: Handle) -> Receiver<Outcome> {
        let (sender, receiver) = async_channel::bounded(1);
        self.0.borrow_mut().insert(handle, sender);
        receiver
    }

    /// Nobody waits for it any more.
    pub(super) fn remove(&self, handle: Handle) {
        self.0.borrow_mut().remove(&handle);
    }

    /// Hands over the replies that have come; those that nobody waits for yet are kept.
    pub(super) fn deliver(&self, replies: &mut Replies) {
        let waiting = self.0.borrow();
        let mut early = Vec::new();
        while let Some((handle, outcome)) = replies.poll() {
            match waiting.get(&handle) {
                Some(sender) => {
                    // Nobody waits any more: the outcome is in the events too.
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
    fn a_reply_reaches_who_waits_and_is_kept_until_somebody_does() {
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
    fn nobody_gets_a_reply_after_having_given_up() {
        let (pending, mut replies) = (PendingReplies::default(), Replies::default());
        let handle = replies.expect();
        let waits = pending.add(handle);
        pending.remove(handle);
        replies.send(handle, Ok(Reply::Changed));
        pending.deliver(&mut replies);
        assert!(waits.try_recv().is_err());
    }
}
