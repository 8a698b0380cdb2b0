//! DNS cache; stale answers are used while no name server responds (RFC 8767).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Question;
use super::query::Outcome;
use crate::wire::dns::Record;

/// Most entries.
const MAX_ANSWERS: usize = 512;
/// Maximum TTL, seconds.
const LONGEST: u32 = 3600;
/// Maximum TTL of negative answers, seconds (RFC 2308 §5 leaves it to caches).
const NOTHING: u32 = 30;
/// Failures are cached this long, so that calls do not wait for dead servers one after another.
const UNKNOWN: Duration = Duration::from_secs(10);
/// The same if the servers ignore this query but respond to others.
const IGNORED: Duration = Duration::from_secs(30);
/// How long after its TTL a stale answer may be used while servers fail (RFC 8767 §5).
const STALE: Duration = Duration::from_secs(24 * 3600);
/// How long a stale answer is used before the servers are queried again (RFC 8767 §5).
const STALE_AGAIN: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
struct Entry {
    until: Instant,
    stale_until: Instant,
    records: Vec<Record>,
}

/// Result of a cache look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// A valid answer; empty: no records, or a recent failure.
    Fresh(Vec<Record>),
    /// Only a stale answer.
    Stale,
    /// Not cached.
    No,
}

/// The cache: bounded, evicts the entry that expires first.
#[derive(Debug, Clone, Default)]
pub struct Cache(BTreeMap<Question, Entry>);

impl Cache {
    /// Looks up a query.
    #[must_use]
    pub fn get(&self, now: Instant, question: &Question) -> Known {
        match self.0.get(question) {
            Some(e) if now < e.until => Known::Fresh(e.records.clone()),
            Some(e) if now < e.stale_until => Known::Stale,
            Some(_) | None => Known::No,
        }
    }

    /// Stores the outcome of a query, and returns the records to use: stale ones after a failure.
    /// `answering`: the servers respond to other queries.
    pub fn put(
        &mut self,
        now: Instant,
        question: Question,
        outcome: Outcome,
        answering: bool,
    ) -> Vec<Record> {
        let ignored = answering && outcome == Outcome::Silence;
        let (records, keep, stale) = match outcome {
            Outcome::Records(records, ttl) => (records, seconds(ttl.min(LONGEST)), STALE),
            Outcome::Nothing(ttl) => (Vec::new(), seconds(ttl.unwrap_or(NOTHING).min(NOTHING)), STALE),
            Outcome::Failure | Outcome::Silence => {
                if let Some(entry) = self.0.get_mut(&question).filter(|e| now < e.stale_until) {
                    entry.until = entry.until.max(now + STALE_AGAIN);
                    return entry.records.clone();
                }
                (Vec::new(), if ignored { IGNORED } else { UNKNOWN }, Duration::ZERO)
            }
        };
        let until = now + keep;
        self.make_room(&question);
        self.0.insert(question, Entry { until, stale_until: until + stale, records: records.clone() });
        records
    }

    fn make_room(&mut self, question: &Question) {
        if self.0.len() < MAX_ANSWERS || self.0.contains_key(question) {
            return;
        }
        let first = self.0.iter().min_by_key(|(_, e)| e.until).map(|(q, _)| q.clone());
        first.map(|q| self.0.remove(&q));
    }
}

fn seconds(n: u32) -> Duration {
    Duration::from_secs(n.into())
}

#[cfg(test)]
mod tests {
    use super::super::question;
    use super::*;
    use crate::wire::dns::Kind;

    #[expect(clippy::disallowed_methods, reason = "a beginning for virtual time")]
    fn start() -> Instant {
        Instant::now()
    }

    fn records(last: u8) -> Vec<Record> {
        vec![Record::Address([192, 0, 2, last].into())]
    }

    #[test]
    fn records_hold_for_their_time_and_stay_usable_while_nobody_tells() {
        let (mut cache, t0) = (Cache::default(), start());
        let at = |s: u64| t0 + Duration::from_secs(s);
        let q = question("PBX.example.", Kind::A);
        cache.put(t0, q.clone(), Outcome::Records(records(1), 60), true);
        assert_eq!(cache.get(at(59), &q), Known::Fresh(records(1)));
        assert_eq!(cache.get(at(60), &q), Known::Stale);
        assert_eq!(cache.put(at(70), q.clone(), Outcome::Failure, false), records(1), "stale");
        assert_eq!(cache.get(at(99), &q), Known::Fresh(records(1)), "not asked again for half a minute");
        assert_eq!(cache.get(at(100), &q), Known::Stale);
        assert_eq!(cache.put(at(101), q.clone(), Outcome::Records(records(2), 0), true), records(2));
        assert_eq!(cache.get(at(101), &q), Known::Stale, "TTL 0 is used once");
        assert_eq!(cache.get(at(101 + 24 * 3600), &q), Known::No, "for a day at most");
    }

    #[test]
    fn that_there_is_nothing_is_believed_but_not_for_long() {
        let t0 = start();
        let q = question("pbx.example", Kind::Srv);
        for (outcome, answering, held, then) in [
            (Outcome::Nothing(None), true, 30, Known::Stale),
            (Outcome::Nothing(Some(5)), true, 5, Known::Stale),
            (Outcome::Nothing(Some(86_400)), true, 30, Known::Stale),
            (Outcome::Silence, false, 10, Known::No),
            (Outcome::Silence, true, 30, Known::No),
            (Outcome::Failure, false, 10, Known::No),
            (Outcome::Failure, true, 10, Known::No),
        ] {
            let mut cache = Cache::default();
            assert_eq!(cache.put(t0, q.clone(), outcome.clone(), answering), []);
            let held = t0 + seconds(held);
            assert_eq!(cache.get(held - seconds(1), &q), Known::Fresh(vec![]), "{outcome:?}");
            assert_eq!(cache.get(held, &q), then, "{outcome:?}");
        }
        // It replaces the previous answer, also during failures.
        let mut cache = Cache::default();
        cache.put(t0, q.clone(), Outcome::Records(records(1), 0), true);
        cache.put(t0, q.clone(), Outcome::Nothing(Some(0)), true);
        assert_eq!(cache.put(t0, q, Outcome::Silence, false), []);
    }

    #[test]
    fn it_is_bounded_and_what_ends_first_goes_first() {
        let (mut cache, t0) = (Cache::default(), start());
        let put = |cache: &mut Cache, name: &str, ttl| {
            cache.put(t0, question(name, Kind::A), Outcome::Records(records(1), ttl), true);
        };
        put(&mut cache, "a-long", 3000);
        for i in 0..2 * MAX_ANSWERS {
            put(&mut cache, &format!("n{i}"), 60);
        }
        assert_eq!(cache.0.len(), MAX_ANSWERS);
        assert_eq!(cache.get(t0, &question("a-long", Kind::A)), Known::Fresh(records(1)));
    }
}
