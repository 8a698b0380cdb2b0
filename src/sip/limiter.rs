//! How much a stranger may ask: token buckets per source, in requests and in bytes (a source is an IPv4 address
//! or an IPv6 network of 64 bits), and one for all strangers together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::base::bucket::{Bucket, Rule, forget_oldest};
use crate::base::source::Source;

/// Requests of one source: 10 a second, 30 at once.
const REQUESTS: Rule = Rule { most: 30.0, each: 1.0 / 10.0 };
/// Bytes of one source: 20 kB a second, 60 kB at once.
const BYTES: Rule = Rule { most: 60_000.0, each: 1.0 / 20_000.0 };
/// Requests of all strangers together: 200 a second, 400 at once.
const ALL: Rule = Rule { most: 400.0, each: 1.0 / 200.0 };
/// Sources that are remembered; past it the one that has been silent for longest is forgotten.
const MAX_SOURCES: usize = 2048;

/// How often those are forgotten who have been silent for so long that they might be new.
const TIDY: Duration = Duration::from_secs(10);

/// What one source may ask yet.
#[derive(Debug, Clone, Copy)]
struct Share {
    requests: Bucket,
    bytes: Bucket,
}

impl Share {
    fn full(now: Instant) -> Self {
        Self { requests: Bucket::full(REQUESTS, now), bytes: Bucket::full(BYTES, now) }
    }

    fn is_full(&self, now: Instant) -> bool {
        self.requests.left(REQUESTS, now) >= REQUESTS.most && self.bytes.left(BYTES, now) >= BYTES.most
    }

    /// Takes so many requests with so many bytes, if there is room for both.
    fn take(&mut self, now: Instant, requests: f64, size: usize) -> bool {
        let size = f64::from(u32::try_from(size).unwrap_or(u32::MAX));
        let fits = self.requests.left(REQUESTS, now) >= requests && self.bytes.left(BYTES, now) >= size;
        // Asking in vain is no silence either.
        let (requests, size) = if fits { (requests, size) } else { (0.0, 0.0) };
        self.requests.take(REQUESTS, now, requests);
        self.bytes.take(BYTES, now, size);
        fits
    }
}

/// Remembers what strangers asked lately.
#[derive(Debug, Default)]
pub struct Limiter {
    sources: BTreeMap<Source, Share>,
    all: Option<Bucket>,
    tidied: Option<Instant>,
}

impl Limiter {
    /// True when a request of `size` bytes from a stranger may be looked at.
    pub fn admits(&mut self, now: Instant, from: IpAddr, size: usize) -> bool {
        let key = Source::of(from);
        let all = self.all.get_or_insert_with(|| Bucket::full(ALL, now));
        let mut of_all = || {
            let fits = all.left(ALL, now) >= 1.0;
            all.take(ALL, now, if fits { 1.0 } else { 0.0 });
            fits
        };
        // Who asks too much uses up nobody else's share.
        if let Some(known) = self.sources.get_mut(&key) {
            return known.take(now, 1.0, size) && of_all();
        }
        // New sources, which can be made up, cost no more than all together may.
        if !of_all() {
            return false;
        }
        forget_oldest(&mut self.sources, MAX_SOURCES, |share| share.requests.used_at());
        let mut share = Share::full(now);
        let admitted = share.take(now, 1.0, size);
        self.sources.insert(key, share);
        admitted
    }

    /// True when a stranger may send `size` bytes more on a connection; the requests in them count apart.
    pub fn admits_bytes(&mut self, now: Instant, from: IpAddr, size: usize) -> bool {
        match self.sources.get_mut(&Source::of(from)) {
            Some(known) => known.take(now, 0.0, size),
            // Whoever has a connection was admitted when it was opened.
            None => self.admits(now, from, size),
        }
    }

    /// Forgets sources that have all of their share again; it may be called at any time.
    pub fn tidy(&mut self, now: Instant) {
        if self.tidied.is_none_or(|at| at + TIDY <= now) {
            self.tidied = Some(now);
            self.sources.retain(|_, share| !share.is_full(now));
        }
    }

    /// Sources remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// True when nobody is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::virtual_time::epoch;

    #[test]
    fn a_flood_gets_its_share_and_no_more() {
        let mut l = Limiter::default();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let start = epoch();
        let flood = |l: &mut Limiter, ip: IpAddr, size: usize| {
            (0..20_000u64).filter(|n| l.admits(start + Duration::from_micros(n * 500), ip, size)).count()
        };
        assert!((125..=131).contains(&flood(&mut l, ip, 400)), "30 at once and 10 a second for 10 s");
        let mut l = Limiter::default();
        assert!((51..=54).contains(&flood(&mut l, ip, 5000)), "60 kB at once and 20 kB a second");
        assert!(l.admits(start + Duration::from_secs(100), ip, 400));
        let stream = |l: &mut Limiter| {
            (0..100_000u64)
                .filter(|n| l.admits_bytes(start + Duration::from_micros(n * 100), ip, 8192))
                .count()
        };
        assert!((29..=33).contains(&stream(&mut l)), "the same of bytes that are no requests");
    }

    #[test]
    fn many_sources_share_one_budget_and_a_bounded_table() {
        let mut l = Limiter::default();
        let start = epoch();
        let mut ask =
            |n: u32, ms: u64| l.admits(start + Duration::from_millis(ms), IpAddr::from(n.to_be_bytes()), 400);
        assert_eq!((0..100_000).filter(|n| ask(*n, 0)).count(), 400);
        assert_eq!((0..20_000).filter(|n| ask(1_000_000 + n, 1000 + u64::from(*n))).count() / 100, 41);
        assert_eq!(l.len(), MAX_SOURCES);
    }

    #[test]
    fn who_has_all_of_its_share_again_is_forgotten() {
        let mut l = Limiter::default();
        let start = epoch();
        let at = |s: u64| start + Duration::from_secs(s);
        let [busy, once]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        assert_eq!((0..30).filter(|_| l.admits(at(0), busy, 400)).count(), 30);
        l.admits(at(0), once, 400);
        l.tidy(at(1));
        assert_eq!(l.len(), 1, "30 requests take 3 s");
        l.tidy(at(10));
        assert_eq!(l.len(), 1, "it is looked at every 10 s");
        l.tidy(at(11));
        assert!(l.is_empty());
    }
}
