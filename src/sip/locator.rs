//! Locates the servers of a URI's host (RFC 3263 §4), sans-IO: pending DNS queries, and the result of the
//! responses so far.
//!
//! All potentially relevant queries run in parallel. With a usable result, the rest is awaited for a short
//! time only (RFC 8305 §3): some name servers never respond to certain record types.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::flow::{Flow, NextHop};
use super::locate::{MAX_TARGETS, Service, order, services, usual_services};
use super::resolver::{Question, question};
use crate::base::rng::Rng;
use crate::wire::dns::{Kind, Naptr, Record, Srv};

/// Time to wait for the other address family if one has been resolved (RFC 8305 §3 uses 50 ms for hosts that
/// race connections; a call waits for nothing else).
const OTHER_FAMILY: Duration = Duration::from_millis(200);
/// Time to wait for preferred servers if others are known. Longer than a query with one retry.
const BETTER: Duration = Duration::from_millis(1500);
/// Longest look-up. Each query has its own, shorter time-outs; this one ends chains of them.
const LONGEST: Duration = Duration::from_secs(24);
/// Most queries of one look-up.
const MAX_QUESTIONS: usize = 24;

/// Address families available on this box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// Result so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// These targets, best first; none: the name does not exist, or does not offer SIP.
    Done(Vec<Flow>),
    /// More responses are needed, at most until this time, if given.
    Wait(Option<Instant>),
}

#[derive(Debug)]
enum Known {
    Asked,
    /// Time of arrival and records; SRV records in the order to try them.
    Came(Instant, Vec<Record>),
}

/// Partial result.
#[derive(Debug, Default)]
struct Found {
    targets: Vec<Flow>,
    /// Arrival of the first target.
    since: Option<Instant>,
    /// A response is missing.
    waiting: bool,
    /// How long to wait for it.
    until: Option<Instant>,
    /// A service is explicitly not offered (RFC 2782: the target is the root).
    no: bool,
}

impl Found {
    fn wait(&mut self, until: Option<Instant>) {
        self.until = if self.waiting { self.until.zip(until).map(|(a, b)| a.max(b)) } else { until };
        self.waiting = true;
    }

    /// True if the result is final.
    fn is_settled(&self, now: Instant, whole: bool) -> bool {
        !self.waiting || (!whole && self.limit().is_some_and(|at| at <= now))
    }

    fn limit(&self) -> Option<Instant> {
        let enough = self.since.map(|s| s + BETTER);
        [self.until, enough].into_iter().flatten().min()
    }
}

/// One look-up.
#[derive(Debug)]
pub struct Locator {
    hop: NextHop,
    name: String,
    /// Query SRV and NAPTR records.
    services: bool,
    families: Families,
    rng: Rng,
    began: Instant,
    /// Wait for all responses.
    whole: bool,
    known: BTreeMap<Question, Known>,
    fresh: Vec<Question>,
}

impl Locator {
    /// Starts the look-up of a hop with host `name`.
    #[must_use]
    pub fn new(now: Instant, hop: NextHop, name: &str, families: Families, rng: Rng) -> Self {
        let services = hop.port.is_none() && !is_local(name);
        Self {
            name: name.to_owned(),
            services,
            hop,
            families,
            rng,
            began: now,
            whole: false,
            known: BTreeMap::new(),
            fresh: Vec::new(),
        }
    }

    /// With `whole`, all responses are awaited instead of the first usable result.
    pub fn want_all(&mut self, whole: bool) {
        self.whole = whole;
    }

    /// The result so far. It may add new queries, see [`Self::questions`].
    pub fn verdict(&mut self, now: Instant) -> Verdict {
        let addresses = self.addresses_of_name();
        let (rules, usual) =
            if self.services { (self.rules(), self.usual()) } else { (Found::default(), Found::default()) };
        let end = self.began + LONGEST;
        let over = end <= now;
        let wait = |at: Option<Instant>| {
            Verdict::Wait(at.filter(|_| !self.whole).map_or(Some(end), |at| Some(at.min(end))))
        };
        let enough = |found: &Found| over || found.is_settled(now, self.whole);
        // NAPTR results are preferred, but the default SRV names are used if those take too long.
        if !rules.targets.is_empty() {
            return if enough(&rules) { Verdict::Done(rules.targets) } else { wait(rules.limit()) };
        }
        let later = usual.since.map(|since| since + BETTER);
        let too_long = over || (!self.whole && later.is_some_and(|at| at <= now));
        if rules.waiting && !too_long {
            return wait(later);
        }
        if !usual.targets.is_empty() {
            return if enough(&usual) { Verdict::Done(usual.targets) } else { wait(usual.limit()) };
        }
        if usual.waiting && !over {
            return wait(None);
        }
        if rules.no || usual.no {
            return Verdict::Done(Vec::new());
        }
        if enough(&addresses) { Verdict::Done(addresses.targets) } else { wait(addresses.limit()) }
    }

    /// New queries since the last call.
    pub fn questions(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.fresh)
    }

    /// The response to a query; empty also if no server could answer.
    pub fn answered(&mut self, now: Instant, question: Question, records: Vec<Record>) {
        let records = if question.1 == Kind::Srv {
            let servers = records.into_iter().filter_map(|r| match r {
                Record::Srv(s) => Some(s),
                Record::Naptr(_) | Record::Address(_) => None,
            });
            order(servers.collect(), &mut self.rng).into_iter().map(Record::Srv).collect()
        } else {
            records
        };
        self.known.insert(question, Known::Came(now, records));
    }

    /// The response to a query and its arrival; `None`: pending.
    fn ask(&mut self, name: &str, kind: Kind) -> Option<(Instant, Vec<Record>)> {
        let question = question(name, kind);
        match self.known.get(&question) {
            Some(Known::Came(when, records)) => Some((*when, records.clone())),
            Some(Known::Asked) => None,
            None if self.known.len() >= MAX_QUESTIONS => Some((self.began, Vec::new())),
            None => {
                self.fresh.push(question.clone());
                self.known.insert(question, Known::Asked);
                None
            }
        }
    }

    fn ask_services(&mut self, name: &str) -> Option<Vec<Srv>> {
        let srv = |r| match r {
            Record::Srv(s) => Some(s),
            Record::Naptr(_) | Record::Address(_) => None,
        };
        self.ask(name, Kind::Srv).map(|(_, records)| records.into_iter().filter_map(srv).collect())
    }

    fn ask_rules(&mut self, name: &str) -> Option<Vec<Naptr>> {
        let rule = |r| match r {
            Record::Naptr(n) => Some(n),
            Record::Srv(_) | Record::Address(_) => None,
        };
        self.ask(name, Kind::Naptr).map(|(_, records)| records.into_iter().filter_map(rule).collect())
    }

    fn rules(&mut self) -> Found {
        if self.hop.transport.is_some() {
            return Found::default();
        }
        match self.ask_rules(&self.name.clone()) {
            None => Found { waiting: true, ..Found::default() },
            Some(rules) => self.servers(&services(&self.hop, rules)),
        }
    }

    fn usual(&mut self) -> Found {
        let found = usual_services(&self.hop, &self.name);
        self.servers(&found)
    }

    /// The targets of the first service, then those of the others.
    fn servers(&mut self, services: &[Service]) -> Found {
        let mut out = Found::default();
        for (transport, name) in services {
            let Some(servers) = self.ask_services(name) else {
                out.wait(None);
                continue;
            };
            for srv in servers {
                if srv.target.is_empty() {
                    out.no = true;
                    continue;
                }
                let at = |ip| Flow { transport: *transport, addr: SocketAddr::new(ip, srv.port), conn: None };
                self.addresses(&srv.target, at, &mut out);
            }
        }
        out
    }

    fn addresses_of_name(&mut self) -> Found {
        let (name, hop) = (self.name.clone(), self.hop.clone());
        let mut out = Found::default();
        self.addresses(&name, |ip| hop.at(ip), &mut out);
        out
    }

    /// Adds the targets at the addresses of a host.
    fn addresses(&mut self, host: &str, at: impl Fn(IpAddr) -> Flow, out: &mut Found) {
        let mut add = |ip, since: Option<Instant>| {
            let target = at(ip);
            if out.targets.len() < MAX_TARGETS && !out.targets.contains(&target) {
                out.targets.push(target);
                out.since = [out.since, since].into_iter().flatten().min();
            }
        };
        if let Ok(ip) = host.parse() {
            return add(ip, Some(self.began));
        }
        let wanted = [(Kind::A, self.families.v4), (Kind::Aaaa, self.families.v6)];
        let (mut waiting, mut since) = (false, None);
        for (kind, _) in wanted.into_iter().filter(|(_, has)| *has) {
            let Some((when, records)) = self.ask(host, kind) else {
                waiting = true;
                continue;
            };
            for record in records {
                if let Record::Address(ip) = record {
                    since = Some(when);
                    add(ip, since);
                }
            }
        }
        if waiting {
            out.wait(since.map(|s| s + OTHER_FAMILY));
        }
    }
}

/// True for names of this machine, its network and multicast DNS: resolved by the system, without SRV
/// records.
#[must_use]
pub fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.ends_with(".local")
}
