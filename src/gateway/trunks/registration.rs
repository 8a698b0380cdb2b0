//! State of a registration, and its deadlines.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::registrar_answers::Elsewhere;
use super::status::Status;
use crate::base::time::Utc;
use crate::gateway::requests::ClientAuth;
use crate::gateway::requests::Redirections;
use crate::sip::digest::Credentials;
use crate::sip::flow::Flow;
use crate::sip::transactions::ClientId;

/// Identity common to all requests of a registration (RFC 3261 §10.2).
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) call_id: String,
    pub(super) tag: String,
    pub(super) cseq: u32,
}

/// Last grant of the registrar.
#[derive(Debug, Default)]
pub(super) struct Grant {
    /// Granted interval, seconds.
    pub(super) seconds: u32,
    /// Expiry at the registrar.
    pub(super) until: Option<Instant>,
    pub(super) registered_at: Option<Utc>,
    pub(super) contact: String,
    pub(super) source: Option<SocketAddr>,
}

/// A registration.
#[derive(Debug)]
pub struct Registration {
    pub(super) status: Status,
    pub(super) last_error: String,
    pub(super) identity: Identity,
    pub(super) auth: Option<ClientAuth>,
    /// The request in progress, or waiting for target resolution.
    pub(super) tx: Option<ClientId>,
    pub(super) waits: bool,
    /// Servers not tried in this round.
    pub(super) others: Vec<Flow>,
    /// The server that accepted it.
    pub(super) target: Option<Flow>,
    /// Redirection by the registrar.
    pub(super) elsewhere: Option<Elsewhere>,
    /// Redirections in this round.
    pub(super) redirections: Redirections,
    /// Minimum interval according to a 423, seconds.
    pub(super) at_least: u32,
    pub(super) failures: u32,
    /// Time of the next REGISTER.
    pub(super) due: Option<Instant>,
    /// Register again as soon as the current request is answered.
    pub(super) again: bool,
    pub(super) next_at: Option<Utc>,
    pub(super) keep_alive_at: Option<Instant>,
    /// Last grant of the registrar.
    pub(super) grant: Grant,
    /// Remove the trunk once it is unregistered.
    pub(super) removing: bool,
    /// Time limit of unregistering.
    pub(super) give_up_at: Option<Instant>,
}

impl Registration {
    /// A registration to be made at once.
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

    /// Delay until the next REGISTER: none if the settings changed during the current one.
    pub(super) fn wait_or_again(&mut self, wait: Duration) -> Duration {
        if std::mem::take(&mut self.again) { Duration::ZERO } else { wait }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Registers again at once, with new credentials or another route.
    pub fn begin_again(&mut self, now: Instant, credentials: Option<Credentials>) {
        self.auth = credentials.map(ClientAuth::new);
        (self.elsewhere, self.failures) = (None, 0);
        // A REGISTER must not overtake the previous one (RFC 3261 §10.2).
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
