//! From a URI's host to the servers behind it (RFC 3263 §4), without sockets: which questions are open, and what the
//! answers so far amount to.
//!
//! All questions that may matter are asked side by side. Whoever has something to go on with waits for the rest only
//! for a while (RFC 8305 §3): some name servers never answer one kind of question.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::locate::{MAX_TARGETS, Service, order, services, usual_services};
use super::resolver::{Question, question};
use super::target::{NextHop, Target};
use crate::base::rng::Rng;
use crate::wire::dns::{Kind, Naptr, Record, Srv};

/// Wait for the addresses of the other family when there are some of one (RFC 8305 §3 has 50 ms for hosts that race
/// connections; a call waits for nothing else).
const OTHER_FAMILY: Duration = Duration::from_millis(200);
/// Wait for better servers when there are some. Longer than it takes to ask a second time.
const BETTER: Duration = Duration::from_millis(1500);
/// Longest look-up. Each question has its own, shorter limits; this one ends chains of them.
const LONGEST: Duration = Duration::from_secs(24);
/// Questions of one look-up.
const MAX_QUESTIONS: usize = 24;

/// The address families that the box has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// What the answers amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// These servers, best first; none: the name is not known, or says that it has no SIP.
    Done(Vec<Target>),
    /// More answers are needed, or the time, if there is one, has to come.
    Wait(Option<Instant>),
}

#[derive(Debug)]
enum Known {
    Asked,
    /// When it came, and what; the servers of a service in the order they are tried.
    Came(Instant, Vec<Record>),
}

/// What is known of some part of it.
#[derive(Debug, Default)]
struct Found {
    targets: Vec<Target>,
    /// When the first of them was there.
    since: Option<Instant>,
    /// An answer is missing.
    waiting: bool,
    /// If so, when it is not waited for any more.
    until: Option<Instant>,
    /// A service is decidedly not offered (RFC 2782: the target is the root).
    no: bool,
}

impl Found {
    fn wait(&mut self, until: Option<Instant>) {
        self.until = if self.waiting { self.until.zip(until).map(|(a, b)| a.max(b)) } else { until };
        self.waiting = true;
    }

    /// True when it is what it will be.
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
    /// SRV and NAPTR records may lead away from the name.
    services: bool,
    families: Families,
    rng: Rng,
    began: Instant,
    /// All answers are waited for.
    whole: bool,
    known: BTreeMap<Question, Known>,
    fresh: Vec<Question>,
}

impl Locator {
    /// The look-up of a hop whose host is `name`.
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

    /// With `whole`, what is good enough to go on with is not: every answer is waited for.
    pub fn want_all(&mut self, whole: bool) {
        self.whole = whole;
    }

    /// What is known now. New questions are in [`Self::questions`] afterwards.
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
        // Rules come first, but the usual names are good enough when those take too long.
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

    /// The questions that have come up since the last time.
    pub fn questions(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.fresh)
    }

    /// The answer to a question; empty also when nobody could tell.
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

    /// What came of a question and when; `None`: nothing yet.
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

    /// The servers of the first service, then those of the others.
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
                let at =
                    |ip| Target { transport: *transport, addr: SocketAddr::new(ip, srv.port), conn: None };
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
    fn addresses(&mut self, host: &str, at: impl Fn(IpAddr) -> Target, out: &mut Found) {
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

/// True for names of the own machine, of its network and of multicast DNS: the system knows them, and they have no
/// services.
#[must_use]
pub fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.ends_with(".local")
}
