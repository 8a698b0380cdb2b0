//! INVITEs that nobody waits for any more, and the forks that answer them all the same (RFC 3261 §13.2.2.4).

use std::collections::{BTreeMap, BTreeSet};

use super::bye::Parting;
use crate::sip::transactions::ClientId;

/// Forks of one INVITE that are acknowledged and ended.
const MAX_FORKS: usize = 16;

/// What late answers to INVITEs need.
#[derive(Debug, Default)]
pub struct Forks {
    /// Tags of forks that have been ended, by INVITE.
    ended: BTreeMap<ClientId, Vec<String>>,
    /// What the BYE to a late answer needs, of INVITEs that nobody waits for.
    abandoned: BTreeMap<ClientId, Parting>,
    /// INVITEs to phones, which are reached only the way they registered.
    pinned: BTreeSet<ClientId>,
}

impl Forks {
    /// The INVITE goes to a phone, the way it registered; so does what follows.
    pub fn pin(&mut self, invite: ClientId) {
        self.pinned.insert(invite);
    }

    /// True when the INVITE went to a phone the way it registered.
    #[must_use]
    pub fn is_pinned(&self, invite: ClientId) -> bool {
        self.pinned.contains(&invite)
    }

    /// Nobody waits for the answer of this INVITE any more.
    pub fn abandon(&mut self, invite: ClientId, parting: Parting) {
        self.abandoned.insert(invite, parting);
    }

    /// What the BYE to a late answer of an abandoned INVITE needs.
    #[must_use]
    pub fn parting_of(&self, invite: ClientId) -> Option<&Parting> {
        self.abandoned.get(&invite)
    }

    /// A fork has answered that is to be ended: true the first time, for at most 16 forks of an INVITE.
    pub fn end(&mut self, invite: ClientId, tag: String) -> bool {
        let ended = self.ended.entry(invite).or_default();
        let first = !ended.contains(&tag) && ended.len() < MAX_FORKS;
        if first {
            ended.push(tag);
        }
        first
    }

    /// No answer to this INVITE can come any more.
    pub fn forget(&mut self, invite: ClientId) {
        self.ended.remove(&invite);
        self.abandoned.remove(&invite);
        self.pinned.remove(&invite);
    }

    /// True when nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.abandoned.is_empty() && self.pinned.is_empty()
    }
}
