//! Token buckets, and maps that forget what is oldest: what limits how much a source may ask, and how many are remembered.

use std::collections::BTreeMap;
use std::time::Instant;

/// How much a bucket holds, and how fast it fills.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// All that it holds.
    pub most: f64,
    /// Seconds in which one more comes.
    pub each: f64,
}

/// A bucket that fills with time. What takes more than is left leaves it below 0.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn full(rule: Rule, now: Instant) -> Self {
        Self { left: rule.most, at: now }
    }

    /// What is left.
    #[must_use]
    pub fn left(&self, rule: Rule, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left + passed / rule.each).min(rule.most)
    }

    /// Takes so much, whatever is left.
    pub fn take(&mut self, rule: Rule, now: Instant, amount: f64) {
        *self = Self { left: self.left(rule, now) - amount, at: now };
    }

    /// When it was taken from last, or made.
    #[must_use]
    pub fn used_at(&self) -> Instant {
        self.at
    }
}

/// Makes room for one more in a map of at most `most`: the entry of the least age is forgotten, and returned.
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
