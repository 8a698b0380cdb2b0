//! An ordered set of deadlines: finds the next wake-up of many state machines without polling each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// At most one deadline per key, ordered by time.
#[derive(Debug)]
pub struct Deadlines<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K: Ord + Copy> Default for Deadlines<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Replaces the deadline of `key`; `None` removes it.
    pub fn set(&mut self, key: K, at: Option<Instant>) {
        let old = match at {
            Some(at) => self.by_key.insert(key, at),
            None => self.by_key.remove(&key),
        };
        if old == at {
            return;
        }
        if let Some(old) = old {
            self.by_time.remove(&(old, key));
        }
        if let Some(at) = at {
            self.by_time.insert((at, key));
        }
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<(Instant, K)> {
        self.by_time.first().copied()
    }

    /// All keys, the earliest first.
    pub fn iter(&self) -> impl Iterator<Item = K> {
        self.by_time.iter().map(|(_, key)| *key)
    }

    /// Removes and returns one key whose deadline is at or before `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = self.next()?;
        if at > now {
            return None;
        }
        self.set(key, None);
        Some(key)
    }

    /// Number of deadlines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// True without any deadline.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn fires_in_order_and_forgets_what_was_replaced() {
        #[expect(clippy::disallowed_methods, reason = "an arbitrary epoch")]
        let t = Instant::now();
        let s = Duration::from_secs;
        let mut d = Deadlines::default();
        d.set('a', Some(t + s(3)));
        d.set('b', Some(t + s(1)));
        d.set('c', Some(t + s(2)));
        d.set('a', Some(t + s(5)));
        d.set('c', None);
        assert_eq!(d.next(), Some((t + s(1), 'b')));
        assert_eq!(d.iter().collect::<String>(), "ba");
        assert_eq!(d.pop_due(t), None);
        assert_eq!(
            (d.pop_due(t + s(9)), d.pop_due(t + s(9)), d.pop_due(t + s(9))),
            (Some('b'), Some('a'), None)
        );
        assert!(d.is_empty());
    }
}
