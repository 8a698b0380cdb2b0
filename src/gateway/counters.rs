//! Counters of the gateway, for `/metrics` and `/v1/capacity`.

use std::collections::BTreeMap;

use crate::media::command::Quality;
use crate::sip::transactions;

/// The gateway in numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Numbers {
    /// Legs that have not ended.
    pub legs: u32,
    /// Legs that use Opus, or may.
    pub opus: u32,
    /// Media places in use.
    pub media: u32,
    /// Rooms.
    pub rooms: u32,
    /// Playbacks running or being fetched.
    pub playbacks: u32,
    /// Recordings running, being opened or closed.
    pub recordings: u32,
    /// Socket pairs that legs hold.
    pub ports: u32,
    /// SIP transactions alive: client, server.
    pub transactions: (usize, usize),
    /// Timers that run: of legs and of transactions.
    pub timers: usize,
    /// Bytes that server transactions keep.
    pub transaction_bytes: usize,
    /// What the transactions dropped, refused or did not know.
    pub sip: transactions::Counters,
    /// What calls and their messages have come to since the start.
    pub counters: Counters,
}

/// What is counted from the start on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counters {
    /// Messages, and what was dropped or refused.
    pub signalling: SignallingCounters,
    /// Calls and their media.
    pub calls: CallTotals,
}

/// Messages, and what was dropped or refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignallingCounters {
    /// Datagrams and frames that are no SIP message.
    pub malformed: u64,
    /// Messages of unknown sources that asked too much, dropped unread.
    pub rate_limited: u64,
    /// Answers to our challenges with a wrong name or password.
    pub wrong_passwords: u64,
    /// Calls refused since their source, or all of its kind, had as many legs as they may have.
    pub calls_over_share: u64,
    /// Requests whose credentials were not looked at, since too many were wrong.
    pub guesses_refused: u64,
    /// Calls that went on to another server, as one did not answer or had no room.
    pub failovers: u64,
    /// Digits that a far end did not take by INFO, or that waited for it when it put us on hold.
    pub info_digits_dropped: u64,
    /// Requests of unknown sources that were dropped.
    pub strangers: u64,
    /// Calls refused before they became legs, by status code.
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

/// Upper bounds of the histogram's buckets, seconds.
pub const BUCKETS: [u32; 9] = [5, 15, 30, 60, 120, 300, 600, 1800, 3600];

/// Lengths of calls.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// Calls at most as long as each of [`BUCKETS`].
    buckets: [u64; 9],
    /// All calls.
    count: u64,
    /// Their lengths together, seconds.
    sum: f64,
}

impl Histogram {
    /// Adds a call; one of no length is none.
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

    /// Calls at most as long as each of [`BUCKETS`].
    #[must_use]
    pub fn buckets(&self) -> [u64; 9] {
        self.buckets
    }

    /// How many calls, and their lengths together, seconds.
    #[must_use]
    pub fn count_and_sum(&self) -> (u64, f64) {
        (self.count, self.sum)
    }
}

/// How many there were, and what they make together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Summary {
    /// How many.
    count: u64,
    /// Their sum.
    sum: f64,
}

impl Summary {
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
    }

    /// How many there were, and their sum.
    #[must_use]
    pub fn count_and_sum(&self) -> (u64, f64) {
        (self.count, self.sum)
    }
}

impl CallTotals {
    /// A leg of this type has reached a state: `ringing`, `connected`, `disconnected`.
    pub fn note_state(&mut self, kind: &'static str, state: &'static str) {
        *self.reached.entry((kind, state)).or_default() += 1;
    }

    /// A leg of this type has ended for this reason; its length in seconds, whole and from the answer on.
    pub fn note_end(&mut self, kind: &'static str, reason: String, total: f64, answered: f64) {
        self.note_state(kind, "disconnected");
        self.total.entry(kind).or_default().add(total);
        self.answered.entry(kind).or_default().add(answered);
        *self.reasons.entry((kind, reason)).or_default() += 1;
    }

    /// Counts how well the media of a leg travelled that has ended.
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

    /// Lengths of calls from the answer on, by type.
    #[must_use]
    pub fn answered(&self) -> &BTreeMap<&'static str, Histogram> {
        &self.answered
    }

    /// Lengths of calls from the beginning on, by type.
    #[must_use]
    pub fn total(&self) -> &BTreeMap<&'static str, Histogram> {
        &self.total
    }

    /// Legs that ended, by type and reason.
    #[must_use]
    pub fn reasons(&self) -> &BTreeMap<(&'static str, String), u64> {
        &self.reasons
    }

    /// Media of the legs that have ended, together.
    #[must_use]
    pub fn media(&self) -> &Quality {
        &self.media
    }

    /// Mean opinion score, jitter (ms), round trip (ms) and clock drift (ppm, without its sign) of legs that ended.
    #[must_use]
    pub fn quality(&self) -> &[Summary; 4] {
        &self.quality
    }
}
