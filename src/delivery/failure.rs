//! Delivery failures, and the wait that a server requests (`Retry-After`, RFC 9110 §10.2.3).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::base::http_date;
use crate::base::time::Utc;

/// Longest wait that a server may request.
pub const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// Most remembered waits.
const MAX_HELD: usize = 1024;

/// A failed try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Error text.
    pub why: String,
    /// Wait requested by the server, at most [`LONGEST_WAIT`].
    pub wait: Option<Duration>,
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self { why, wait: None }
    }
}

/// Wait requested by a response: only `429` and `503` count; seconds or a date, which is relative to the
/// server's own clock (`date`) if given, otherwise to `now`.
#[must_use]
pub fn retry_after(status: u16, field: Option<&str>, date: Option<&str>, now: Utc) -> Option<Duration> {
    let field = field.filter(|_| matches!(status, 429 | 503))?.trim();
    if !field.is_empty() && field.bytes().all(|b| b.is_ascii_digit()) {
        let secs = field.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(secs).min(LONGEST_WAIT));
    }
    let at = http_date::parse(field, now)?;
    let there = date.and_then(|d| http_date::parse(d, now)).unwrap_or(now);
    Some(at.0.saturating_sub(there.0).min(LONGEST_WAIT))
}

/// End of the requested wait by key, even while nothing is queued for it.
#[derive(Debug)]
pub struct Held<K>(BTreeMap<K, Instant>);

impl<K> Default for Held<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Held<K> {
    /// Delays `key` by `wait` unless a longer wait is pending. Returns the end of the wait.
    pub fn hold(&mut self, now: Instant, key: &K, wait: Duration) -> Instant {
        self.0.retain(|_, at| *at > now);
        let until = (now + wait).max(self.until(key).unwrap_or(now));
        if self.0.len() >= MAX_HELD && !self.0.contains_key(key) {
            // Evict the wait that ends first.
            let first = self.0.iter().min_by_key(|(_, at)| **at).map(|(k, _)| k.clone());
            first.and_then(|k| self.0.remove(&k));
        }
        self.0.insert(key.clone(), until);
        until
    }

    /// End of the wait of `key`; may be in the past.
    #[must_use]
    pub fn until(&self, key: &K) -> Option<Instant> {
        self.0.get(key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_two_answers_alone() {
        let now = Utc::from_millis(784_111_777_000);
        let wait = |status, field, date| retry_after(status, Some(field), date, now).map(|d| d.as_secs());
        for (status, field, date, secs) in [
            (503, "120", None, Some(120)),
            (429, " 0 ", None, Some(0)),
            (429, "3600", None, Some(600)),
            (503, "99999999999999999999999", None, Some(600)),
            (503, "Sun, 06 Nov 1994 08:50:37 GMT", None, Some(60)),
            (503, "Sunday, 06-Nov-94 08:50:37 GMT", None, Some(60)),
            (503, "Sun Nov  6 08:50:37 1994", None, Some(60)),
            (503, "Sun, 06 Nov 1994 18:49:37 GMT", None, Some(600)),
            (503, "Sun, 06 Nov 1994 08:00:00 GMT", None, Some(0)),
            // The server's clock is an hour behind ours.
            (429, "Sun, 06 Nov 1994 07:50:07 GMT", Some("Sun, 06 Nov 1994 07:49:37 GMT"), Some(30)),
            (503, "Sun, 06 Nov 1994 08:50:37 GMT", Some("today"), Some(60)),
            (500, "120", None, None),
            (301, "120", None, None),
            (404, "120", None, None),
            (503, "", None, None),
            (503, "-5", None, None),
            (503, "1.5", None, None),
            (503, "soon", None, None),
            (503, "120, 240", None, None),
        ] {
            assert_eq!(wait(status, field, date), secs, "{status} {field:?} {date:?}");
        }
        assert_eq!(retry_after(503, None, None, now), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an arbitrary epoch")]
    fn holds_are_bounded_and_the_longest_counts() {
        let now = Instant::now();
        let secs = Duration::from_secs;
        let mut held = Held::default();
        assert_eq!(held.hold(now, &0, secs(9)), now + secs(9));
        assert_eq!(held.hold(now, &0, secs(5)), now + secs(9));
        for key in 1..=MAX_HELD {
            held.hold(now, &key, secs(20));
        }
        assert_eq!((held.0.len(), held.until(&0)), (MAX_HELD, None));
        held.hold(now + secs(20), &0, secs(1));
        assert_eq!(held.0.len(), 1, "what is over is forgotten");
    }
}
