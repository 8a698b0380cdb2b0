//! Non-INVITE client transaction (RFC 3261 §17.1.2).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::machine::Machine;
use super::{Bytes, Output, T1, T2, T4, TIMEOUT};

#[derive(Debug)]
enum State {
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
    state: State,
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
        Self { state: State::Trying { e, f: now + TIMEOUT }, reliable, request, out }
    }

    /// Handles a response; true if it must be passed to the transaction user.
    pub fn handle_response(&mut self, now: Instant, code: u16) -> bool {
        match self.state {
            State::Trying { f, .. } if code < 200 => {
                let e = (!self.reliable).then_some(now + T2);
                self.state = State::Proceeding { e, f };
                true
            }
            State::Proceeding { .. } if code < 200 => true,
            State::Trying { .. } | State::Proceeding { .. } => {
                let k = if self.reliable { Duration::ZERO } else { T4 };
                self.state = State::Completed { k: now + k };
                true
            }
            State::Completed { .. } | State::Terminated => false,
        }
    }

    /// Transport error: terminates at once.
    pub fn fail(&mut self) {
        self.state = State::Terminated;
    }
}

impl Machine for Client {
    fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Trying { f, .. } | State::Proceeding { f, .. } if *f <= now => {
                self.out.push_back(Output::TimedOut);
                self.state = State::Terminated;
            }
            State::Trying { e: Some((at, every)), .. } if *at <= now => {
                self.out.push_back(Output::Transmit(Bytes::clone(&self.request)));
                *every = (*every * 2).min(T2);
                *at = now + *every;
            }
            State::Proceeding { e: Some(at), .. } if *at <= now => {
                self.out.push_back(Output::Transmit(Bytes::clone(&self.request)));
                *at = now + T2;
            }
            State::Completed { k } if *k <= now => self.state = State::Terminated,
            State::Trying { .. } | State::Proceeding { .. } | State::Completed { .. } | State::Terminated => {
            }
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match &self.state {
            State::Trying { e: Some((at, _)), f } | State::Proceeding { e: Some(at), f } if at < f => {
                Some((*at, "E"))
            }
            State::Trying { f, .. } | State::Proceeding { f, .. } => Some((*f, "F")),
            State::Completed { k } => Some((*k, "K")),
            State::Terminated => None,
        }
    }

    fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
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
