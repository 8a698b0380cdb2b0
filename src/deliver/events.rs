//! Queues of events, one a target: in order, one at a time, none of them delaying another.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::backoff;
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

/// An event on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Goes into `X-Event-Id`.
    pub event_id: String,
    /// The body, byte for byte the same at every try.
    pub body: Arc<[u8]>,
    /// The last event of a leg or recording: dropped only when nothing else is left to drop.
    pub terminal: bool,
}

/// Events of one target held at most; past it the oldest that is not terminal is dropped and counted.
pub const MAX_QUEUED: usize = 1000;
/// Targets with events at once; past it the worst loses its events, which are counted.
pub const MAX_TARGETS: usize = 1024;
/// Deliveries under way at once.
pub const MAX_IN_FLIGHT: usize = 8;
/// Of these, deliveries to targets that failed last time.
pub const MAX_DOUBTFUL: usize = 2;

/// Names a target.
pub type TargetId = u64;

#[derive(Debug)]
struct Target {
    destination: Destination,
    queue: VecDeque<Item>,
    in_flight: bool,
    not_before: Option<Instant>,
}

impl Target {
    fn is_waiting(&self) -> bool {
        !self.in_flight && !self.queue.is_empty()
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

/// Servers whose failures are remembered.
const MAX_DOUBTS: usize = 1024;

/// `https://host:port` of a URL.
fn authority(url: &str) -> &str {
    let from = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(from..).and_then(|rest| rest.find(['/', '?'])).map_or(url.len(), |at| from + at);
    url.get(..end).unwrap_or(url)
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
}

/// All queues.
#[derive(Debug)]
pub struct EventQueues {
    targets: BTreeMap<TargetId, Target>,
    /// Failures in a row by server.
    doubts: BTreeMap<String, u32>,
    next: TargetId,
    /// Where the search for the next job goes on, so that all get their turn.
    turn: TargetId,
    rng: Rng,
    counts: Counts,
}

impl EventQueues {
    /// No targets yet.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self {
            targets: BTreeMap::new(),
            doubts: BTreeMap::new(),
            next: 0,
            turn: 0,
            rng,
            counts: Counts::default(),
        }
    }

    /// Queues an event.
    pub fn push(&mut self, to: &Destination, item: Item) {
        let known = self.targets.iter().find(|(_, t)| t.destination == *to).map(|(id, _)| *id);
        let id = match known {
            Some(id) => id,
            None => {
                if self.targets.len() >= MAX_TARGETS {
                    self.drop_worst();
                }
                self.add(to)
            }
        };
        let Some(target) = self.targets.get_mut(&id) else { return };
        self.counts.enqueued += 1;
        target.queue.push_back(item);
        if target.queue.len() > MAX_QUEUED {
            // The first in line may be on its way just now.
            let from = usize::from(target.in_flight);
            let at = target.queue.iter().skip(from).position(|i| !i.terminal).map_or(from, |p| p + from);
            target.queue.remove(at);
            self.counts.dropped += 1;
        }
    }

    fn add(&mut self, to: &Destination) -> TargetId {
        self.next += 1;
        let target =
            Target { destination: to.clone(), queue: VecDeque::new(), in_flight: false, not_before: None };
        self.targets.insert(self.next, target);
        self.next
    }

    /// Makes room: the target whose server has failed most often loses its events.
    fn drop_worst(&mut self) {
        let failures = |t: &Target| self.failures(&t.destination);
        let idle = self.targets.iter().filter(|(_, t)| !t.in_flight && !t.destination.trusted);
        let Some(id) = idle.max_by_key(|(_, t)| failures(t)).map(|(id, _)| *id) else { return };
        if let Some(t) = self.targets.remove(&id) {
            self.counts.dropped += t.queue.len() as u64;
        }
    }

    /// Failures in a row of a destination's server: doubt is about the machine, not about one URL of it.
    fn failures(&self, to: &Destination) -> u32 {
        self.doubts.get(authority(&to.url)).copied().unwrap_or(0)
    }

    /// The next delivery to carry out at `now`, until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Job> {
        let turn = self.turn;
        let after = self.targets.range(turn + 1..).chain(self.targets.range(..=turn));
        let room = self.room();
        let due = |t: &Target| {
            room.allows(self.failures(&t.destination)) && t.not_before.is_none_or(|at| at <= now)
        };
        let id = after.into_iter().find(|(_, t)| t.is_waiting() && due(t)).map(|(id, _)| *id)?;
        self.turn = id;
        let target = self.targets.get_mut(&id)?;
        target.in_flight = true;
        let item = target.queue.front()?.clone();
        Some(Job { target: id, destination: target.destination.clone(), item })
    }

    fn room(&self) -> Room {
        let flying = self.targets.values().filter(|t| t.in_flight);
        let doubtful = flying.clone().filter(|t| self.failures(&t.destination) > 0).count();
        Room { flying: flying.count(), doubtful }
    }

    /// What came of a delivery.
    pub fn handle_outcome(&mut self, now: Instant, id: TargetId, delivered: bool) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        target.in_flight = false;
        let server = authority(&target.destination.url).to_owned();
        if delivered {
            target.queue.pop_front();
            target.not_before = None;
            self.doubts.remove(&server);
            self.counts.delivered += 1;
        } else {
            if self.doubts.len() >= MAX_DOUBTS {
                self.doubts.pop_first();
            }
            let failures = self.doubts.entry(server).or_default();
            *failures = failures.saturating_add(1);
            target.not_before = Some(now + backoff::delay(*failures, &mut self.rng));
            self.counts.failed += 1;
        }
        if target.queue.is_empty() {
            self.targets.remove(&id);
        }
    }

    /// When to call [`Self::poll`] next, if a target waits for its next try and may have it then. Where
    /// what is under way leaves no room, the next outcome is the time to ask again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let room = self.room();
        let waits =
            self.targets.values().filter(|t| t.is_waiting() && room.allows(self.failures(&t.destination)));
        waits.filter_map(|t| t.not_before).min()
    }

    /// True when nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let waiting = self.targets.values().map(|t| t.queue.len() as u64).sum();
        Counts { waiting, ..self.counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[expect(clippy::disallowed_methods, reason = "an arbitrary epoch")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn to(url: &str) -> Destination {
        Destination { url: url.into(), secret: String::new(), trusted: true }
    }

    fn item(n: usize, terminal: bool) -> Item {
        Item { event_id: n.to_string(), body: Arc::from(n.to_string().as_bytes()), terminal }
    }

    #[test]
    fn a_dead_target_delays_nobody_and_keeps_its_order() {
        for seed in 0..300 {
            let mut rng = Rng::from_number(seed);
            let mut q = EventQueues::new(rng.fork());
            let mut now = epoch();
            for n in 0..50 {
                q.push(&to("dead"), item(n, false));
                q.push(&to("good"), item(n, false));
            }
            let end = now + Duration::from_secs(600);
            let back = now + Duration::from_secs(300);
            let (mut good, mut dead, mut tries) = (Vec::new(), Vec::new(), 0);
            while now < end && !q.is_empty() {
                while let Some(job) = q.poll(now) {
                    // One try in ten is lost anyway.
                    let lost = rng.chance(10);
                    let ok = !lost && (job.destination.url == "good" || now >= back);
                    if job.destination.url == "dead" && now < back {
                        tries += 1;
                    }
                    if ok {
                        let list = if job.destination.url == "good" { &mut good } else { &mut dead };
                        list.push(job.item.event_id.parse::<usize>().unwrap());
                    }
                    q.handle_outcome(now, job.target, ok);
                }
                now = q.poll_timeout().unwrap_or(end).max(now + Duration::from_millis(1));
            }
            assert_eq!(good, (0..50).collect::<Vec<_>>(), "seed {seed}");
            assert_eq!(dead, (0..50).collect::<Vec<_>>(), "seed {seed}");
            assert!((8..=14).contains(&tries), "seed {seed}: {tries} tries in five minutes");
        }
    }

    #[test]
    fn a_full_queue_loses_the_oldest_that_is_not_the_last_word() {
        let mut q = EventQueues::new(Rng::from_number(1));
        let now = epoch();
        q.push(&to("x"), item(0, true));
        for n in 1..=MAX_QUEUED + 5 {
            q.push(&to("x"), item(n, n % 2 == 0));
        }
        assert_eq!((q.counts().dropped, q.counts().waiting), (6, MAX_QUEUED as u64));
        let mut got = Vec::new();
        while let Some(job) = q.poll(now) {
            got.push(job.item.event_id.parse::<usize>().unwrap());
            q.handle_outcome(now, job.target, true);
        }
        assert_eq!(got[..4], [0, 2, 4, 6]);
        assert!(got.contains(&(MAX_QUEUED + 5)));
        assert!(q.is_empty() && q.poll_timeout().is_none());
    }

    #[test]
    fn no_wake_up_is_asked_for_that_nothing_could_use() {
        let mut q = EventQueues::new(Rng::from_number(1));
        let now = epoch();
        for n in 0..5 {
            q.push(&to(&format!("http://dead{n}/")), item(n, false));
        }
        let jobs: Vec<Job> = std::iter::from_fn(|| q.poll(now)).collect();
        jobs.iter().for_each(|j| q.handle_outcome(now, j.target, false));
        let later = now + Duration::from_secs(5);
        let hanging: Vec<Job> = std::iter::from_fn(|| q.poll(later)).collect();
        assert_eq!((hanging.len(), q.poll_timeout()), (MAX_DOUBTFUL, None));
        q.handle_outcome(later, hanging[0].target, false);
        assert!(q.poll_timeout().is_some());
    }

    #[test]
    fn a_new_url_of_a_failed_server_is_in_doubt_too_and_a_crowd_never_shuts_others_out() {
        let mut q = EventQueues::new(Rng::from_number(1));
        let now = epoch();
        for n in 0..MAX_TARGETS + 50 {
            let leg = Destination { trusted: false, ..to(&format!("http://dead:1/{n}")) };
            q.push(&leg, item(n, false));
            if n == 0 {
                let job = q.poll(now).unwrap();
                q.handle_outcome(now, job.target, false);
            }
        }
        q.push(&to("http://good/"), item(7, false));
        let jobs: Vec<Job> = std::iter::from_fn(|| q.poll(now)).collect();
        let dead = jobs.iter().filter(|j| j.destination.url.contains("dead")).count();
        assert_eq!((dead, jobs.len()), (MAX_DOUBTFUL, MAX_DOUBTFUL + 1));
        assert_eq!(q.counts().dropped, 51);
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        let mut q = EventQueues::new(Rng::from_number(1));
        let now = epoch();
        for n in 0..20 {
            q.push(&to(&format!("t{n}")), item(n, false));
        }
        let jobs: Vec<Job> = std::iter::from_fn(|| q.poll(now)).collect();
        assert_eq!(jobs.len(), MAX_IN_FLIGHT);
        for job in &jobs {
            q.handle_outcome(now, job.target, false);
        }
        let later = now + Duration::from_secs(5);
        let jobs: Vec<Job> = std::iter::from_fn(|| q.poll(later)).collect();
        assert_eq!(jobs.len(), MAX_IN_FLIGHT, "others first, then at most two that failed");
        let again =
            jobs.iter().filter(|j| j.destination.url.as_str() < "t8" && j.destination.url.len() == 2).count();
        assert!(again <= MAX_DOUBTFUL, "{again}");
    }
}
