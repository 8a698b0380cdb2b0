//! Token buckets for rate limits, and maps of bounded size that evict their oldest entry.

use std::collections::BTreeMap;
use std::time::Instant;

/// Capacity and refill interval of a bucket.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Capacity, tokens.
    pub most: f64,
    /// Seconds per refilled token.
    pub each: f64,
}

/// A token bucket that refills with time. Taking more than is left makes the balance negative.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn full(rule: Rule, now: Instant) -> Self {
        Self { left: rule.most, at: now }
    }

    /// Tokens left at `now`; may be negative.
    #[must_use]
    pub fn left(&self, rule: Rule, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left + passed / rule.each).min(rule.most)
    }

    /// Takes `amount` tokens, even if fewer are left.
    pub fn take(&mut self, rule: Rule, now: Instant, amount: f64) {
        *self = Self { left: self.left(rule, now) - amount, at: now };
    }

    /// When tokens were last taken, or the bucket was created.
    #[must_use]
    pub fn used_at(&self) -> Instant {
        self.at
    }
}

/// Makes space for one more entry in a map of at most `most`: evicts and returns the oldest entry.
pub fn forget_oldest<K: Ord + Clone, V, A: Ord>(
    map: &mut BTreeMap<K, V>,
    most: usize,
    age: impl Fn(&V) -> A,
) -> Option<V> {
    if map.len() < most {
        return None;
    }
    let oldest = map.iter().min_by_key(|(_, v)| age(v)).map(|(k, _)| k.clone())?;
    map.remove(&oldest)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an arbitrary epoch")]
    fn a_bucket_fills_with_time_and_may_be_in_debt() {
        let rule = Rule { most: 10.0, each: 2.0 };
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut b = Bucket::full(rule, start);
        assert!((b.left(rule, at(100)) - 10.0).abs() < 1e-9);
        b.take(rule, at(100), 14.0);
        assert!((b.left(rule, at(100)) + 4.0).abs() < 1e-9);
        assert!((b.left(rule, at(110)) - 1.0).abs() < 1e-9);
        assert_eq!(b.used_at(), at(100));
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut map: BTreeMap<u8, u8> = (0..4).map(|n| (n, 10 - n)).collect();
        assert_eq!(forget_oldest(&mut map, 5, |v| *v), None);
        assert_eq!(forget_oldest(&mut map, 4, |v| *v), Some(7));
        assert_eq!(map.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    }
}
