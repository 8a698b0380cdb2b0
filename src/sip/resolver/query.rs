//! One query to several name servers: which server to ask when and how, and which response counts.
//!
//! Each server has its own time-out: if one does not respond, the next is queried while the first may still
//! answer. Servers that fail or do not support EDNS do not delay the others.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Question;
use super::servers::Servers;
use super::system::Settings;
use crate::base::rng::Rng;
use crate::wire::dns::{Answer, Kind, MAX_ALIASES, Record, query};

/// If a server has not responded for this long, the next is queried in parallel.
const HEDGE: Duration = Duration::from_millis(400);
/// Retransmission interval for the same server.
const AGAIN: Duration = Duration::from_secs(1);
/// Maximum TTL of records from a truncated response, seconds.
const PARTIAL: u32 = 30;

/// Transport of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// As a datagram.
    Udp,
    /// On a connection.
    Tcp,
}

/// A message to send. Its outcome is reported by [`Query::answered`] or [`Query::failed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// Number of the message within this query.
    pub number: u32,
    /// Destination.
    pub server: SocketAddr,
    /// Transport.
    pub over: Over,
    /// Message id.
    pub id: u16,
    /// The query.
    pub question: Question,
    /// The message.
    pub bytes: Vec<u8>,
}

/// Outcome of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Records and their TTL, seconds.
    Records(Vec<Record>, u32),
    /// No such records; TTL of the negative answer, if given.
    Nothing(Option<u32>),
    /// Servers responded with errors, or were unreachable.
    Failure,
    /// No server responded.
    Silence,
}

/// Next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this, then poll again.
    Send(Sending),
    /// Wait until then, or for the next response.
    Wait(Instant),
    /// The query is complete.
    Done(Outcome),
}

#[derive(Debug)]
struct Server {
    at: SocketAddr,
    sent: u8,
    last: Option<Instant>,
    /// Queried without OPT.
    plain: bool,
    /// A query with OPT has failed or is unanswered.
    edns_failed: bool,
    tried_tcp: bool,
    /// Exhausted: no further attempts.
    out: bool,
}

impl Server {
    fn again(&self, attempts: u8) -> Option<Option<Instant>> {
        (!self.out && self.sent < attempts).then(|| self.last.map(|last| last + AGAIN))
    }
}

#[derive(Debug)]
struct Attempt {
    number: u32,
    server: SocketAddr,
    over: Over,
    edns: bool,
    since: Instant,
    until: Instant,
}

/// One query.
#[derive(Debug)]
pub struct Query {
    name: String,
    kind: Kind,
    patience: Duration,
    attempts: u8,
    /// CNAMEs followed so far, and their TTL, seconds.
    seen: Vec<String>,
    held: u32,
    servers: Vec<Server>,
    open: Vec<Attempt>,
    number: u32,
    /// Attempts to make first: without OPT after a failure with it, over TCP after truncation.
    next: VecDeque<(SocketAddr, Over)>,
    /// When the next server may be queried.
    due: Instant,
    /// When the query ends in any case.
    limit: Option<Instant>,
    last_resort: Option<Outcome>,
    /// A server or the network has reported a failure.
    failed: bool,
    done: Option<Outcome>,
}

impl Query {
    /// A query to the servers of `settings`. `limit`: time-out if the caller has a usable result already.
    #[must_use]
    pub fn new(
        now: Instant,
        question: Question,
        settings: &Settings,
        known: &Servers,
        limit: Option<Duration>,
    ) -> Self {
        let (name, kind) = question;
        let servers = known.order(now, &settings.servers).into_iter().map(|at| Server {
            at,
            sent: 0,
            last: None,
            plain: known.is_plain(now, at),
            edns_failed: false,
            tried_tcp: false,
            out: false,
        });
        Self {
            name,
            kind,
            patience: settings.patience,
            attempts: settings.attempts,
            seen: Vec::new(),
            held: u32::MAX,
            servers: servers.collect(),
            open: Vec::new(),
            number: 0,
            next: VecDeque::new(),
            due: now,
            limit: limit.map(|l| now + l),
            last_resort: None,
            failed: false,
            done: None,
        }
    }

    /// The next step.
    pub fn poll(&mut self, now: Instant, known: &mut Servers, rng: &mut Rng) -> Step {
        if self.done.is_none() && self.limit.is_some_and(|l| l <= now) {
            self.finish(now, known, None);
        }
        if self.done.is_none()
            && let Some((server, over)) = self.choose(now)
        {
            match self.send(now, known, rng, server, over) {
                Some(sending) => return Step::Send(sending),
                // Not a domain name.
                None => self.done = Some(Outcome::Nothing(None)),
            }
        }
        if let Some(outcome) = &self.done {
            return Step::Done(outcome.clone());
        }
        // While any response is pending, all are awaited: late responses count.
        let last = self.open.iter().map(|a| a.until).max().filter(|last| *last > now);
        match self.next_time().or(last) {
            Some(until) => Step::Wait(self.limit.map_or(until, |l| l.min(until))),
            None => {
                self.finish(now, known, None);
                Step::Done(self.done.clone().unwrap_or(Outcome::Silence))
            }
        }
    }

    /// The response to message `number`.
    pub fn answered(&mut self, now: Instant, number: u32, answer: Answer, known: &mut Servers) {
        let Some(attempt) = self.close(number) else { return };
        let Some(at) = self.servers.iter().position(|s| s.at == attempt.server) else { return };
        if answer != Answer::Failed {
            let needs_plain = !attempt.edns && self.servers.get(at).is_some_and(|s| s.edns_failed);
            known.answered(now, attempt.server, attempt.edns);
            if needs_plain {
                known.needs_plain(now, attempt.server);
            }
        }
        match answer {
            Answer::Records(records, ttl) => {
                let outcome = Outcome::Records(records, ttl.min(self.held));
                self.finish(now, known, Some(outcome));
            }
            Answer::Nothing { ttl, sure: true } => self.finish(now, known, Some(Outcome::Nothing(ttl))),
            Answer::Nothing { ttl, sure: false } => {
                self.last_resort.get_or_insert(Outcome::Nothing(ttl));
                self.rule_out(now, at);
            }
            Answer::Alias(next, ttl) => self.follow(now, at, next, ttl),
            Answer::Truncated(records, ttl) => self.truncated(now, at, attempt.over, records, ttl),
            Answer::Failed => self.could_not_tell(now, at, &attempt, known),
        }
    }

    /// Message `number` could not be delivered, or its connection broke.
    pub fn failed(&mut self, now: Instant, number: u32, known: &mut Servers) {
        let Some(attempt) = self.close(number) else { return };
        known.failed(now, attempt.server);
        self.failed = true;
        self.due = now;
    }

    fn close(&mut self, number: u32) -> Option<Attempt> {
        let at = self.open.iter().position(|a| a.number == number)?;
        Some(self.open.swap_remove(at))
    }

    fn finish(&mut self, now: Instant, known: &mut Servers, outcome: Option<Outcome>) {
        // Servers for which another one had to step in.
        let late = self.open.drain(..).filter(|a| now.saturating_duration_since(a.since) >= HEDGE);
        late.for_each(|a| known.failed(now, a.server));
        let last_resort = self.last_resort.take();
        let failed = if self.failed { Outcome::Failure } else { Outcome::Silence };
        self.done = Some(outcome.or(last_resort).unwrap_or(failed));
    }

    fn rule_out(&mut self, now: Instant, at: usize) {
        self.due = now;
        if let Some(server) = self.servers.get_mut(at) {
            server.out = true;
        }
    }

    fn follow(&mut self, now: Instant, at: usize, next: String, ttl: u32) {
        self.held = self.held.min(ttl);
        let next = next.to_ascii_lowercase();
        self.seen.push(std::mem::replace(&mut self.name, next));
        if self.seen.len() > MAX_ALIASES || self.seen.contains(&self.name) {
            // A CNAME loop is the same on every server.
            self.open.clear();
            self.done = Some(Outcome::Nothing(None));
            return;
        }
        // The server that responded goes first; pending attempts are for the old name.
        self.servers.swap(0, at);
        for server in &mut self.servers {
            (server.sent, server.last, server.out, server.tried_tcp) = (0, None, false, false);
        }
        self.open.clear();
        self.next.clear();
        self.last_resort = None;
        self.due = now;
    }

    fn truncated(&mut self, now: Instant, at: usize, over: Over, records: Vec<Record>, ttl: u32) {
        if !records.is_empty() && !matches!(self.last_resort, Some(Outcome::Records(..))) {
            self.last_resort = Some(Outcome::Records(records, ttl.min(PARTIAL).min(self.held)));
        }
        let Some(server) = self.servers.get_mut(at) else { return };
        // Nothing more to expect from it, except over TCP.
        server.out = true;
        if over == Over::Udp && !server.tried_tcp {
            server.tried_tcp = true;
            self.next.push_back((server.at, Over::Tcp));
        }
        // Query the others meanwhile, in case the connection is slow or fails.
        self.due = now + HEDGE;
    }

    fn could_not_tell(&mut self, now: Instant, at: usize, attempt: &Attempt, known: &mut Servers) {
        let Some(server) = self.servers.get_mut(at) else { return };
        if attempt.edns && !server.plain {
            server.plain = true;
            server.edns_failed = true;
            self.next.push_back((server.at, attempt.over));
            return;
        }
        known.failed(now, attempt.server);
        self.failed = true;
        // The same query to the same server, without OPT, may still be pending.
        if !self.open.iter().any(|a| a.server == attempt.server) {
            self.rule_out(now, at);
        }
    }

    /// The next server to query.
    fn choose(&mut self, now: Instant) -> Option<(SocketAddr, Over)> {
        if let Some(next) = self.next.pop_front() {
            return Some(next);
        }
        if now < self.due {
            return None;
        }
        let attempts = self.attempts;
        let ready = |s: &&mut Server| s.again(attempts).is_some_and(|at| at.is_none_or(|at| at <= now));
        let server = self.servers.iter_mut().filter(ready).min_by_key(|s| s.sent)?;
        // No response to queries with OPT so far: maybe for that reason.
        let unheard = server.sent > 0 && !server.plain;
        server.sent += 1;
        server.last = Some(now);
        if unheard {
            server.edns_failed = true;
        }
        Some((server.at, Over::Udp))
    }

    fn send(
        &mut self,
        now: Instant,
        known: &Servers,
        rng: &mut Rng,
        server: SocketAddr,
        over: Over,
    ) -> Option<Sending> {
        let state = self.servers.iter_mut().find(|s| s.at == server)?;
        if state.edns_failed && !known.knows_edns(now, server) {
            state.plain = true;
        }
        let edns = !state.plain;
        let id = u16::try_from(rng.below(1 << 16)).unwrap_or_default();
        let bytes = query(id, &self.name, self.kind, edns)?;
        self.number += 1;
        self.due = now + HEDGE;
        let until = now + self.patience;
        self.open.push(Attempt { number: self.number, server, over, edns, since: now, until });
        let question = (self.name.clone(), self.kind);
        Some(Sending { number: self.number, server, over, id, question, bytes })
    }

    /// When the next server is queried if nothing arrives.
    fn next_time(&self) -> Option<Instant> {
        let times = self.servers.iter().filter_map(|s| s.again(self.attempts));
        times.map(|at| at.map_or(self.due, |at| at.max(self.due))).min()
    }
}
