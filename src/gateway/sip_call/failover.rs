//! Failover to the next server if one does not respond or is overloaded (RFC 3263 §4.3).

use std::time::{Duration, Instant};

use crate::sip::flow::Flow;

/// A server that has not responded for this long is skipped while there are others: sooner than timer B,
/// since the caller is waiting.
const PATIENCE: Duration = Duration::from_secs(4);

/// Servers of a call not tried yet.
#[derive(Debug, Default)]
pub(super) struct FailoverList {
    targets: Vec<Flow>,
    /// Time to try the next one, unless the current one responds.
    at: Option<Instant>,
}

impl FailoverList {
    /// These servers, best first.
    pub(super) fn new(targets: Vec<Flow>) -> Self {
        Self { targets, at: None }
    }

    /// The next server to try.
    pub(super) fn take_next(&mut self) -> Option<Flow> {
        (!self.targets.is_empty()).then(|| self.targets.remove(0))
    }

    /// A server is being tried.
    pub(super) fn begin(&mut self, now: Instant) {
        self.at = (!self.targets.is_empty()).then(|| now + PATIENCE);
    }

    /// The current server has responded: it is not skipped any more.
    pub(super) fn server_lives(&mut self) {
        self.at = None;
    }

    /// When the next one is tried.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.at
    }

    /// True, once, if the current server has not responded in time.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        self.at.take_if(|at| *at <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::now;
    use crate::sip::flow::Transport;

    #[test]
    fn a_silent_server_is_passed_over_while_there_are_others() {
        let start = now().mono;
        let target =
            |n: u8| Flow { transport: Transport::Udp, addr: ([10, 0, 0, n], 5060).into(), conn: None };
        let mut list = FailoverList::new(vec![target(2), target(3)]);
        list.begin(start);
        assert_eq!(list.deadline(), Some(start + PATIENCE));
        assert!(!list.is_due(start + PATIENCE / 2) && list.is_due(start + PATIENCE));
        assert!(!list.is_due(start + PATIENCE), "once");
        assert_eq!(list.take_next(), Some(target(2)));
        list.begin(start);
        list.server_lives();
        assert_eq!(list.deadline(), None);
        assert_eq!(list.take_next(), Some(target(3)));
        list.begin(start);
        assert_eq!((list.deadline(), list.take_next()), (None, None), "there is no other");
    }
}
