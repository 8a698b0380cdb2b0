//! INVITE server transaction (RFC 3261 §17.2.1 with RFC 6026's Accepted state).
//!
//! Retransmission of the 2xx, which RFC 3261 §13.3.1.4 assigns to the transaction user, is done here too, as
//! one more timer of the same exchange.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::transaction_machine::Machine;
use super::{Bytes, Output, T1, T2, T4, TIMEOUT};
use crate::wire::Draft;

#[derive(Debug)]
enum ServerInviteState {
    /// Retransmitted INVITEs are answered with the last provisional response, which is also repeated every
    /// minute.
    Proceeding {
        provisional: Bytes,
        refresh: Instant,
    },
    /// A final error was sent: timer G retransmits it until the ACK, H times out.
    Completed {
        response: Bytes,
        g: Option<(Instant, Duration)>,
        /// Retransmissions left for timer G; `None`: until H.
        left: Option<u8>,
        h: Instant,
    },
    /// The ACK to the error was received; timer I absorbs its retransmissions.
    Confirmed {
        i: Instant,
    },
    /// A 2xx was sent: retransmitted until the ACK (then `g` is unset); timer L ends the transaction either
    /// way.
    Accepted {
        response: Bytes,
        g: Option<(Instant, Duration)>,
        l: Instant,
    },
    Terminated,
}

/// RFC 3261 §13.3.1.1: proxies time out without a provisional response every minute.
const REFRESH: Duration = Duration::from_secs(60);

/// Server transaction of an INVITE.
#[derive(Debug)]
pub struct ServerInvite {
    state: ServerInviteState,
    reliable: bool,
    /// The 100 and its time of sending, if its Timestamp has to include the delay when repeated.
    trying: Option<(Draft, Instant)>,
    out: VecDeque<Output>,
}

impl ServerInvite {
    /// Starts with the received INVITE; `trying` is the 100 to send at once, with the Timestamp of the
    /// INVITE, if any.
    #[must_use]
    pub fn new(now: Instant, reliable: bool, trying: Draft) -> Self {
        let provisional = Bytes::from(trying.to_bytes());
        let out = VecDeque::from([Output::Transmit(Bytes::clone(&provisional))]);
        let trying = Some((trying, now)).filter(|(draft, _)| draft.get("Timestamp").is_some());
        Self {
            state: ServerInviteState::Proceeding { provisional, refresh: now + REFRESH },
            reliable,
            trying,
            out,
        }
    }

    /// Sends a 101–199 response.
    pub fn provisional(&mut self, now: Instant, response: Bytes) {
        if let ServerInviteState::Proceeding { provisional, refresh } = &mut self.state {
            self.out.push_back(Output::Transmit(Bytes::clone(&response)));
            *provisional = response;
            *refresh = now + REFRESH;
            self.trying = None;
        }
    }

    /// Sends a 2xx response.
    pub fn accept(&mut self, now: Instant, response: Bytes) {
        if matches!(self.state, ServerInviteState::Proceeding { .. }) {
            self.out.push_back(Output::Transmit(Bytes::clone(&response)));
            self.state = ServerInviteState::Accepted { response, g: Some((now + T1, T1)), l: now + TIMEOUT };
        }
    }

    /// Sends a 300–699 response, retransmitted until the ACK, at most `repeats` times.
    pub fn reject(&mut self, now: Instant, response: Bytes, repeats: Option<u8>) {
        if matches!(self.state, ServerInviteState::Proceeding { .. }) {
            self.out.push_back(Output::Transmit(Bytes::clone(&response)));
            let g = (!self.reliable).then_some((now + T1, T1));
            self.state = ServerInviteState::Completed { response, g, left: repeats, h: now + TIMEOUT };
        }
    }

    /// True until a final response is sent.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self.state, ServerInviteState::Proceeding { .. })
    }

    /// True once a final error was sent.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.state, ServerInviteState::Completed { .. } | ServerInviteState::Confirmed { .. })
    }

    /// Handles a retransmission of the INVITE.
    pub fn handle_request(&mut self) {
        match &self.state {
            ServerInviteState::Proceeding { provisional: r, .. }
            | ServerInviteState::Completed { response: r, .. } => {
                self.out.push_back(Output::Transmit(Bytes::clone(r)));
            }
            ServerInviteState::Confirmed { .. }
            | ServerInviteState::Accepted { .. }
            | ServerInviteState::Terminated => {}
        }
    }

    /// The ACK to a final error was received.
    pub fn handle_ack(&mut self, now: Instant) {
        if matches!(self.state, ServerInviteState::Completed { .. }) {
            let i = if self.reliable { Duration::ZERO } else { T4 };
            self.state = ServerInviteState::Confirmed { i: now + i };
        }
    }

    /// The ACK to the 2xx was received in the dialog.
    pub fn confirm(&mut self) {
        if let ServerInviteState::Accepted { g, .. } = &mut self.state {
            *g = None;
        }
    }
}

/// A 100 sent `by` later than its request arrived: the Timestamp includes the delay (RFC 3261 §8.2.6.1).
fn late(trying: &Draft, by: Duration) -> Bytes {
    let mut draft = trying.clone();
    let sent = draft.get("Timestamp").and_then(|t| t.split_ascii_whitespace().next()).unwrap_or_default();
    let stamp = format!("{sent} {}.{:03}", by.as_secs(), by.subsec_millis());
    draft.set_first("Timestamp", stamp);
    Bytes::from(draft.to_bytes())
}

impl Machine for ServerInvite {
    fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            ServerInviteState::Completed { h: end, g, .. }
            | ServerInviteState::Accepted { l: end, g, .. }
                if *end <= now =>
            {
                let unreliable_error = !matches!(self.state, ServerInviteState::Accepted { g: None, .. });
                if unreliable_error {
                    self.out.push_back(Output::AckMissing);
                }
                self.state = ServerInviteState::Terminated;
            }
            ServerInviteState::Completed { g, left: Some(0), .. } if g.is_some_and(|(at, _)| at <= now) => {
                *g = None
            }
            ServerInviteState::Completed { response, g: Some((at, every)), .. }
            | ServerInviteState::Accepted { response, g: Some((at, every)), .. }
                if *at <= now =>
            {
                self.out.push_back(Output::Transmit(Bytes::clone(response)));
                *every = (*every * 2).min(T2);
                *at = now + *every;
                if let ServerInviteState::Completed { left: Some(left), .. } = &mut self.state {
                    *left = left.saturating_sub(1);
                }
            }
            ServerInviteState::Proceeding { provisional, refresh } if *refresh <= now => {
                if let Some((draft, since)) = &self.trying {
                    *provisional = late(draft, now.saturating_duration_since(*since));
                }
                self.out.push_back(Output::Transmit(Bytes::clone(provisional)));
                *refresh = now + REFRESH;
            }
            ServerInviteState::Confirmed { i } if *i <= now => self.state = ServerInviteState::Terminated,
            ServerInviteState::Proceeding { .. }
            | ServerInviteState::Completed { .. }
            | ServerInviteState::Confirmed { .. }
            | ServerInviteState::Accepted { .. }
            | ServerInviteState::Terminated => {}
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match &self.state {
            ServerInviteState::Completed { g: Some((at, _)), h: end, .. }
            | ServerInviteState::Accepted { g: Some((at, _)), l: end, .. }
                if at < end =>
            {
                Some((*at, "G"))
            }
            ServerInviteState::Completed { h, .. } => Some((*h, "H")),
            ServerInviteState::Accepted { l, .. } => Some((*l, "L")),
            ServerInviteState::Confirmed { i } => Some((*i, "I")),
            ServerInviteState::Proceeding { refresh, .. } => Some((*refresh, "ringing")),
            ServerInviteState::Terminated => None,
        }
    }

    fn is_terminated(&self) -> bool {
        matches!(self.state, ServerInviteState::Terminated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::virtual_time::{epoch, run};

    const RESENT: [u128; 11] = [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500];

    fn new(t: Instant, reliable: bool) -> ServerInvite {
        let trying = Draft::status(100, "Trying");
        let mut s = ServerInvite::new(t, reliable, trying.clone());
        assert_eq!(s.poll(), Some(Output::Transmit(Bytes::from(trying.to_bytes()))));
        s
    }

    #[test]
    fn an_error_is_resent_at_g_until_h() {
        let t = epoch();
        let mut s = new(t, false);
        s.reject(t, Bytes::from(&b"486"[..]), None);
        let log = run(t, &mut s);
        assert_eq!(log.sent, RESENT);
        assert_eq!((log.ack_missing, log.end), (true, 32_000));
        let mut s = new(t, true);
        s.reject(t, Bytes::from(&b"486"[..]), None);
        assert_eq!(run(t, &mut s).sent, [0]);
    }

    #[test]
    fn an_acknowledged_error_is_absorbed_for_i() {
        let t = epoch();
        let mut s = new(t, false);
        s.reject(t, Bytes::from(&b"486"[..]), None);
        s.handle_request();
        s.handle_ack(t);
        s.handle_request();
        let log = run(t, &mut s);
        assert_eq!((log.sent, log.ack_missing, log.end), (vec![0, 0], false, 5_000));
    }

    #[test]
    fn a_2xx_is_resent_on_any_transport_until_its_ack() {
        let t = epoch();
        for reliable in [false, true] {
            let mut s = new(t, reliable);
            s.accept(t, Bytes::from(&b"200"[..]));
            let log = run(t, &mut s);
            assert_eq!((log.sent, log.ack_missing), (RESENT.to_vec(), true));
        }
        let mut s = new(t, false);
        s.accept(t, Bytes::from(&b"200"[..]));
        s.confirm();
        s.handle_request();
        let log = run(t, &mut s);
        assert_eq!((log.sent, log.ack_missing, log.end), (vec![0], false, 32_000));
    }

    fn timestamp(s: &mut ServerInvite) -> String {
        let Some(Output::Transmit(bytes)) = s.poll() else { panic!("nothing is sent") };
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.lines().find_map(|l| l.strip_prefix("Timestamp: ")).unwrap_or_default().to_owned()
    }

    #[test]
    fn a_100_says_how_late_it_is_repeated() {
        let t = epoch();
        let mut trying = Draft::status(100, "Trying");
        trying.push("Timestamp", "54.21");
        let mut s = ServerInvite::new(t, false, trying);
        assert_eq!(timestamp(&mut s), "54.21");
        s.handle_request();
        assert_eq!(timestamp(&mut s), "54.21", "a copy is answered at once, too");
        s.handle_timeout(t + REFRESH);
        assert_eq!(timestamp(&mut s), "54.21 60.000");
        s.handle_timeout(t + 2 * REFRESH + Duration::from_millis(5));
        assert_eq!(timestamp(&mut s), "54.21 120.005");
        s.provisional(t + 2 * REFRESH, Bytes::from(&b"180"[..]));
        s.handle_timeout(t + 4 * REFRESH);
        assert_eq!((timestamp(&mut s), timestamp(&mut s)), (String::new(), String::new()));
    }

    #[test]
    fn ringing_is_refreshed_each_minute() {
        let t = epoch();
        let mut s = new(t, false);
        s.provisional(t, Bytes::from(&b"180"[..]));
        assert_eq!(s.poll_timeout(), Some((t + REFRESH, "ringing")));
        s.handle_timeout(t + REFRESH);
        assert!(s.is_pending());
        assert_eq!(s.poll().into_iter().chain(s.poll()).count(), 2);
    }
}
