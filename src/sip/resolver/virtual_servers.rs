//! Misbehaving name servers in virtual time, for tests of resolver and locator.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::cache::{Cache, Known};
use super::query::{Outcome, Over, Query, Sending, Step};
use super::servers::Servers;
use super::system::Settings;
use super::{Question, question};
use crate::base::rng::Rng;
use crate::sip::flow::{Flow, NextHop};
use crate::sip::locator::{Families, Locator, Verdict};
use crate::wire::dns::{Answer, Kind, Record, Srv};

/// Round-trip time.
pub(in crate::sip) const TRIP: Duration = Duration::from_millis(20);

/// Fault of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sip) enum Odd {
    Good,
    /// Responds after this many ms.
    Slow(u64),
    Dead,
    /// ICMP port unreachable.
    Unreachable,
    /// FORMERR, NOTIMP, SERVFAIL or BADVERS to OPT.
    NoEdns,
    DropsEdns,
    /// REFUSED, SERVFAIL or a referral, always.
    Lame,
    /// Wrong negative responses.
    Ignorant,
    /// Ignores queries of this type.
    Ignores(Kind),
    /// Ignores queries for this name.
    IgnoresName(&'static str),
    /// Responds to queries for this name after this many ms.
    SlowAbout(u64, &'static str),
    /// Truncates over UDP; behaviour over TCP.
    Small(Tcp),
    /// Loses the first messages.
    Loses(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sip) enum Tcp {
    Good,
    Refused,
    Silent,
}

/// Servers, zone, clock and messages in flight.
pub(in crate::sip) struct Network {
    pub(in crate::sip) now: Instant,
    pub(in crate::sip) servers: Vec<(SocketAddr, Odd)>,
    pub(in crate::sip) zone: Vec<(String, Answer, Kind)>,
    /// Queries received: ms since the start of the query, last byte of the server's address, `u` or `t` with
    /// `+` for EDNS, type and name.
    pub(in crate::sip) log: Vec<String>,
    pub(in crate::sip) known: Servers,
    cache: Cache,
    rng: Rng,
    began: Instant,
    coming: Vec<(Instant, Question, u32, Option<Answer>)>,
}

impl Network {
    #[expect(clippy::disallowed_methods, reason = "a beginning for virtual time")]
    pub(in crate::sip) fn of(servers: &[Odd]) -> Self {
        let at = |i: usize| SocketAddr::from(([192, 0, 2, u8::try_from(i + 1).unwrap()], 53));
        Self {
            now: Instant::now(),
            servers: servers.iter().enumerate().map(|(i, odd)| (at(i), *odd)).collect(),
            zone: Vec::new(),
            log: Vec::new(),
            known: Servers::default(),
            cache: Cache::default(),
            rng: Rng::from_number(7),
            began: Instant::now(),
            coming: Vec::new(),
        }
    }

    pub(in crate::sip) fn has(&mut self, name: &str, kind: Kind, records: Vec<Record>) {
        self.zone.push((name.to_owned(), Answer::Records(records, 60), kind));
    }

    pub(in crate::sip) fn has_alias(&mut self, name: &str, kind: Kind, to: &str, ttl: u32) {
        self.zone.push((name.to_owned(), Answer::Alias(to.to_owned(), ttl), kind));
    }

    fn settings(&self) -> Settings {
        Settings::of(self.servers.iter().map(|s| s.0).collect())
    }

    fn truth(&self, question: &Question) -> Answer {
        let found = self.zone.iter().find(|(name, _, kind)| (name, kind) == (&question.0, &question.1));
        found.map_or(Answer::Nothing { ttl: None, sure: true }, |(_, answer, _)| answer.clone())
    }

    /// When and what a server responds; `None`: network failure.
    fn reply(&mut self, sending: &Sending) -> Option<(Duration, Option<Answer>)> {
        let (edns, udp) = (sending.bytes[11] == 1, sending.over == Over::Udp);
        let ms = (self.now - self.began).as_millis();
        let SocketAddr::V4(v4) = sending.server else { panic!() };
        let how = format!("{}{}", if udp { 'u' } else { 't' }, if edns { "+" } else { "" });
        let (name, kind) = &sending.question;
        self.log.push(format!("{ms} {} {how} {kind:?} {name}", v4.ip().octets()[3]));
        let truth = Some(self.truth(&sending.question));
        let odd = &mut self.servers.iter_mut().find(|s| s.0 == sending.server)?.1;
        match odd {
            Odd::Good => Some((TRIP, truth)),
            Odd::Slow(ms) => Some((Duration::from_millis(*ms), truth)),
            Odd::Dead => None,
            Odd::Unreachable => Some((TRIP, None)),
            Odd::NoEdns if edns => Some((TRIP, Some(Answer::Failed))),
            Odd::DropsEdns if edns => None,
            Odd::NoEdns | Odd::DropsEdns => Some((TRIP, truth)),
            Odd::Lame => Some((TRIP, Some(Answer::Failed))),
            Odd::Ignorant => Some((TRIP, Some(Answer::Nothing { ttl: None, sure: false }))),
            Odd::Ignores(k) => (k != kind).then_some((TRIP, truth)),
            Odd::IgnoresName(n) => (n != name).then_some((TRIP, truth)),
            Odd::SlowAbout(ms, n) if n == name => Some((Duration::from_millis(*ms), truth)),
            Odd::SlowAbout(..) => Some((TRIP, truth)),
            Odd::Small(_) if udp => {
                let Some(Answer::Records(mut records, ttl)) = truth else { return Some((TRIP, truth)) };
                records.truncate(1);
                Some((TRIP, Some(Answer::Truncated(records, ttl))))
            }
            Odd::Small(Tcp::Good) => Some((TRIP * 2, truth)),
            Odd::Small(Tcp::Refused) => Some((TRIP, None)),
            Odd::Small(Tcp::Silent) => None,
            Odd::Loses(0) => Some((TRIP, truth)),
            Odd::Loses(n) => {
                *n -= 1;
                None
            }
        }
    }

    /// Advances the queries; returns a completed one, or the time of the next step.
    fn turn(&mut self, queries: &mut Vec<Asking>) -> Result<(Question, Outcome), Instant> {
        let mut next = None;
        for at in 0..queries.len() {
            loop {
                let (asked, query) = &mut queries[at];
                let step = query.poll(self.now, &mut self.known, &mut self.rng);
                match step {
                    Step::Send(sending) => {
                        let asked = asked.clone();
                        if let Some((after, answer)) = self.reply(&sending) {
                            self.coming.push((self.now + after, asked, sending.number, answer));
                        }
                    }
                    Step::Wait(until) => {
                        assert!(until > self.now, "it would spin");
                        next = [next, Some(until)].into_iter().flatten().min();
                        break;
                    }
                    Step::Done(outcome) => {
                        let (asked, _) = queries.remove(at);
                        self.coming.retain(|c| c.1 != asked);
                        return Ok((asked, outcome));
                    }
                }
            }
        }
        let next = next.into_iter().chain(self.coming.iter().map(|c| c.0)).min();
        Err(next.unwrap_or(self.now + Duration::from_secs(3600)))
    }

    fn advance(&mut self, to: Instant, queries: &mut [Asking]) {
        self.now = to;
        let due: Vec<_> = self.coming.extract_if(.., |c| c.0 <= to).collect();
        for (_, asked, number, answer) in due {
            let Some((_, query)) = queries.iter_mut().find(|q| q.0 == asked) else { continue };
            match answer {
                Some(answer) => query.answered(to, number, answer, &mut self.known),
                None => query.failed(to, number, &mut self.known),
            }
        }
    }

    /// Makes one query without the cache; returns the time it took, ms.
    pub(in crate::sip) fn ask(&mut self, name: &str, kind: Kind, limit: Option<Duration>) -> (Outcome, u128) {
        (self.began, self.coming) = (self.now, Vec::new());
        self.log.clear();
        let asked = question(name, kind);
        let query = Query::new(self.now, asked.clone(), &self.settings(), &self.known, limit);
        let mut queries = vec![(asked, query)];
        loop {
            match self.turn(&mut queries) {
                Ok((_, outcome)) => return (outcome, (self.now - self.began).as_millis()),
                Err(at) => self.advance(at, &mut queries),
            }
        }
    }

    /// Locates a hop as the shell does; returns the time it took, ms.
    pub(in crate::sip) fn locate(&mut self, hop: &NextHop, families: Families) -> (Vec<String>, u128) {
        self.locate_as(hop, families, false)
    }

    /// The same, optionally waiting for all responses.
    pub(in crate::sip) fn locate_as(
        &mut self,
        hop: &NextHop,
        families: Families,
        whole: bool,
    ) -> (Vec<String>, u128) {
        (self.began, self.coming) = (self.now, Vec::new());
        self.log.clear();
        let mut locator =
            Locator::new(self.now, hop.clone(), &hop.host.to_string(), families, Rng::from_number(3));
        locator.want_all(whole);
        let mut queries = Vec::new();
        loop {
            let verdict = locator.verdict(self.now);
            let (mut known, stale_wait) = (Vec::new(), Duration::from_millis(1800));
            for asked in locator.questions() {
                let limit = match self.cache.get(self.now, &asked) {
                    Known::Fresh(records) => {
                        known.push((asked, records));
                        continue;
                    }
                    Known::Stale => Some(stale_wait),
                    Known::No => None,
                };
                let query = Query::new(self.now, asked.clone(), &self.settings(), &self.known, limit);
                queries.push((asked, query));
            }
            let until = match verdict {
                Verdict::Done(targets) => {
                    let text = |t: Flow| format!("{:?} {}", t.transport, t.addr);
                    let took = (self.now - self.began).as_millis();
                    self.end(queries);
                    return (targets.into_iter().map(text).collect(), took);
                }
                Verdict::Wait(until) => until,
            };
            if known.is_empty() {
                match self.turn(&mut queries) {
                    Ok((asked, outcome)) => known.push((asked.clone(), self.remember(asked, outcome))),
                    Err(at) => self.advance(until.map_or(at, |u| u.min(at)), &mut queries),
                }
            }
            known.into_iter().for_each(|(asked, records)| locator.answered(self.now, asked, records));
        }
    }

    /// Responses to abandoned queries are still cached.
    fn end(&mut self, mut queries: Vec<Asking>) {
        while !queries.is_empty() {
            match self.turn(&mut queries) {
                Ok((asked, outcome)) => drop(self.remember(asked, outcome)),
                Err(at) => self.advance(at, &mut queries),
            }
        }
    }

    fn remember(&mut self, asked: Question, outcome: Outcome) -> Vec<Record> {
        let answering = self.known.any_answers(self.now);
        self.cache.put(self.now, asked, outcome, answering)
    }
}

type Asking = (Question, Query);

pub(in crate::sip) fn a(last: u8) -> Record {
    Record::Address([127, 0, 0, last].into())
}

pub(in crate::sip) fn aaaa(last: u16) -> Record {
    Record::Address([0xfd00, 0, 0, 0, 0, 0, 0, last].into())
}

pub(in crate::sip) fn srv(priority: u16, target: &str) -> Record {
    Record::Srv(Srv { priority, weight: 0, port: 5070 + priority, target: target.to_owned() })
}
