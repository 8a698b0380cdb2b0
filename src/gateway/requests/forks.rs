//! Abandoned INVITEs, and forks that answer them nevertheless (RFC 3261 §13.2.2.4).

use std::collections::{BTreeMap, BTreeSet};

use super::bye::Parting;
use crate::sip::transactions::ClientId;

/// Most forks of an INVITE that are acknowledged and ended.
const MAX_FORKS: usize = 16;

/// State for late answers to INVITEs.
#[derive(Debug, Default)]
pub struct Forks {
    /// Tags of forks that were ended, by INVITE.
    ended: BTreeMap<ClientId, Vec<String>>,
    /// Data for the BYE to a late answer, by abandoned INVITE.
    abandoned: BTreeMap<ClientId, Parting>,
    /// INVITEs to phones that are reached over their registered flow only.
    pinned: BTreeSet<ClientId>,
}

impl Forks {
    /// The INVITE is sent over the registered flow of a phone; so are later requests.
    pub fn pin(&mut self, invite: ClientId) {
        self.pinned.insert(invite);
    }

    /// True if the INVITE was sent over a registered flow.
    #[must_use]
    pub fn is_pinned(&self, invite: ClientId) -> bool {
        self.pinned.contains(&invite)
    }

    /// Marks an INVITE as abandoned.
    pub fn abandon(&mut self, invite: ClientId, parting: Parting) {
        self.abandoned.insert(invite, parting);
    }

    /// Data for the BYE to a late answer of an abandoned INVITE.
    #[must_use]
    pub fn parting_of(&self, invite: ClientId) -> Option<&Parting> {
        self.abandoned.get(&invite)
    }

    /// A fork to be ended has answered: true the first time, for at most 16 forks per INVITE.
    pub fn end(&mut self, invite: ClientId, tag: String) -> bool {
        let ended = self.ended.entry(invite).or_default();
        let first = !ended.contains(&tag) && ended.len() < MAX_FORKS;
        if first {
            ended.push(tag);
        }
        first
    }

    /// No more answers to this INVITE can arrive.
    pub fn forget(&mut self, invite: ClientId) {
        self.ended.remove(&invite);
        self.abandoned.remove(&invite);
        self.pinned.remove(&invite);
    }

    /// True without state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.abandoned.is_empty() && self.pinned.is_empty()
    }
}
