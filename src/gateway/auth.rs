//! Challenges to our requests (RFC 3261 §22): answered with the credentials of the leg, and only to those whom
//! the leg called.

use std::net::IpAddr;

use super::core::Gateway;
use super::leg::LegId;
use super::trunk::TrunkId;
use crate::base::time::Now;
use crate::sip::dialog::Dialog;
use crate::sip::digest::{Authentication, Credentials};
use crate::sip::target::Target;
use crate::sip::transactions::ClientId;
use crate::wire::challenge::{Challenge, next_nonces};
use crate::wire::{Draft, Method, Response};

const FIELDS: [&str; 2] = ["Authorization", "Proxy-Authorization"];

/// A leg's credentials.
#[derive(Debug, Clone)]
pub struct LegAuth {
    pub(super) state: Authentication,
    /// Whom its first request went to: nobody else gets an answer, be it after a redirection.
    pub(super) asked: Option<IpAddr>,
}

impl LegAuth {
    /// Nobody has been asked yet.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self { state: Authentication::new(credentials), asked: None }
    }

    /// Only this server may ask.
    #[must_use]
    pub fn for_server(credentials: Credentials, server: IpAddr) -> Self {
        Self { asked: Some(server), ..Self::new(credentials) }
    }

    /// Another server of those that were called is asked instead.
    pub(super) fn forget_whom(&mut self) {
        self.asked = None;
    }

    /// Adds what a server has asked for before, if it is the one.
    pub(super) fn add_to(&mut self, method: &Method, draft: &mut Draft, target: Target, cnonce: &str) {
        if *self.asked.get_or_insert(target.addr.ip()) == target.addr.ip() {
            add_fields(&mut self.state, method, draft, cnonce);
        }
    }

    /// Takes a challenge; true when trying again makes sense.
    pub(super) fn takes(&mut self, from: IpAddr, response: &Response) -> bool {
        matches!(response.code, 401 | 407)
            && self.asked == Some(from)
            && self.state.challenged(Challenge::all(&response.common.headers))
    }

    /// A request has come through to this server.
    pub(super) fn passed(&mut self, from: Option<IpAddr>, response: &Response) {
        self.state.passed();
        if self.asked.is_some() && self.asked == from {
            for (proxy, nonce) in next_nonces(&response.common.headers) {
                self.state.next_nonce(proxy, &nonce);
            }
        }
    }
}

/// What a BYE needs of its leg, which may be gone when it is sent or challenged.
#[derive(Debug, Clone)]
pub struct Parting {
    /// The connection or address the dialog came along.
    pub(super) flow: Option<Target>,
    /// Credentials for who challenges it.
    pub(super) auth: Option<LegAuth>,
    /// The trunk it goes through.
    pub(super) trunk: Option<TrunkId>,
}

/// The BYE that an ended leg owes once the ACK is in (RFC 3261 §15), or one that may be challenged.
#[derive(Debug)]
pub struct Bye {
    pub(super) dialog: Dialog,
    pub(super) parting: Parting,
}

impl Gateway {
    /// Adds to a request of a leg what its challengers have asked for before.
    pub(super) fn authorize(&mut self, id: LegId, method: &Method, draft: &mut Draft, target: Target) {
        let Some(auth) = self.legs.get_mut(id).and_then(|l| l.auth.as_mut()) else { return };
        let cnonce = self.ctx.rng.token();
        auth.add_to(method, draft, target, &cnonce);
    }

    /// Takes the challenge of a 401 or 407 to `tx`; true when the request may be tried again.
    pub(super) fn challenged(&mut self, id: LegId, tx: ClientId, response: &Response) -> bool {
        let Some(to) = self.ctx.sip.target_of(tx).map(|t| t.addr.ip()) else { return false };
        let Some(auth) = self.legs.get_mut(id).and_then(|l| l.auth.as_mut()) else { return false };
        auth.takes(to, response)
    }

    /// A request of a leg has come through.
    pub(super) fn passed(&mut self, id: LegId, tx: ClientId, response: &Response) {
        let to = self.ctx.sip.target_of(tx).map(|t| t.addr.ip());
        if let Some(auth) = self.legs.get_mut(id).and_then(|l| l.auth.as_mut()) {
            auth.passed(to, response);
        }
    }

    /// What a BYE of this leg needs.
    pub(super) fn parting_of(&self, id: LegId) -> Parting {
        let leg = self.legs.get(id);
        let auth = leg.and_then(|l| l.auth.as_deref().cloned());
        Parting { flow: leg.and_then(|l| l.flow), auth, trunk: leg.and_then(|l| l.trunk) }
    }

    /// The ACK to a 2xx carries what its INVITE carried (RFC 3261 §22.1).
    pub(super) fn copy_authorization(&self, tx: ClientId, ack: &mut Draft) {
        let Some(sent) = self.ctx.sip.sent(tx) else { return };
        for name in FIELDS {
            for value in sent.all(name) {
                ack.push(name, value);
            }
        }
    }

    /// Sends a BYE to an address.
    pub(super) fn send_bye_to(&mut self, now: Now, target: Target, mut draft: Draft, mut bye: Box<Bye>) {
        // Nobody else gets an answer.
        let auth = bye.parting.auth.as_mut().filter(|a| a.asked == Some(target.addr.ip()));
        let known = auth.is_some();
        if let Some(auth) = auth {
            add_fields(&mut auth.state, &Method::Bye, &mut draft, &self.ctx.rng.token());
        }
        // Without room for the transaction the far end learns of it by its own timers.
        let sent = self.ctx.sip.request(now.mono, &Method::Bye, draft, target);
        if let (Ok(tx), true) = (sent, known) {
            self.byes.insert(tx, bye);
        }
    }

    /// A response to a BYE that may be challenged.
    pub(super) fn bye_answered(&mut self, now: Now, tx: ClientId, response: &Response) {
        if response.code < 200 {
            return;
        }
        let Some(mut bye) = self.byes.remove(&tx) else { return };
        let Some(auth) = bye.parting.auth.as_mut() else { return };
        if matches!(response.code, 401 | 407)
            && auth.state.challenged(Challenge::all(&response.common.headers))
        {
            self.send_bye(now, &mut bye.dialog, bye.parting);
        }
    }
}

pub(super) fn add_fields(state: &mut Authentication, method: &Method, draft: &mut Draft, cnonce: &str) {
    let uri = draft.request_uri().to_owned();
    for (name, value) in state.headers(&method.to_string(), &uri, cnonce) {
        draft.push(name, value);
    }
}
