//! Non-INVITE server transaction (RFC 3261 §17.2.2).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::transaction_machine::Machine;
use super::{Bytes, Output, TIMEOUT};

#[derive(Debug)]
enum ServerState {
    /// No response yet; RFC 4320 forbids an early provisional response.
    Trying,
    /// A final response was sent; until timer J it is repeated for retransmitted requests.
    Completed {
        response: Bytes,
        j: Instant,
    },
    Terminated,
}

/// Server transaction of a request other than INVITE and ACK.
#[derive(Debug)]
pub struct Server {
    state: ServerState,
    reliable: bool,
    out: VecDeque<Output>,
}

impl Server {
    /// Starts with the received request.
    #[must_use]
    pub fn new(reliable: bool) -> Self {
        Self { state: ServerState::Trying, reliable, out: VecDeque::new() }
    }

    /// Sends the final response; only the first call counts.
    pub fn respond(&mut self, now: Instant, response: Bytes) {
        if matches!(self.state, ServerState::Trying) {
            self.out.push_back(Output::Transmit(Bytes::clone(&response)));
            let j = if self.reliable { Duration::ZERO } else { TIMEOUT };
            self.state = ServerState::Completed { response, j: now + j };
        }
    }

    /// Handles a retransmission of the request.
    pub fn handle_request(&mut self) {
        match &self.state {
            ServerState::Completed { response, .. } => {
                self.out.push_back(Output::Transmit(Bytes::clone(response)))
            }
            ServerState::Trying | ServerState::Terminated => {}
        }
    }
}

impl Machine for Server {
    fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.state, ServerState::Completed { j, .. } if j <= now) {
            self.state = ServerState::Terminated;
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match self.state {
            ServerState::Completed { j, .. } => Some((j, "J")),
            ServerState::Trying | ServerState::Terminated => None,
        }
    }

    fn is_terminated(&self) -> bool {
        matches!(self.state, ServerState::Terminated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::virtual_time::{epoch, run};

    #[test]
    fn copies_of_the_request_get_copies_of_the_response_until_j() {
        let t = epoch();
        let mut s = Server::new(false);
        s.handle_request();
        assert_eq!(s.poll(), None);
        s.respond(t, Bytes::from(&b"200"[..]));
        s.respond(t, Bytes::from(&b"500"[..]));
        s.handle_request();
        let log = run(t, &mut s);
        assert_eq!((log.sent.as_slice(), log.last.as_str(), log.end), (&[0, 0][..], "200", 32_000));
        assert!(s.is_terminated());
    }
}
