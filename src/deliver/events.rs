//! Queues of events, one a target: none of them delays another, and a dead one costs next to nothing. What the outbox
//! holds is asked for piece by piece.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::backoff;
use super::failure::{Failure, Held};
pub use super::queue::Item;
use super::queue::Queue;
use crate::base::rng::Rng;

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    /// URL.
    pub url: String,
    /// Signing secret; empty: not signed.
    pub secret: String,
    /// The operator named it: it may lead anywhere.
    pub trusted: bool,
}

/// Targets in memory at once; past it the worst is left to the outbox until there is room again.
pub const MAX_TARGETS: usize = 1024;
/// Deliveries under way at once.
pub const MAX_IN_FLIGHT: usize = 8;
/// Of these, deliveries to one target, all of different legs.
pub const MAX_OF_TARGET: usize = 4;
/// Of these, deliveries to servers that failed last time.
pub const MAX_DOUBTFUL: usize = 2;
/// Servers whose failures are remembered.
const MAX_DOUBTS: usize = 1024;

/// Longest wait between two tries of a server.
const LONGEST: Duration = Duration::from_secs(60);

/// Names a target.
pub type TargetId = u64;

#[derive(Debug)]
struct Target {
    destination: Destination,
    queue: Queue,
    not_before: Option<Instant>,
    /// The server does not want to be asked before.
    held: Option<Instant>,
    last_error: Option<String>,
    dropped: u64,
}

impl Target {
    fn due_at(&self) -> Option<Instant> {
        self.not_before.max(self.held)
    }
}

/// What is under way.
#[derive(Debug, Clone, Copy)]
struct Room {
    flying: usize,
    doubtful: usize,
}

impl Room {
    /// True when one more delivery may start, to a server with this many failures behind it.
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

/// A URL as it may be shown: without a query or a user, which may hold secrets.
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
    /// Goes back with the outcome.
    pub target: TargetId,
    /// Where to.
    pub destination: Destination,
    /// What.
    pub item: Item,
}

/// Events that the outbox should be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Goes back with what it had.
    pub target: TargetId,
    /// Whose events.
    pub destination: Destination,
    /// Those behind this row.
    pub after: u64,
    /// So many at most.
    pub most: usize,
}

/// Counters of all queues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events accepted.
    pub enqueued: u64,
    /// Events delivered.
    pub delivered: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Events lost.
    pub dropped: u64,
    /// Events waiting.
    pub waiting: u64,
    /// Of these, events that only memory has.
    pub volatile: u64,
}

/// How delivery to a target goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetView {
    /// Where its events go.
    pub destination: Destination,
    /// Events that wait or are on their way.
    pub queued: u64,
    /// Failures in a row of its server.
    pub failures: u32,
    /// Why the last try failed; `None`: it did not.
    pub last_error: Option<String>,
    /// When it is tried again.
    pub next_try: Option<Instant>,
    /// Events of it that were lost.
    pub dropped: u64,
}

/// All queues.
#[derive(Debug)]
pub struct EventQueues {
    targets: BTreeMap<TargetId, Target>,
    names: BTreeMap<Destination, TargetId>,
    /// Failures in a row by server.
    doubts: BTreeMap<String, u32>,
    /// Targets that want to be left alone.
    held: Held<Destination>,
    next: TargetId,
    /// Where the search for the next job goes on, so that all get their turn.
    turn: TargetId,
    /// Targets were left to the outbox.
    parked: bool,
    /// The outbox is being asked for them.
    reviving: bool,
    /// Rows that the outbox may forget.
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
            // The outbox may still be about to take it.
            self.finished.push_back(lost.row);
        }
    }

    /// The outbox has so many events for this target, from earlier times.
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
        // Events of it may be in the outbox: what it has is asked for, this one among it.
        self.add(to, u64::from(self.parked || self.reviving))
    }

    fn add(&mut self, to: &Destination, stored: u64) -> TargetId {
        self.next += 1;
        let queue = Queue::with_stored(stored);
        let target = Target {
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

    /// Makes room: the target whose server has failed most often is left to the outbox.
    fn park_worst(&mut self) {
        let failures = |t: &Target| self.failures(&t.destination);
        let idle = self.targets.iter().filter(|(_, t)| t.queue.flying() == 0 && !t.destination.trusted);
        let Some(id) = idle.max_by_key(|(_, t)| failures(t)).map(|(id, _)| *id) else { return };
        if let Some(t) = self.remove(id) {
            self.counts.dropped += t.queue.volatile();
            self.parked = true;
        }
    }

    /// True, once, when targets that were left to the outbox may come back: [`Self::restore`] should be called with
    /// all that it has.
    pub fn poll_revive(&mut self) -> bool {
        let now = self.parked && !self.reviving && self.targets.len() < MAX_TARGETS / 2;
        self.parked &= !now;
        self.reviving |= now;
        now
    }

    /// What [`Self::poll_revive`] asked for is done, or `failed`: then it asks again.
    pub fn handle_revived(&mut self, failed: bool) {
        self.reviving = false;
        self.parked |= failed;
    }

    /// Failures in a row of a destination's server: doubt is about the machine, not about one URL of it.
    fn failures(&self, to: &Destination) -> u32 {
        self.doubts.get(authority(&to.url)).copied().unwrap_or(0)
    }

    /// True when a target has something to deliver and may try.
    fn may_try(&self, t: &Target, room: Room) -> bool {
        let failures = self.failures(&t.destination);
        let most = if failures == 0 { MAX_OF_TARGET } else { 1 };
        room.allows(failures) && t.queue.flying() < most && t.queue.is_ready()
    }

    /// The next delivery to carry out at `now`, until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Job> {
        let turn = self.turn;
        let room = self.room();
        let due = |t: &Target| t.due_at().is_none_or(|at| at <= now) && self.may_try(t, room);
        let in_turn = || self.targets.range(turn + 1..).chain(self.targets.range(..=turn));
        let candidates: Vec<TargetId> = in_turn().filter(|(_, t)| due(t)).map(|(id, _)| *id).collect();
        for id in candidates {
            // Everything that is ready may wait for earlier events of its leg.
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

    /// The next question for the outbox, until `None`. A target that has to wait needs nothing yet.
    pub fn poll_load(&mut self) -> Option<Load> {
        let doubts = &self.doubts;
        self.targets.iter_mut().find_map(|(id, t)| {
            let failing = doubts.contains_key(authority(&t.destination.url));
            let (after, most) = t.queue.wants(failing)?;
            Some(Load { target: *id, destination: t.destination.clone(), after, most })
        })
    }

    /// What the outbox had, and how much more it has behind that.
    pub fn handle_loaded(&mut self, id: TargetId, items: Vec<Item>, left: u64) {
        if let Some(target) = self.targets.get_mut(&id) {
            target.queue.loaded(items, left);
        }
        self.forget_if_done(id);
    }

    /// The outbox has these rows now, which it could not take when they were queued.
    pub fn handle_stored(&mut self, rows: &BTreeSet<u64>) {
        self.targets.values_mut().for_each(|t| t.queue.stored(rows));
    }

    /// The outbox could not be asked for what [`Self::poll_load`] wanted, which is then wanted again.
    pub fn handle_not_loaded(&mut self, id: TargetId) {
        if let Some(target) = self.targets.get_mut(&id) {
            target.queue.not_loaded();
        }
    }

    /// A row that the outbox may forget, until `None`.
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

    /// What came of a delivery: why it failed, if it did.
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
                    // It stands though others that were under way are taken.
                    target.held = Some(self.held.hold(now, &target.destination, wait));
                }
                // Several that were under way when a server went down are one failure.
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

    fn remove(&mut self, id: TargetId) -> Option<Target> {
        let target = self.targets.remove(&id)?;
        self.names.remove(&target.destination);
        Some(target)
    }

    /// So many events were lost in the outbox: too old, or no room.
    pub fn note_lost(&mut self, count: u64) {
        self.counts.dropped += count;
    }

    /// When to call [`Self::poll`] next, if a target waits for its next try and may have it then. Where
    /// what is under way leaves no room, the next outcome is the time to ask again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let room = self.room();
        let waits = self.targets.values().filter(|t| self.may_try(t, room));
        waits.filter_map(Target::due_at).min()
    }

    /// True when nothing waits.
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

    /// How delivery goes, target by target.
    #[must_use]
    pub fn view(&self) -> Vec<TargetView> {
        let one = |t: &Target| TargetView {
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
