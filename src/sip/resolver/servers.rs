//! State of each name server: EDNS support, and availability.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Most servers remembered.
const MAX_SERVERS: usize = 32;
/// How long a server that responded only without OPT is queried without it (RFC 6891 §7).
const PLAIN: Duration = Duration::from_secs(900);
/// Consecutive failures after which a server is queried last.
const FAILURES: u8 = 2;
/// How long a failing server is queried last, and a responding one counts as available.
const MEMORY: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, Default)]
struct Note {
    /// Query without OPT until then.
    plain: Option<Instant>,
    /// Last response to a query with OPT.
    edns: Option<Instant>,
    /// Consecutive failures.
    failures: u8,
    failed: Option<Instant>,
    answered: Option<Instant>,
}

/// State of all name servers.
#[derive(Debug, Clone, Default)]
pub struct Servers(BTreeMap<SocketAddr, Note>);

impl Servers {
    /// The servers in query order: recently failed ones last.
    #[must_use]
    pub fn order(&self, now: Instant, servers: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut out = servers.to_vec();
        out.sort_by_key(|s| self.0.get(s).is_some_and(|n| n.failures >= FAILURES && recent(n.failed, now)));
        out
    }

    /// True if a server must be queried without OPT.
    #[must_use]
    pub fn is_plain(&self, now: Instant, server: SocketAddr) -> bool {
        self.0.get(&server).is_some_and(|n| n.plain.is_some_and(|until| now < until))
    }

    /// True if a server has recently responded to OPT, so that silence has another cause.
    #[must_use]
    pub fn knows_edns(&self, now: Instant, server: SocketAddr) -> bool {
        self.0.get(&server).is_some_and(|n| recent(n.edns, now))
    }

    /// True if some server has responded recently: an unanswered query is then due to the query itself.
    #[must_use]
    pub fn any_answers(&self, now: Instant) -> bool {
        self.0.values().any(|n| recent(n.answered, now))
    }

    /// A server has responded to a query with or without OPT.
    pub fn answered(&mut self, now: Instant, server: SocketAddr, edns: bool) {
        let note = self.note(server);
        (note.failures, note.answered) = (0, Some(now));
        if edns {
            (note.edns, note.plain) = (Some(now), None);
        }
    }

    /// A server has responded without OPT to what it ignored with it.
    pub fn needs_plain(&mut self, now: Instant, server: SocketAddr) {
        let note = self.note(server);
        (note.edns, note.plain) = (None, Some(now + PLAIN));
    }

    /// A server did not respond, or returned an error.
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
