//! How much a stranger may ask: token buckets per source, in requests and in bytes (a source is an IPv4 address
//! or an IPv6 network of 64 bits), and one for all strangers together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::base::source::Source;

/// Requests a second, and at once.
const REQUESTS: (u32, u32) = (10, 30);
/// Bytes a second, and at once.
const BYTES: (u32, u32) = (20_000, 60_000);
/// Requests a second, and at once, of all strangers together.
const ALL: (u32, u32) = (200, 400);
/// Sources that are remembered; past it the one that has been silent for longest is forgotten.
const MAX_SOURCES: usize = 2048;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    requests: f64,
    bytes: f64,
    at: Instant,
}

impl Bucket {
    fn full(requests: (u32, u32), bytes: (u32, u32), at: Instant) -> Self {
        Self { requests: requests.1.into(), bytes: bytes.1.into(), at }
    }

    /// Fills up for the time that has passed.
    fn fill(&mut self, requests: (u32, u32), bytes: (u32, u32), now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.requests = f64::from(requests.0).mul_add(passed, self.requests).min(requests.1.into());
        self.bytes = f64::from(bytes.0).mul_add(passed, self.bytes).min(bytes.1.into());
    }

    /// Takes bytes that are no request by themselves, if there is room for them.
    fn take_bytes(&mut self, size: usize, now: Instant) -> bool {
        self.fill(REQUESTS, BYTES, now);
        let size = f64::from(u32::try_from(size).unwrap_or(u32::MAX));
        let fits = self.bytes >= size;
        if fits {
            self.bytes -= size;
        }
        fits
    }

    /// Takes one request of this size, if there is room for it.
    fn take(&mut self, requests: (u32, u32), bytes: (u32, u32), size: usize, now: Instant) -> bool {
        self.fill(requests, bytes, now);
        let size = f64::from(u32::try_from(size).unwrap_or(u32::MAX));
        let fits = self.requests >= 1.0 && self.bytes >= size;
        if fits {
            self.requests -= 1.0;
            self.bytes -= size;
        }
        fits
    }
}

/// Remembers what strangers asked lately.
#[derive(Debug, Default)]
pub struct Limiter {
    sources: BTreeMap<Source, Bucket>,
    all: Option<Bucket>,
}

impl Limiter {
    /// True when a request of `size` bytes from a stranger may be looked at.
    pub fn admits(&mut self, now: Instant, from: IpAddr, size: usize) -> bool {
        let key = Source::of(from);
        let wide = (u32::MAX, u32::MAX);
        let all = self.all.get_or_insert_with(|| Bucket::full(ALL, wide, now));
        // Who asks too much uses up nobody else's share.
        if let Some(known) = self.sources.get_mut(&key) {
            return known.take(REQUESTS, BYTES, size, now) && all.take(ALL, wide, size, now);
        }
        // New sources, which can be made up, cost no more than all together may.
        if !all.take(ALL, wide, size, now) {
            return false;
        }
        if self.sources.len() >= MAX_SOURCES {
            let oldest = self.sources.iter().min_by_key(|(_, b)| b.at).map(|(ip, _)| *ip);
            oldest.map(|ip| self.sources.remove(&ip));
        }
        let mut bucket = Bucket::full(REQUESTS, BYTES, now);
        let admitted = bucket.take(REQUESTS, BYTES, size, now);
        self.sources.insert(key, bucket);
        admitted
    }

    /// True when a stranger may send `size` bytes more on a connection; the requests in them count apart.
    pub fn admits_bytes(&mut self, now: Instant, from: IpAddr, size: usize) -> bool {
        match self.sources.get_mut(&Source::of(from)) {
            Some(known) => known.take_bytes(size, now),
            // Whoever has a connection was admitted when it was opened.
            None => self.admits(now, from, size),
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
    use std::time::Duration;

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
}
