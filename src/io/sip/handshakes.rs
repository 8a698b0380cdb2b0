//! Processor time quota for TLS handshakes per source.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::base::bucket::{Bucket, Rule, forget_oldest};
use crate::base::source::Source;
use crate::io::system::clock;

/// Processor time for the handshakes of one source, seconds: a tenth of a processor, burst 0.5 s.
const SHARE: Rule = Rule { most: 0.5, each: 10.0 };
/// Total of all sources without registered phones or trunks: three tenths, burst 1.5 s.
const STRANGERS: Rule = Rule { most: 1.5, each: 10.0 / 3.0 };
/// Maximum sources tracked; the least recently seen one is evicted.
const MAX_SOURCES: usize = 1024;

/// Processor time used by source.
#[derive(Debug, Default)]
pub struct Handshakes {
    sources: BTreeMap<Source, Bucket>,
    strangers: Option<Bucket>,
    refused: u64,
}

impl Handshakes {
    /// True if a source may start a handshake.
    pub fn admit(&mut self, now: Instant, source: Source, known: bool) -> bool {
        let admitted = self.of(source, now).left(SHARE, now) > 0.0
            && (known || self.of_strangers(now).left(STRANGERS, now) > 0.0);
        self.refused += u64::from(!admitted);
        admitted
    }

    /// Charges the processor time of a handshake to its source.
    pub fn charge(&mut self, now: Instant, source: Source, known: bool, used: Duration) {
        self.of(source, now).take(SHARE, now, used.as_secs_f64());
        if !known {
            self.of_strangers(now).take(STRANGERS, now, used.as_secs_f64());
        }
    }

    /// Number of handshakes refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn of_strangers(&mut self, now: Instant) -> &mut Bucket {
        self.strangers.get_or_insert_with(|| Bucket::full(STRANGERS, now))
    }

    fn of(&mut self, source: Source, now: Instant) -> &mut Bucket {
        if !self.sources.contains_key(&source) {
            forget_oldest(&mut self.sources, MAX_SOURCES, Bucket::used_at);
        }
        let own = self.sources.entry(source).or_insert_with(|| Bucket::full(SHARE, now));
        // Refused attempts also count as activity.
        own.take(SHARE, now, 0.0);
        own
    }
}

/// Runs a future and adds its processor time to `used`, also if it is cancelled.
pub async fn timed<T>(future: impl Future<Output = T>, used: &mut Duration) -> T {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let began = clock::now().mono;
        let polled: Poll<T> = future.as_mut().poll(context);
        *used += clock::now().mono.saturating_duration_since(began);
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u32) -> Source {
        Source::of(std::net::IpAddr::from(n.to_be_bytes()))
    }

    #[test]
    fn one_source_gets_a_tenth_of_a_processor_and_unknown_ones_three_tenths() {
        let start = clock::now().mono;
        let cost = Duration::from_millis(5);
        let mut h = Handshakes::default();
        let run = |h: &mut Handshakes, sources: u32, known: bool| {
            let mut done = 0;
            for ms in 0..10_000 {
                let now = start + Duration::from_millis(ms);
                for n in 0..sources {
                    if h.admit(now, source(n), known) {
                        h.charge(now, source(n), known, cost);
                        done += 1;
                    }
                }
            }
            done
        };
        assert!((295..=305).contains(&run(&mut h, 1, false)), "500 ms at once and 100 ms a second for 10 s");
        let mut h = Handshakes::default();
        assert!((890..=920).contains(&run(&mut h, 20, false)), "1,500 ms at once and 300 ms a second");
        let mut h = Handshakes::default();
        assert!(
            (5_900..=6_100).contains(&run(&mut h, 20, true)),
            "known sources have individual quotas only"
        );
        assert!(h.refused() > 0);
        (0..5_000).for_each(|n| h.charge(start, source(n), true, cost));
        assert_eq!(h.sources.len(), MAX_SOURCES);
    }
}
