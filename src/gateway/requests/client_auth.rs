//! Challenges to our requests (RFC 3261 §22): answered with the credentials of the leg or account, but only
//! to the server that was called.

use std::net::IpAddr;

use crate::sip::digest::{Authentication, Credentials};
use crate::sip::flow::Flow;
use crate::wire::challenge::{Challenge, next_nonces};
use crate::wire::{Draft, Method, Response};

/// Credentials of a leg or account, and the challenges received.
#[derive(Debug, Clone)]
pub struct ClientAuth {
    state: Authentication,
    /// The server of the first request: no other server gets credentials, e.g. after a redirection.
    asked: Option<IpAddr>,
}

impl ClientAuth {
    /// Without challenges.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self { state: Authentication::new(credentials), asked: None }
    }

    /// Only this server gets credentials.
    #[must_use]
    pub fn for_server(credentials: Credentials, server: IpAddr) -> Self {
        Self { asked: Some(server), ..Self::new(credentials) }
    }

    /// The next server of the same name is tried: allow another address.
    pub fn forget_whom(&mut self) {
        self.asked = None;
    }

    /// Adds authentication headers for known challenges, if the target is the allowed server.
    pub fn add_to(&mut self, method: &Method, draft: &mut Draft, target: Flow, cnonce: &str) {
        if *self.asked.get_or_insert(target.addr.ip()) == target.addr.ip() {
            add_fields(&mut self.state, method, draft, cnonce);
        }
    }

    /// Handles a challenge; true if retrying makes sense.
    pub fn takes(&mut self, from: IpAddr, response: &Response) -> bool {
        self.asked == Some(from) && self.takes_any(response)
    }

    /// True if this is the allowed server.
    #[must_use]
    pub fn was_asked_by(&self, server: IpAddr) -> bool {
        self.asked == Some(server)
    }

    /// Handles a challenge of any server; true if retrying makes sense.
    pub fn takes_any(&mut self, response: &Response) -> bool {
        matches!(response.code, 401 | 407) && self.state.challenged(Challenge::all(&response.common.headers))
    }

    /// Forgets all challenges.
    pub fn restart(&mut self) {
        self.state.restart();
    }

    /// A request was accepted by this server.
    pub fn passed(&mut self, from: Option<IpAddr>, response: &Response) {
        self.state.passed();
        if self.asked.is_some() && self.asked == from {
            for (proxy, nonce) in next_nonces(&response.common.headers) {
                self.state.next_nonce(proxy, &nonce);
            }
        }
    }
}

fn add_fields(state: &mut Authentication, method: &Method, draft: &mut Draft, cnonce: &str) {
    let uri = draft.request_uri().to_owned();
    for (name, value) in state.headers(&method.to_string(), &uri, cnonce) {
        draft.push(name, value);
    }
}
