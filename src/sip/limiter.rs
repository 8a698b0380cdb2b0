//! Rate limits of unknown sources: token buckets per source (IPv4 address or IPv6 /64) for requests and
//! bytes, and one for all unknown sources together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::base::bucket::{Bucket, Rule, forget_oldest};
use crate::base::source::Source;

/// Requests of one source: 10/s, burst 30.
const REQUESTS: Rule = Rule { most: 30.0, each: 1.0 / 10.0 };
/// Bytes of one source: 20 kB/s, burst 60 kB.
const BYTES: Rule = Rule { most: 60_000.0, each: 1.0 / 20_000.0 };
/// Requests of all unknown sources together: 200/s, burst 400.
const ALL: Rule = Rule { most: 400.0, each: 1.0 / 200.0 };
/// Sources remembered; beyond it the least recently active one is evicted.
const MAX_SOURCES: usize = 2048;

/// Interval at which sources with full buckets are removed.
const TIDY: Duration = Duration::from_secs(10);

/// Remaining quota of one source.
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

    /// Takes tokens for requests and bytes if both buckets have enough.
    fn take(&mut self, now: Instant, requests: f64, size: usize) -> bool {
        let size = f64::from(u32::try_from(size).unwrap_or(u32::MAX));
        let fits = self.requests.left(REQUESTS, now) >= requests && self.bytes.left(BYTES, now) >= size;
        // Refused requests update the time of last use, too.
        let (requests, size) = if fits { (requests, size) } else { (0.0, 0.0) };
        self.requests.take(REQUESTS, now, requests);
        self.bytes.take(BYTES, now, size);
        fits
    }
}

/// Buckets of unknown sources.
#[derive(Debug, Default)]
pub struct Limiter {
    sources: BTreeMap<Source, Share>,
    all: Option<Bucket>,
    tidied: Option<Instant>,
}

impl Limiter {
    /// True if a request of `size` bytes from an unknown source may be processed.
    pub fn admits(&mut self, now: Instant, from: IpAddr, size: usize) -> bool {
        let key = Source::of(from);
        let all = self.all.get_or_insert_with(|| Bucket::full(ALL, now));
        let mut of_all = || {
            let fits = all.left(ALL, now) >= 1.0;
            all.take(ALL, now, if fits { 1.0 } else { 0.0 });
            fits
        };
        // A source beyond its own limit does not use up the common one.
        if let Some(known) = self.sources.get_mut(&key) {
            return known.take(now, 1.0, size) && of_all();
        }
        // New sources, whose addresses may be spoofed, are limited by the common bucket.
        if !of_all() {
            return false;
        }
        forget_oldest(&mut self.sources, MAX_SOURCES, |share| share.requests.used_at());
        let mut share = Share::full(now);
        let admitted = share.take(now, 1.0, size);
        self.sources.insert(key, share);
        admitted
    }

    /// True if an unknown source may send `size` more bytes on a connection; the requests in them are counted
    /// separately.
    pub fn admits_bytes(&mut self, now: Instant, from: IpAddr, size: usize) -> bool {
        match self.sources.get_mut(&Source::of(from)) {
            Some(known) => known.take(now, 0.0, size),
            // The source was admitted when the connection was opened.
            None => self.admits(now, from, size),
        }
    }

    /// Removes sources whose buckets are full again.
    pub fn tidy(&mut self, now: Instant) {
        if self.tidied.is_none_or(|at| at + TIDY <= now) {
            self.tidied = Some(now);
            self.sources.retain(|_, share| !share.is_full(now));
        }
    }

    /// Number of sources remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// True without sources.
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
