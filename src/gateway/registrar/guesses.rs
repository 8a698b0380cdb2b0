//! Rate limits of password attempts: every wrong password is charged to a bucket of its source and one of its
//! user. Only answers to a nonce issued to that source count, so that spoofed addresses are not charged.
//!
//! A user's bucket applies only to sources from which that user has not registered; where it has, its
//! attempts are checked whatever others behind the same NAT tried: guessing cannot lock out users. All tables
//! are bounded, and no bucket is evicted before it is full again.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::base::bucket::{Bucket, Rule};
use crate::base::source::Source;

/// Wrong passwords per source (IPv4 address or IPv6 /64): 10, then one per 30 s.
const SOURCE: Rule = Rule { most: 10.0, each: 30.0 };
/// Per user, from all sources where it has not registered: it takes several sources to exhaust it.
const USER: Rule = Rule { most: 30.0, each: 10.0 };
/// For all sources beyond the table size together.
const CROWD: Rule = Rule { most: 100.0, each: 1.0 };
/// Sources with a bucket of their own; all others share one.
const MAX_SOURCES: usize = 4096;
/// Sources remembered per user; beyond it the least recently used one is evicted.
const MAX_HOMES: usize = 8;
/// Buckets shared by unknown user names, so that rate limits do not reveal which users exist.
const STRANGE_NAMES: usize = 1024;
/// Sources counted individually in a report.
const MAX_REPORTED: usize = 64;
/// Interval of reports.
const REPORT: Duration = Duration::from_secs(60);
/// Interval of searches for full buckets while the table is full.
const TIDY: Duration = Duration::from_secs(1);
/// `Retry-After` of refused attempts, seconds.
pub const WAIT_SECONDS: u32 = 30;

/// Remaining attempts; `None`: no wrong ones so far.
#[derive(Debug, Clone, Copy, Default)]
struct Tries(Option<Bucket>);

impl Tries {
    fn left(&self, rule: Rule, now: Instant) -> f64 {
        self.0.map_or(rule.most, |bucket| bucket.left(rule, now))
    }

    fn may(&self, rule: Rule, now: Instant) -> bool {
        self.left(rule, now) >= 1.0
    }

    fn charge(&mut self, rule: Rule, now: Instant) {
        let one = self.left(rule, now).min(1.0);
        self.0.get_or_insert_with(|| Bucket::full(rule, now)).take(rule, now, one);
    }

    fn is_full(&self, rule: Rule, now: Instant) -> bool {
        self.left(rule, now) >= rule.most
    }
}

/// A source from which users have registered.
#[derive(Debug, Default)]
struct Home {
    bucket: Tries,
    users: BTreeMap<String, Stay>,
}

/// A user at a source from which it has registered.
#[derive(Debug)]
struct Stay {
    /// Last registration.
    since: Instant,
    /// Wrong passwords for this user from there.
    bucket: Tries,
}

/// Whether a password may be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chance {
    /// Checked normally.
    Open,
    /// Checked, but a wrong one is answered like an unchecked one, so as not to reveal who has registered
    /// there.
    Quiet,
    /// Not checked.
    Closed,
}

/// Wrong passwords of about a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Source of most attempts.
    pub source: IpAddr,
    /// Attempts from it.
    pub number: u32,
    /// Number of further sources.
    pub sources: usize,
    /// Attempts from those, and from sources not counted individually.
    pub others: u32,
}

/// Buckets of wrong passwords.
#[derive(Debug)]
pub struct Guesses {
    /// Hash seed, so that attackers cannot choose names that share a bucket.
    seed: u64,
    sources: BTreeMap<IpAddr, Tries>,
    homes: BTreeMap<IpAddr, Home>,
    crowd: Tries,
    users: BTreeMap<String, Tries>,
    names: Vec<Tries>,
    tidied: Option<Instant>,
    reported: Option<Instant>,
    counts: BTreeMap<IpAddr, u32>,
    uncounted: u32,
}

impl Guesses {
    /// For these users.
    #[must_use]
    pub fn new(seed: u64, users: impl Iterator<Item = String>) -> Self {
        Self {
            seed,
            sources: BTreeMap::new(),
            homes: BTreeMap::new(),
            crowd: Tries::default(),
            users: users.map(|name| (name, Tries::default())).collect(),
            names: vec![Tries::default(); STRANGE_NAMES],
            tidied: None,
            reported: None,
            counts: BTreeMap::new(),
            uncounted: 0,
        }
    }

    /// Replaces the users; remaining ones keep their buckets.
    pub fn set_users(&mut self, users: impl Iterator<Item = String>) {
        let mut old = std::mem::take(&mut self.users);
        self.users = users.map(|name| (name.clone(), old.remove(&name).unwrap_or_default())).collect();
        let known = &self.users;
        self.homes.values_mut().for_each(|home| home.users.retain(|name, _| known.contains_key(name)));
        self.homes.retain(|_, home| !home.users.is_empty());
    }

    /// Whether a password for this name from this source may be checked.
    #[must_use]
    pub fn chance(&self, now: Instant, from: IpAddr, name: &str) -> Chance {
        let from = Source::of(from).ip();
        let home = self.homes.get(&from);
        let by_source = match (home, self.sources.get(&from)) {
            (Some(home), _) => home.bucket.may(SOURCE, now),
            (None, Some(bucket)) => bucket.may(SOURCE, now),
            (None, None) => self.sources.len() < MAX_SOURCES || self.crowd.may(CROWD, now),
        };
        match home.and_then(|h| h.users.get(name)) {
            Some(_) if by_source => Chance::Open,
            Some(stay) if stay.bucket.may(SOURCE, now) => Chance::Quiet,
            None if by_source && self.of_name(name).may(USER, now) => Chance::Open,
            Some(_) | None => Chance::Closed,
        }
    }

    /// Charges a wrong password for this name to this source.
    pub fn charge(&mut self, now: Instant, from: IpAddr, name: &str) {
        self.count(from);
        let from = Source::of(from).ip();
        match self.homes.get_mut(&from) {
            Some(home) => {
                home.bucket.charge(SOURCE, now);
                home.users.get_mut(name).into_iter().for_each(|stay| stay.bucket.charge(SOURCE, now));
            }
            None => {
                self.tidy(now);
                if self.sources.len() < MAX_SOURCES || self.sources.contains_key(&from) {
                    self.sources.entry(from).or_default().charge(SOURCE, now);
                } else {
                    self.crowd.charge(CROWD, now);
                }
            }
        }
        let slot = self.slot(name);
        if let Some(bucket) = self.users.get_mut(name).or(self.names.get_mut(slot)) {
            bucket.charge(USER, now);
        }
    }

    /// Counts an attempt that was not checked.
    pub fn count(&mut self, from: IpAddr) {
        let from = Source::of(from).ip();
        if self.counts.len() < MAX_REPORTED || self.counts.contains_key(&from) {
            let n = self.counts.entry(from).or_default();
            *n = n.saturating_add(1);
        } else {
            self.uncounted = self.uncounted.saturating_add(1);
        }
    }

    /// A user has registered from there: attempts of others no longer affect it at this source.
    pub fn registered(&mut self, now: Instant, from: IpAddr, name: &str) {
        let from = Source::of(from).ip();
        let fresh = !self.homes.contains_key(&from);
        // Wrong attempts so far remain charged.
        let bucket = if fresh { self.sources.remove(&from) } else { None };
        let home = self.homes.entry(from).or_default();
        if let Some(bucket) = bucket {
            home.bucket = bucket;
        }
        let stay = Stay { since: now, bucket: Tries::default() };
        home.users.entry(name.to_owned()).or_insert(stay).since = now;
        let mine = |h: &&IpAddr| self.homes.get(h).is_some_and(|h| h.users.contains_key(name));
        if self.homes.keys().filter(mine).count() > MAX_HOMES {
            let since = |h: &IpAddr| self.homes.get(h).and_then(|h| h.users.get(name)).map(|s| s.since);
            let oldest = self.homes.keys().filter(mine).min_by_key(|h| since(h)).copied();
            oldest.into_iter().for_each(|h| self.leave(now, h, name));
        }
    }

    fn leave(&mut self, now: Instant, from: IpAddr, name: &str) {
        let Some(home) = self.homes.get_mut(&from) else { return };
        home.users.remove(name);
        if home.users.is_empty() {
            let bucket = home.bucket;
            self.homes.remove(&from);
            self.tidy(now);
            if !bucket.is_full(SOURCE, now) && self.sources.len() < MAX_SOURCES {
                self.sources.insert(from, bucket);
            }
        }
    }

    fn slot(&self, name: &str) -> usize {
        let mut hasher = DefaultHasher::new();
        (self.seed, name).hash(&mut hasher);
        usize::try_from(hasher.finish() % STRANGE_NAMES as u64).unwrap_or_default()
    }

    fn of_name(&self, name: &str) -> Tries {
        let strange = || self.names.get(self.slot(name));
        self.users.get(name).or_else(strange).copied().unwrap_or_default()
    }

    /// Removes sources with full buckets while the table is full.
    fn tidy(&mut self, now: Instant) {
        if self.sources.len() >= MAX_SOURCES && self.tidied.is_none_or(|at| at + TIDY <= now) {
            self.tidied = Some(now);
            self.sources.retain(|_, bucket| !bucket.is_full(SOURCE, now));
        }
    }

    /// A report of attempts since the last one, once a minute.
    pub fn report(&mut self, now: Instant) -> Option<Report> {
        if self.reported.is_some_and(|at| at + REPORT > now) {
            return None;
        }
        let counts = std::mem::take(&mut self.counts);
        let (source, number) = counts.iter().max_by_key(|(_, n)| **n).map(|(ip, n)| (*ip, *n))?;
        self.reported = Some(now);
        let all = counts.values().fold(std::mem::take(&mut self.uncounted), |all, n| all.saturating_add(*n));
        Some(Report { source, number, sources: counts.len() - 1, others: all.saturating_sub(number) })
    }

    /// When a report is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.reported.filter(|_| !self.counts.is_empty()).map(|at| at + REPORT)
    }

    /// Number of sources remembered, of both kinds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sources.len() + self.homes.len()
    }

    /// True without sources.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    impl Guesses {
        fn may_try(&self, now: Instant, from: IpAddr, name: &str) -> bool {
            self.chance(now, from, name) == Chance::Open
        }
    }

    #[expect(clippy::disallowed_methods, reason = "an arbitrary epoch")]
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

    fn epoch() -> Instant {
        *EPOCH
    }

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    fn guesses() -> Guesses {
        Guesses::new(7, ["anna", "bea"].into_iter().map(str::to_owned))
    }

    /// Number of attempts checked, at this rate, within this many seconds.
    fn tried(g: &mut Guesses, from: impl Fn(u64) -> u32, name: &str, rate: u64, seconds: u64) -> u64 {
        let mut tried = 0;
        for n in 0..rate * seconds {
            let now = epoch() + Duration::from_millis(n * 1000 / rate);
            if g.may_try(now, ip(from(n)), name) {
                g.charge(now, ip(from(n)), name);
                tried += 1;
            }
        }
        tried
    }

    #[test]
    fn a_source_has_ten_and_two_a_minute() {
        for name in ["anna", "nobody"] {
            let mut g = guesses();
            assert_eq!(tried(&mut g, |_| 1, name, 1000, 600), 29, "{name}");
            let late = epoch() + Duration::from_secs(599);
            assert!(!g.may_try(late, ip(1), "another"), "whatever the name");
            assert!(g.may_try(late, ip(2), name) && g.may_try(late + Duration::from_secs(31), ip(1), name));
        }
    }

    #[test]
    fn a_user_has_thirty_and_six_a_minute_from_all_sources() {
        for name in ["anna", "nobody"] {
            let mut g = guesses();
            let many = tried(&mut g, |n| n as u32 % 500, name, 1000, 60);
            assert!((35..=36).contains(&many), "{name}: {many}");
            let late = epoch() + Duration::from_secs(60);
            assert!(!g.may_try(late, ip(9999), name), "{name}");
            assert!(g.may_try(late, ip(9999), "bea"), "others are not concerned");
        }
    }

    #[test]
    fn where_a_user_has_registered_no_guess_of_others_counts() {
        let mut g = guesses();
        g.registered(epoch(), ip(77), "anna");
        tried(&mut g, |n| n as u32 % 50, "anna", 100, 60);
        let late = epoch() + Duration::from_millis(59_990);
        assert!(g.may_try(late, ip(77), "anna") && !g.may_try(late, ip(78), "anna"));
        // At this source, other names are limited as everywhere.
        let mut g = guesses();
        g.registered(epoch(), ip(77), "anna");
        assert_eq!(tried(&mut g, |_| 77, "bea", 100, 60), 11);
        let late = epoch() + Duration::from_millis(59_990);
        assert_eq!(
            (g.chance(late, ip(77), "anna"), g.chance(late, ip(77), "bea")),
            (Chance::Quiet, Chance::Closed)
        );
        // Its own name has its own limit there, and only once.
        for _ in 0..10 {
            assert_eq!(g.chance(late, ip(77), "anna"), Chance::Quiet);
            g.charge(late, ip(77), "anna");
        }
        assert_eq!(g.chance(late, ip(77), "anna"), Chance::Closed);
        let mut g = guesses();
        g.registered(epoch(), ip(77), "anna");
        assert_eq!(tried(&mut g, |_| 77, "anna", 100, 20), 10);
        assert_eq!(g.chance(epoch() + Duration::from_millis(19_990), ip(77), "anna"), Chance::Closed);
    }

    #[test]
    fn a_registration_does_not_fill_a_bucket() {
        let mut g = guesses();
        assert_eq!(tried(&mut g, |_| 1, "bea", 100, 1), 10);
        let now = epoch() + Duration::from_secs(1);
        g.registered(now, ip(1), "anna");
        assert_eq!(
            (g.chance(now, ip(1), "bea"), g.chance(now, ip(1), "anna")),
            (Chance::Closed, Chance::Quiet)
        );
        for n in 0..20 {
            g.registered(now + Duration::from_millis(n), ip(100 + n as u32), "anna");
        }
        assert_eq!(g.homes.len(), MAX_HOMES);
        assert!(!g.may_try(now, ip(1), "bea"), "nor does forgetting it");
    }

    #[test]
    fn many_sources_take_a_bounded_table_and_reset_nobody() {
        let mut g = guesses();
        g.registered(epoch(), ip(77), "anna");
        assert_eq!(tried(&mut g, |_| 1, "bea", 100, 1), 10);
        let now = epoch() + Duration::from_secs(2);
        for n in 0..10_000 {
            g.charge(now, ip(10_000 + n), &format!("name{n}"));
        }
        assert_eq!(g.len(), MAX_SOURCES + 1);
        assert!(!g.may_try(now, ip(1), "bea"), "its bucket is as it was");
        assert!(g.may_try(now, ip(77), "anna"), "whoever has registered is not concerned");
        assert!(!g.may_try(now, ip(5), "bea"), "those without a bucket share one");
        let late = now + Duration::from_secs(400);
        assert!(g.may_try(late, ip(5), "bea"));
        g.charge(late, ip(5), "bea");
        assert_eq!(g.len(), 2, "what is full again is forgotten");
    }

    #[test]
    fn networks_of_ipv6_are_one_source() {
        let mut g = guesses();
        for n in 0..10u16 {
            g.charge(epoch(), IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]), "anna");
        }
        assert!(!g.may_try(epoch(), "2001:db8:0:1:ffff::1".parse().unwrap(), "anna"));
        assert!(g.may_try(epoch(), "2001:db8:0:2::1".parse().unwrap(), "anna"));
    }

    #[test]
    fn reports_come_once_a_minute_with_source_and_number() {
        let mut g = guesses();
        assert_eq!((g.report(epoch()), g.deadline()), (None, None));
        g.charge(epoch(), ip(1), "anna");
        let first = Report { source: ip(1), number: 1, sources: 0, others: 0 };
        assert_eq!(g.report(epoch()), Some(first));
        for n in 0..200 {
            g.count(ip(n % 100));
            g.charge(epoch(), ip(5), "anna");
        }
        let soon = epoch() + Duration::from_secs(59);
        assert_eq!((g.report(soon), g.deadline()), (None, Some(epoch() + REPORT)));
        let late = epoch() + REPORT;
        let second = Report { source: ip(5), number: 202, sources: MAX_REPORTED - 1, others: 198 };
        assert_eq!((g.report(late), g.report(late + REPORT)), (Some(second), None));
    }
}
