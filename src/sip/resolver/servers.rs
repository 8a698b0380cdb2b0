//! What experience teaches about each name server: whether it knows EDNS, whether it answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Servers remembered.
const MAX_SERVERS: usize = 32;
/// How long a server is asked without OPT that has answered only so (RFC 6891 §7).
const PLAIN: Duration = Duration::from_secs(900);
/// Failures in a row after which a server is asked last.
const FAILURES: u8 = 2;
/// How long it is asked last, or counts as one that answers.
const MEMORY: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, Default)]
struct Note {
    /// Asked without OPT until then.
    plain: Option<Instant>,
    /// When it last answered a question with OPT.
    edns: Option<Instant>,
    /// Failures in a row.
    failures: u8,
    failed: Option<Instant>,
    answered: Option<Instant>,
}

/// What is known of the name servers.
#[derive(Debug, Clone, Default)]
pub struct Servers(BTreeMap<SocketAddr, Note>);

impl Servers {
    /// The servers in the order they are asked: those that failed lately come last.
    #[must_use]
    pub fn order(&self, now: Instant, servers: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut out = servers.to_vec();
        out.sort_by_key(|s| self.0.get(s).is_some_and(|n| n.failures >= FAILURES && recent(n.failed, now)));
        out
    }

    /// True when a server is to be asked without OPT.
    #[must_use]
    pub fn is_plain(&self, now: Instant, server: SocketAddr) -> bool {
        self.0.get(&server).is_some_and(|n| n.plain.is_some_and(|until| now < until))
    }

    /// True when a server has understood OPT lately, so that silence has another reason.
    #[must_use]
    pub fn knows_edns(&self, now: Instant, server: SocketAddr) -> bool {
        self.0.get(&server).is_some_and(|n| recent(n.edns, now))
    }

    /// True when some server has answered lately: what stays without an answer is then the question's fault.
    #[must_use]
    pub fn any_answers(&self, now: Instant) -> bool {
        self.0.values().any(|n| recent(n.answered, now))
    }

    /// A server has answered, to a question with OPT or without.
    pub fn answered(&mut self, now: Instant, server: SocketAddr, edns: bool) {
        let note = self.note(server);
        (note.failures, note.answered) = (0, Some(now));
        if edns {
            (note.edns, note.plain) = (Some(now), None);
        }
    }

    /// A server has answered without OPT what it did not with it.
    pub fn needs_plain(&mut self, now: Instant, server: SocketAddr) {
        let note = self.note(server);
        (note.edns, note.plain) = (None, Some(now + PLAIN));
    }

    /// A server did not answer, or could not tell.
    pub fn failed(&mut self, now: Instant, server: SocketAddr) {
        let note = self.note(server);
        (note.failures, note.failed) = (note.failures.saturating_add(1), Some(now));
    }

    fn note(&mut self, server: SocketAddr) -> &mut Note {
        if self.0.len() >= MAX_SERVERS && !self.0.contains_key(&server) {
            self.0.pop_first();
        }
        self.0.entry(server).or_default()
    }
}

fn recent(at: Option<Instant>, now: Instant) -> bool {
    at.is_some_and(|at| now.saturating_duration_since(at) < MEMORY)
}
