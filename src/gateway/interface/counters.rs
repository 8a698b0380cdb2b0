//! Counters of the gateway, for `/metrics` and `/v1/capacity`.

use std::collections::BTreeMap;

use crate::media::command::Quality;
use crate::sip::transactions;

/// Current figures of the gateway.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Numbers {
    /// Live legs.
    pub legs: u32,
    /// Legs that use or may use Opus.
    pub opus: u32,
    /// Media slots in use.
    pub media: u32,
    /// Rooms in use.
    pub rooms: u32,
    /// Playbacks running or being fetched.
    pub playbacks: u32,
    /// Recordings running, being opened or closed.
    pub recordings: u32,
    /// Socket pairs held by legs.
    pub ports: u32,
    /// Live SIP transactions: client, server.
    pub transactions: (usize, usize),
    /// Running timers of legs and transactions.
    pub timers: usize,
    /// Memory of server transactions, bytes.
    pub transaction_bytes: usize,
    /// Counters of the transaction layer.
    pub sip: transactions::Counters,
    /// Counters since startup.
    pub counters: Counters,
}

/// Counters since startup.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counters {
    /// Messages, and drops and refusals.
    pub signalling: SignallingCounters,
    /// Calls and their media.
    pub calls: CallTotals,
}

/// Messages, and drops and refusals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignallingCounters {
    /// Datagrams and frames that are not SIP messages.
    pub malformed: u64,
    /// Messages of unknown sources dropped by the rate limit.
    pub rate_limited: u64,
    /// Wrong user names or passwords in responses to our challenges.
    pub wrong_passwords: u64,
    /// Calls refused because of the quota of the source or its class.
    pub calls_over_share: u64,
    /// Requests refused without checking credentials, after too many wrong ones.
    pub guesses_refused: u64,
    /// Calls retried at another server after a failure or 503.
    pub failovers: u64,
    /// Digits not accepted by the far end by INFO, or pending when it put us on hold.
    pub info_digits_dropped: u64,
    /// Dropped requests of unknown sources.
    pub strangers: u64,
    /// Calls refused before a leg was created, by status code.
    pub refused: BTreeMap<u16, u64>,
}

/// Calls and their media.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CallTotals {
    reached: BTreeMap<(&'static str, &'static str), u64>,
    answered: BTreeMap<&'static str, Histogram>,
    total: BTreeMap<&'static str, Histogram>,
    reasons: BTreeMap<(&'static str, String), u64>,
    media: Quality,
    quality: [Summary; 4],
}

/// Upper bounds of the histogram buckets, seconds.
pub const BUCKETS: [u32; 9] = [5, 15, 30, 60, 120, 300, 600, 1800, 3600];

/// Histogram of call durations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// Calls of at most the duration of each of [`BUCKETS`].
    buckets: [u64; 9],
    /// Number of calls.
    count: u64,
    /// Total duration, seconds.
    sum: f64,
}

impl Histogram {
    /// Adds a call; zero duration is not counted.
    pub fn add(&mut self, seconds: f64) {
        if seconds <= 0.0 {
            return;
        }
        for (bucket, bound) in self.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= f64::from(bound));
        }
        self.count += 1;
        self.sum += seconds;
    }

    /// Cumulative bucket counts, see [`BUCKETS`].
    #[must_use]
    pub fn buckets(&self) -> [u64; 9] {
        self.buckets
    }

    /// Number of calls, and total duration in seconds.
    #[must_use]
    pub fn count_and_sum(&self) -> (u64, f64) {
        (self.count, self.sum)
    }
}

/// Count and sum of a value.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Summary {
    /// Count.
    count: u64,
    /// Sum.
    sum: f64,
}

impl Summary {
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
    }

    /// Count and sum.
    #[must_use]
    pub fn count_and_sum(&self) -> (u64, f64) {
        (self.count, self.sum)
    }
}

impl CallTotals {
    /// A leg of this type reached a state: `ringing`, `connected`, `disconnected`.
    pub fn note_state(&mut self, kind: &'static str, state: &'static str) {
        *self.reached.entry((kind, state)).or_default() += 1;
    }

    /// A leg of this type ended for this reason; duration in seconds, total and since the answer.
    pub fn note_end(&mut self, kind: &'static str, reason: String, total: f64, answered: f64) {
        self.note_state(kind, "disconnected");
        self.total.entry(kind).or_default().add(total);
        self.answered.entry(kind).or_default().add(answered);
        *self.reasons.entry((kind, reason)).or_default() += 1;
    }

    /// Adds the media figures of an ended leg.
    pub fn note_quality(&mut self, q: &Quality) {
        self.media.add(q);
        if q.received < 2 {
            return;
        }
        let [mos, jitter, rtt, drift] = &mut self.quality;
        mos.add(q.mos);
        jitter.add(q.jitter_ms);
        q.rtt_ms.into_iter().for_each(|ms| rtt.add(ms));
        drift.add(q.drift_ppm.abs());
    }

    /// Legs that reached a state, by type and state.
    #[must_use]
    pub fn reached(&self) -> &BTreeMap<(&'static str, &'static str), u64> {
        &self.reached
    }

    /// Durations since the answer, by type.
    #[must_use]
    pub fn answered(&self) -> &BTreeMap<&'static str, Histogram> {
        &self.answered
    }

    /// Total durations, by type.
    #[must_use]
    pub fn total(&self) -> &BTreeMap<&'static str, Histogram> {
        &self.total
    }

    /// Ended legs by type and reason.
    #[must_use]
    pub fn reasons(&self) -> &BTreeMap<(&'static str, String), u64> {
        &self.reasons
    }

    /// Sum of media figures of ended legs.
    #[must_use]
    pub fn media(&self) -> &Quality {
        &self.media
    }

    /// Mean opinion score, jitter (ms), round-trip time (ms) and clock drift (ppm, absolute) of ended legs.
    #[must_use]
    pub fn quality(&self) -> &[Summary; 4] {
        &self.quality
    }
}
