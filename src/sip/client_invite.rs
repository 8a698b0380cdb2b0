//! INVITE client transaction (RFC 3261 §17.1.1 with RFC 6026's Accepted state).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::transaction_machine::Machine;
use super::{Bytes, Output, T1, TIMEOUT};
use crate::wire::Draft;

#[derive(Debug)]
enum ClientInviteState {
    /// Timer A retransmits (never on a reliable transport), B times out.
    Calling {
        a: Option<(Instant, Duration)>,
        b: Instant,
    },
    /// A provisional response was received; `cancelled`: time-out after a CANCEL (§9.1).
    Proceeding {
        cancelled: Option<Instant>,
    },
    /// A final error was received; timer D absorbs its retransmissions and answers them with the ACK.
    Completed {
        ack: Bytes,
        d: Instant,
    },
    /// A 2xx was received; until timer M, further ones from forks may follow.
    Accepted {
        m: Instant,
    },
    Terminated,
}

/// Client transaction of an INVITE.
#[derive(Debug)]
pub struct ClientInvite {
    state: ClientInviteState,
    reliable: bool,
    request: Bytes,
    /// The ACK to a final error, without its To (§17.1.1.3).
    ack: Draft,
    out: VecDeque<Output>,
}

impl ClientInvite {
    /// Sends the INVITE; `ack` is the ACK to a final error, complete except for To.
    #[must_use]
    pub fn new(now: Instant, reliable: bool, request: Bytes, ack: Draft) -> Self {
        let a = (!reliable).then_some((now + T1, T1));
        let out = VecDeque::from([Output::Transmit(Bytes::clone(&request))]);
        Self { state: ClientInviteState::Calling { a, b: now + TIMEOUT }, reliable, request, ack, out }
    }

    /// Handles a response with its To; true if it must be passed to the transaction user. Every 2xx is: the
    /// user distinguishes forks from retransmissions.
    pub fn handle_response(&mut self, now: Instant, code: u16, to: &str) -> bool {
        match &self.state {
            ClientInviteState::Calling { .. } if code < 200 => {
                self.state = ClientInviteState::Proceeding { cancelled: None };
                true
            }
            ClientInviteState::Proceeding { .. } if code < 200 => true,
            ClientInviteState::Calling { .. } | ClientInviteState::Proceeding { .. } if code < 300 => {
                self.state = ClientInviteState::Accepted { m: now + TIMEOUT };
                true
            }
            ClientInviteState::Calling { .. } | ClientInviteState::Proceeding { .. } => {
                let mut ack = self.ack.clone();
                ack.push("To", to);
                let ack = Bytes::from(ack.to_bytes());
                self.out.push_back(Output::Transmit(Bytes::clone(&ack)));
                let d = if self.reliable { Duration::ZERO } else { TIMEOUT };
                self.state = ClientInviteState::Completed { ack, d: now + d };
                true
            }
            ClientInviteState::Completed { ack, .. } => {
                if code >= 300 {
                    self.out.push_back(Output::Transmit(Bytes::clone(ack)));
                }
                false
            }
            ClientInviteState::Accepted { .. } => (200..300).contains(&code),
            ClientInviteState::Terminated => false,
        }
    }

    /// True after a provisional and before a final response: only then may a CANCEL be sent.
    #[must_use]
    pub fn can_cancel(&self) -> bool {
        matches!(self.state, ClientInviteState::Proceeding { .. })
    }

    /// A CANCEL was sent: without a final response within 32 s the transaction terminates.
    pub fn cancelled(&mut self, now: Instant) {
        if let ClientInviteState::Proceeding { cancelled } = &mut self.state {
            *cancelled = Some(now + TIMEOUT);
        }
    }

    /// Transport error: terminates at once.
    pub fn fail(&mut self) {
        self.state = ClientInviteState::Terminated;
    }

    fn give_up(&mut self) {
        self.out.push_back(Output::TimedOut);
        self.state = ClientInviteState::Terminated;
    }
}

impl Machine for ClientInvite {
    fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            ClientInviteState::Calling { b, .. } if *b <= now => self.give_up(),
            ClientInviteState::Proceeding { cancelled: Some(at) } if *at <= now => self.give_up(),
            ClientInviteState::Calling { a: Some((at, every)), .. } if *at <= now => {
                self.out.push_back(Output::Transmit(Bytes::clone(&self.request)));
                *every *= 2;
                *at = now + *every;
            }
            ClientInviteState::Completed { d: at, .. } | ClientInviteState::Accepted { m: at }
                if *at <= now =>
            {
                self.state = ClientInviteState::Terminated;
            }
            ClientInviteState::Calling { .. }
            | ClientInviteState::Proceeding { .. }
            | ClientInviteState::Completed { .. }
            | ClientInviteState::Accepted { .. }
            | ClientInviteState::Terminated => {}
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match &self.state {
            ClientInviteState::Calling { a: Some((at, _)), b } if at < b => Some((*at, "A")),
            ClientInviteState::Calling { b, .. } => Some((*b, "B")),
            ClientInviteState::Proceeding { cancelled } => cancelled.map(|at| (at, "cancel")),
            ClientInviteState::Completed { d, .. } => Some((*d, "D")),
            ClientInviteState::Accepted { m } => Some((*m, "M")),
            ClientInviteState::Terminated => None,
        }
    }

    fn is_terminated(&self) -> bool {
        matches!(self.state, ClientInviteState::Terminated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::virtual_time::{epoch, run};

    fn new(t: Instant, reliable: bool) -> ClientInvite {
        let ack = Draft::request(&crate::wire::Method::Ack, &crate::wire::Uri::Tel("1".into()));
        ClientInvite::new(t, reliable, Bytes::from(&b"x"[..]), ack)
    }

    #[test]
    fn an_unanswered_invite_doubles_its_interval_until_b() {
        let t = epoch();
        let log = run(t, &mut new(t, false));
        assert_eq!(log.sent, [0, 500, 1500, 3500, 7500, 15500, 31500]);
        assert_eq!((log.timed_out, log.end), (true, 32_000));
        assert_eq!(run(t, &mut new(t, true)).sent, [0]);
    }

    #[test]
    fn a_provisional_response_stops_it_and_only_then_may_it_be_cancelled() {
        let t = epoch();
        let mut c = new(t, false);
        assert!(!c.can_cancel());
        assert!(c.handle_response(t, 180, "<sip:b@h>;tag=1"));
        assert!(c.can_cancel());
        assert_eq!(c.poll_timeout(), None);
        c.cancelled(t);
        let log = run(t, &mut c);
        assert_eq!((log.sent, log.timed_out, log.end), (vec![0], true, 32_000));
    }

    #[test]
    fn each_copy_of_a_final_error_gets_the_ack() {
        let t = epoch();
        let mut c = new(t, false);
        assert!(c.handle_response(t, 486, "<sip:b@h>;tag=1"));
        assert!(!c.handle_response(t, 486, "<sip:b@h>;tag=1"));
        let log = run(t, &mut c);
        assert_eq!((log.sent, log.timed_out, log.end), (vec![0, 0, 0], false, 32_000));
        assert!(log.last.contains("To: <sip:b@h>;tag=1"), "{}", log.last);
        let mut c = new(t, true);
        assert!(c.handle_response(t, 486, "<sip:b@h>;tag=1"));
        assert_eq!(run(t, &mut c).end, 0);
    }

    #[test]
    fn every_2xx_goes_up_until_m() {
        let t = epoch();
        let mut c = new(t, false);
        assert!(c.handle_response(t, 200, "<sip:b@h>;tag=1"));
        assert!(c.handle_response(t, 200, "<sip:b@h>;tag=2"));
        assert!(!c.handle_response(t, 180, "<sip:b@h>;tag=3"));
        assert!(!c.handle_response(t, 486, "<sip:b@h>;tag=3"));
        assert_eq!(run(t, &mut c).end, 32_000);
    }
}
