//! Non-INVITE client transaction (RFC 3261 §17.1.2).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::transaction_machine::Machine;
use super::{Bytes, Output, T1, T2, T4, TIMEOUT};

#[derive(Debug)]
enum ClientState {
    /// Timer E retransmits (never on a reliable transport), F times out.
    Trying {
        e: Option<(Instant, Duration)>,
        f: Instant,
    },
    /// As `Trying`, after a provisional response: E runs at T2.
    Proceeding {
        e: Option<Instant>,
        f: Instant,
    },
    /// Timer K absorbs retransmissions of the final response.
    Completed {
        k: Instant,
    },
    Terminated,
}

/// Client transaction of a request other than INVITE and ACK.
#[derive(Debug)]
pub struct Client {
    state: ClientState,
    reliable: bool,
    request: Bytes,
    out: VecDeque<Output>,
}

impl Client {
    /// Sends the request.
    #[must_use]
    pub fn new(now: Instant, reliable: bool, request: Bytes) -> Self {
        let e = (!reliable).then_some((now + T1, T1));
        let out = VecDeque::from([Output::Transmit(Bytes::clone(&request))]);
        Self { state: ClientState::Trying { e, f: now + TIMEOUT }, reliable, request, out }
    }

    /// Handles a response; true if it must be passed to the transaction user.
    pub fn handle_response(&mut self, now: Instant, code: u16) -> bool {
        match self.state {
            ClientState::Trying { f, .. } if code < 200 => {
                let e = (!self.reliable).then_some(now + T2);
                self.state = ClientState::Proceeding { e, f };
                true
            }
            ClientState::Proceeding { .. } if code < 200 => true,
            ClientState::Trying { .. } | ClientState::Proceeding { .. } => {
                let k = if self.reliable { Duration::ZERO } else { T4 };
                self.state = ClientState::Completed { k: now + k };
                true
            }
            ClientState::Completed { .. } | ClientState::Terminated => false,
        }
    }

    /// Transport error: terminates at once.
    pub fn fail(&mut self) {
        self.state = ClientState::Terminated;
    }
}

impl Machine for Client {
    fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            ClientState::Trying { f, .. } | ClientState::Proceeding { f, .. } if *f <= now => {
                self.out.push_back(Output::TimedOut);
                self.state = ClientState::Terminated;
            }
            ClientState::Trying { e: Some((at, every)), .. } if *at <= now => {
                self.out.push_back(Output::Transmit(Bytes::clone(&self.request)));
                *every = (*every * 2).min(T2);
                *at = now + *every;
            }
            ClientState::Proceeding { e: Some(at), .. } if *at <= now => {
                self.out.push_back(Output::Transmit(Bytes::clone(&self.request)));
                *at = now + T2;
            }
            ClientState::Completed { k } if *k <= now => self.state = ClientState::Terminated,
            ClientState::Trying { .. }
            | ClientState::Proceeding { .. }
            | ClientState::Completed { .. }
            | ClientState::Terminated => {}
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match &self.state {
            ClientState::Trying { e: Some((at, _)), f } | ClientState::Proceeding { e: Some(at), f }
                if at < f =>
            {
                Some((*at, "E"))
            }
            ClientState::Trying { f, .. } | ClientState::Proceeding { f, .. } => Some((*f, "F")),
            ClientState::Completed { k } => Some((*k, "K")),
            ClientState::Terminated => None,
        }
    }

    fn is_terminated(&self) -> bool {
        matches!(self.state, ClientState::Terminated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::virtual_time::{epoch, run};

    #[test]
    fn unanswered_requests_are_resent_at_e_until_f() {
        let t = epoch();
        let mut c = Client::new(t, false, Bytes::from(&b"x"[..]));
        let log = run(t, &mut c);
        assert_eq!(log.sent, [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
        assert_eq!((log.timed_out, log.end), (true, 32_000));
        let log = run(t, &mut Client::new(t, true, Bytes::from(&b"x"[..])));
        assert_eq!((log.sent, log.timed_out, log.end), (vec![0], true, 32_000));
    }

    #[test]
    fn provisional_responses_slow_it_down_and_final_ones_end_it() {
        let t = epoch();
        let mut c = Client::new(t, false, Bytes::from(&b"x"[..]));
        assert!(c.handle_response(t + Duration::from_millis(100), 100));
        let log = run(t, &mut c);
        assert_eq!(log.sent, [0, 4100, 8100, 12100, 16100, 20100, 24100, 28100]);
        let mut c = Client::new(t, false, Bytes::from(&b"x"[..]));
        assert!(c.handle_response(t, 200));
        assert!(!c.handle_response(t, 200));
        let log = run(t, &mut c);
        assert_eq!((log.sent, log.timed_out, log.end), (vec![0], false, 5_000));
    }
}
