//! Event delivery queues, one per target: targets do not delay each other, and an unreachable one costs
//! little. Events beyond the in-memory window are loaded from the outbox in pieces.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::backoff;
use super::failure::{Failure, Held};
pub use super::queue::Item;
use super::queue::Queue;
use crate::base::rng::Rng;

/// Destination of events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    /// URL.
    pub url: String,
    /// Signing secret; empty: not signed.
    pub secret: String,
    /// Configured by the operator: may have any address.
    pub trusted: bool,
}

/// Targets in memory; beyond it the one with the most failures is left to the outbox until there is space
/// again.
pub const MAX_TARGETS: usize = 1024;
/// Concurrent deliveries.
pub const MAX_IN_FLIGHT: usize = 8;
/// Concurrent deliveries to one target, all of different legs.
pub const MAX_OF_TARGET: usize = 4;
/// Concurrent deliveries to servers whose last delivery failed.
pub const MAX_DOUBTFUL: usize = 2;
/// Servers whose failures are remembered.
const MAX_DOUBTS: usize = 1024;

/// Longest back-off delay.
const LONGEST: Duration = Duration::from_secs(60);

/// Identifies a target.
pub type TargetId = u64;

#[derive(Debug)]
struct TargetQueue {
    destination: Destination,
    queue: Queue,
    not_before: Option<Instant>,
    /// Earliest next try according to the server's `Retry-After`.
    held: Option<Instant>,
    last_error: Option<String>,
    dropped: u64,
}

impl TargetQueue {
    fn due_at(&self) -> Option<Instant> {
        self.not_before.max(self.held)
    }
}

/// Deliveries in flight.
#[derive(Debug, Clone, Copy)]
struct Room {
    flying: usize,
    doubtful: usize,
}

impl Room {
    /// True if another delivery may start, to a server with this many consecutive failures.
    fn allows(self, failures: u32) -> bool {
        self.flying < MAX_IN_FLIGHT && (failures == 0 || self.doubtful < MAX_DOUBTFUL)
    }
}

/// `https://host:port` of a URL.
fn authority(url: &str) -> &str {
    let from = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(from..).and_then(|rest| rest.find(['/', '?'])).map_or(url.len(), |at| from + at);
    url.get(..end).unwrap_or(url)
}

/// A URL for logs and views: without query and user, which may contain secrets.
#[must_use]
pub fn shown_url(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = plain.split_once("://") else { return plain.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", host.rsplit('@').next().unwrap_or_default())
}

/// One delivery to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Returned with the outcome.
    pub target: TargetId,
    /// Destination.
    pub destination: Destination,
    /// The event.
    pub item: Item,
}

/// A request to load events from the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Returned with the answer.
    pub target: TargetId,
    /// Destination of the events.
    pub destination: Destination,
    /// Only rows after this one.
    pub after: u64,
    /// Most events to load.
    pub most: usize,
}

/// Counters of all queues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accepted events.
    pub enqueued: u64,
    /// Delivered events.
    pub delivered: u64,
    /// Failed tries.
    pub failed: u64,
    /// Dropped events.
    pub dropped: u64,
    /// Waiting events.
    pub waiting: u64,
    /// Waiting events that are not in the outbox.
    pub volatile: u64,
}

/// Delivery state of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetView {
    /// Destination.
    pub destination: Destination,
    /// Events waiting or in flight.
    pub queued: u64,
    /// Consecutive failures of its server.
    pub failures: u32,
    /// Error of the last try; `None` if it succeeded.
    pub last_error: Option<String>,
    /// Time of the next try.
    pub next_try: Option<Instant>,
    /// Dropped events.
    pub dropped: u64,
}

/// All queues.
#[derive(Debug)]
pub struct EventQueues {
    targets: BTreeMap<TargetId, TargetQueue>,
    names: BTreeMap<Destination, TargetId>,
    /// Consecutive failures by server.
    doubts: BTreeMap<String, u32>,
    /// Targets with a pending `Retry-After`.
    held: Held<Destination>,
    next: TargetId,
    /// Last served target: the round-robin search continues after it.
    turn: TargetId,
    /// Some targets were left to the outbox.
    parked: bool,
    /// The outbox is being queried for them.
    reviving: bool,
    /// Rows to delete from the outbox.
    finished: VecDeque<u64>,
    rng: Rng,
    counts: Counts,
}

impl EventQueues {
    /// No targets yet.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self {
            targets: BTreeMap::new(),
            names: BTreeMap::new(),
            doubts: BTreeMap::new(),
            held: Held::default(),
            next: 0,
            turn: 0,
            parked: false,
            reviving: false,
            finished: VecDeque::new(),
            rng,
            counts: Counts::default(),
        }
    }

    /// Queues an event.
    pub fn push(&mut self, to: &Destination, item: Item) {
        self.counts.enqueued += 1;
        let id = self.target(to);
        let Some(target) = self.targets.get_mut(&id) else { return };
        if let Some(lost) = target.queue.push(item) {
            target.dropped += 1;
            self.counts.dropped += 1;
            // The outbox may be about to store it.
            self.finished.push_back(lost.row);
        }
    }

    /// The outbox holds `count` events for this target from an earlier run.
    pub fn restore(&mut self, to: &Destination, count: u64) {
        if self.find(to).is_some() || count == 0 {
            return;
        }
        if self.targets.len() < MAX_TARGETS {
            self.add(to, count);
        } else {
            self.parked = true;
        }
    }

    fn find(&self, to: &Destination) -> Option<TargetId> {
        self.names.get(to).copied()
    }

    fn target(&mut self, to: &Destination) -> TargetId {
        if let Some(known) = self.find(to) {
            return known;
        }
        if self.targets.len() >= MAX_TARGETS {
            self.park_worst();
        }
        // The outbox may hold events for it: load them, this one included.
        self.add(to, u64::from(self.parked || self.reviving))
    }

    fn add(&mut self, to: &Destination, stored: u64) -> TargetId {
        self.next += 1;
        let queue = Queue::with_stored(stored);
        let target = TargetQueue {
            destination: to.clone(),
            queue,
            not_before: None,
            held: self.held.until(to),
            last_error: None,
            dropped: 0,
        };
        self.targets.insert(self.next, target);
        self.names.insert(to.clone(), self.next);
        self.next
    }

    /// Evicts the target whose server has the most failures; its stored events stay in the outbox.
    fn park_worst(&mut self) {
        let failures = |t: &TargetQueue| self.failures(&t.destination);
        let idle = self.targets.iter().filter(|(_, t)| t.queue.flying() == 0 && !t.destination.trusted);
        let Some(id) = idle.max_by_key(|(_, t)| failures(t)).map(|(id, _)| *id) else { return };
        if let Some(t) = self.remove(id) {
            self.counts.dropped += t.queue.volatile();
            self.parked = true;
        }
    }

    /// True, once, if evicted targets may return: [`Self::restore`] should be called with the targets of the
    /// outbox.
    pub fn poll_revive(&mut self) -> bool {
        let now = self.parked && !self.reviving && self.targets.len() < MAX_TARGETS / 2;
        self.parked &= !now;
        self.reviving |= now;
        now
    }

    /// The request of [`Self::poll_revive`] is complete, or `failed`: then it is repeated.
    pub fn handle_revived(&mut self, failed: bool) {
        self.reviving = false;
        self.parked |= failed;
    }

    /// Consecutive failures of a destination's server: failures are counted per server, not per URL.
    fn failures(&self, to: &Destination) -> u32 {
        self.doubts.get(authority(&to.url)).copied().unwrap_or(0)
    }

    /// True if a target has an event to deliver and may try.
    fn may_try(&self, t: &TargetQueue, room: Room) -> bool {
        let failures = self.failures(&t.destination);
        let most = if failures == 0 { MAX_OF_TARGET } else { 1 };
        room.allows(failures) && t.queue.flying() < most && t.queue.is_ready()
    }

    /// The next delivery to carry out at `now`; call until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Job> {
        let turn = self.turn;
        let room = self.room();
        let due = |t: &TargetQueue| t.due_at().is_none_or(|at| at <= now) && self.may_try(t, room);
        let in_turn = || self.targets.range(turn + 1..).chain(self.targets.range(..=turn));
        let candidates: Vec<TargetId> = in_turn().filter(|(_, t)| due(t)).map(|(id, _)| *id).collect();
        for id in candidates {
            // All ready events may be waiting for earlier events of their legs.
            if let Some(target) = self.targets.get_mut(&id)
                && let Some(item) = target.queue.next()
            {
                self.turn = id;
                target.held = None;
                return Some(Job { target: id, destination: target.destination.clone(), item });
            }
        }
        None
    }

    /// The next request to the outbox; call until `None`. Targets in back-off load nothing yet.
    pub fn poll_load(&mut self) -> Option<Load> {
        let doubts = &self.doubts;
        self.targets.iter_mut().find_map(|(id, t)| {
            let failing = doubts.contains_key(authority(&t.destination.url));
            let (after, most) = t.queue.wants(failing)?;
            Some(Load { target: *id, destination: t.destination.clone(), after, most })
        })
    }

    /// Result of a [`Load`]: the events, and how many more the outbox holds after them.
    pub fn handle_loaded(&mut self, id: TargetId, items: Vec<Item>, left: u64) {
        if let Some(target) = self.targets.get_mut(&id) {
            target.queue.loaded(items, left);
        }
        self.forget_if_done(id);
    }

    /// The outbox has now stored these rows, which it could not store when they were queued.
    pub fn handle_stored(&mut self, rows: &BTreeSet<u64>) {
        self.targets.values_mut().for_each(|t| t.queue.stored(rows));
    }

    /// A [`Load`] failed; it will be requested again.
    pub fn handle_not_loaded(&mut self, id: TargetId) {
        if let Some(target) = self.targets.get_mut(&id) {
            target.queue.not_loaded();
        }
    }

    /// The next row to delete from the outbox; call until `None`.
    pub fn poll_finished(&mut self) -> Option<u64> {
        self.finished.pop_front()
    }

    fn room(&self) -> Room {
        let flying = || self.targets.values().map(|t| (t.queue.flying(), self.failures(&t.destination)));
        Room {
            flying: flying().map(|(n, _)| n).sum(),
            doubtful: flying().filter(|(_, failures)| *failures > 0).map(|(n, _)| n).sum(),
        }
    }

    /// Outcome of a delivery.
    pub fn handle_outcome(&mut self, now: Instant, id: TargetId, row: u64, outcome: Result<(), Failure>) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        let server = authority(&target.destination.url).to_owned();
        match outcome {
            Ok(()) => {
                target.queue.done(row);
                (target.not_before, target.last_error) = (None, None);
                self.finished.push_back(row);
                self.doubts.remove(&server);
                self.counts.delivered += 1;
            }
            Err(failure) => {
                target.queue.failed(row);
                target.last_error = Some(failure.why);
                if let Some(wait) = failure.wait {
                    // Kept even if other deliveries in flight succeed.
                    target.held = Some(self.held.hold(now, &target.destination, wait));
                }
                // Several deliveries failing together when a server goes down count as one failure.
                if target.not_before.is_none_or(|at| at <= now) {
                    if self.doubts.len() >= MAX_DOUBTS {
                        self.doubts.pop_first();
                    }
                    let failures = self.doubts.entry(server).or_default();
                    *failures = failures.saturating_add(1);
                    target.not_before = Some(now + backoff::delay(*failures, LONGEST, &mut self.rng));
                }
                self.counts.failed += 1;
            }
        }
        self.forget_if_done(id);
    }

    fn forget_if_done(&mut self, id: TargetId) {
        if self.targets.get(&id).is_some_and(|t| t.queue.is_empty()) {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: TargetId) -> Option<TargetQueue> {
        let target = self.targets.remove(&id)?;
        self.names.remove(&target.destination);
        Some(target)
    }

    /// `count` events were dropped in the outbox: too old, or no space.
    pub fn note_lost(&mut self, count: u64) {
        self.counts.dropped += count;
    }

    /// When to call [`Self::poll`] next, if a target waits for its next try and would be allowed to start it.
    /// If the limits of deliveries in flight prevent it, poll again after the next outcome.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let room = self.room();
        let waits = self.targets.values().filter(|t| self.may_try(t, room));
        waits.filter_map(TargetQueue::due_at).min()
    }

    /// True without waiting events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let sum = |f: fn(&Queue) -> u64| self.targets.values().map(|t| f(&t.queue)).sum();
        Counts { waiting: sum(Queue::len), volatile: sum(Queue::volatile), ..self.counts }
    }

    /// Delivery state of all targets.
    #[must_use]
    pub fn view(&self) -> Vec<TargetView> {
        let one = |t: &TargetQueue| TargetView {
            destination: t.destination.clone(),
            queued: t.queue.len(),
            failures: self.failures(&t.destination),
            last_error: t.last_error.clone(),
            next_try: t.due_at(),
            dropped: t.dropped,
        };
        self.targets.values().map(one).collect()
    }
}

#[cfg(test)]
#[path = "events_test.rs"]
mod tests;
