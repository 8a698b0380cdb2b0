//! A registration of ours, and when something of it is due.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::registrar_answers::Elsewhere;
use super::status::Status;
use crate::base::time::Utc;
use crate::gateway::requests::ClientAuth;
use crate::gateway::requests::Redirections;
use crate::sip::digest::Credentials;
use crate::sip::target::Target;
use crate::sip::transactions::ClientId;

/// What all requests of a registration have in common (RFC 3261 §10.2).
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) call_id: String,
    pub(super) tag: String,
    pub(super) cseq: u32,
}

/// What the registrar has granted.
#[derive(Debug, Default)]
pub(super) struct Grant {
    /// For so long, seconds.
    pub(super) seconds: u32,
    /// The registrar forgets us then.
    pub(super) until: Option<Instant>,
    pub(super) registered_at: Option<Utc>,
    pub(super) contact: String,
    pub(super) source: Option<SocketAddr>,
}

/// A registration of ours.
#[derive(Debug)]
pub struct Registration {
    pub(super) status: Status,
    pub(super) last_error: String,
    pub(super) identity: Identity,
    pub(super) auth: Option<ClientAuth>,
    /// The request on its way, or waiting for an address.
    pub(super) tx: Option<ClientId>,
    pub(super) waits: bool,
    /// Servers not tried in this round.
    pub(super) others: Vec<Target>,
    /// Where the registrar took it.
    pub(super) target: Option<Target>,
    /// The registrar has sent us there.
    pub(super) elsewhere: Option<Elsewhere>,
    /// Where we were sent in this round.
    pub(super) redirections: Redirections,
    /// Asked for because a 423 said so, seconds.
    pub(super) at_least: u32,
    pub(super) failures: u32,
    /// The next REGISTER goes out then.
    pub(super) due: Option<Instant>,
    /// It goes out as soon as the present one is answered.
    pub(super) again: bool,
    pub(super) next_at: Option<Utc>,
    pub(super) keep_alive_at: Option<Instant>,
    /// What the registrar has granted last.
    pub(super) grant: Grant,
    /// The trunk goes once it is taken back.
    pub(super) removing: bool,
    /// Taking back is given up then.
    pub(super) give_up_at: Option<Instant>,
}

impl Registration {
    /// One that is to be made at once.
    #[must_use]
    pub fn new(
        call_id: String,
        tag: String,
        cseq: u32,
        credentials: Option<Credentials>,
        now: Instant,
    ) -> Self {
        Self {
            status: Status::Registering,
            last_error: String::new(),
            identity: Identity { call_id, tag, cseq },
            auth: credentials.map(ClientAuth::new),
            tx: None,
            waits: false,
            others: Vec::new(),
            target: None,
            elsewhere: None,
            redirections: Redirections::default(),
            at_least: 0,
            failures: 0,
            due: Some(now),
            again: false,
            next_at: None,
            keep_alive_at: None,
            grant: Grant::default(),
            removing: false,
            give_up_at: None,
        }
    }

    /// The time to the next REGISTER: none where the settings have changed while this one was on its way.
    pub(super) fn wait_or_again(&mut self, wait: Duration) -> Duration {
        if std::mem::take(&mut self.again) { Duration::ZERO } else { wait }
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Registers at once, with other credentials or by another way.
    pub fn begin_again(&mut self, now: Instant, credentials: Option<Credentials>) {
        self.auth = credentials.map(ClientAuth::new);
        (self.elsewhere, self.failures) = (None, 0);
        // A REGISTER must not overtake the one before (RFC 3261 §10.2).
        self.again = self.tx.is_some() || self.waits;
        if !self.again {
            self.due = Some(now);
        }
    }

    /// When something is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let all = [self.due, self.grant.until, self.keep_alive_at, self.give_up_at];
        all.into_iter().flatten().min()
    }
}
