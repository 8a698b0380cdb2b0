//! Upload queues of recordings, by destination: destinations do not delay each other, and an unreachable one
//! costs little. The next few of each are in memory, the rest in the outbox.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff;
use super::failure::{Failure, Held};
use crate::base::rng::Rng;
use crate::config::Place;

/// Recordings of one destination in memory.
pub const WINDOW: usize = 32;
/// Destinations in memory; recordings of others wait in the outbox until there is space.
pub const MAX_PLACES: usize = 64;
/// Concurrent uploads.
pub const MAX_IN_FLIGHT: usize = 6;
/// Concurrent uploads to one destination.
pub const MAX_OF_PLACE: usize = 2;
/// Concurrent uploads to doubtful destinations: the last upload failed, or none ever succeeded.
pub const MAX_DOUBTFUL: usize = 3;
/// An upload to a failing destination that has been running for this long no longer blocks others of its
/// kind.
const PROMISING: Duration = Duration::from_secs(60);
/// Most postponed recordings of one destination; beyond it the rest waits in the outbox.
const MAX_PUT_OFF: usize = 1024;
/// Consecutive failures after which a destination no longer counts as proven.
const UNPROVEN: u32 = 3;
/// Longest back-off delay.
const LONGEST: Duration = Duration::from_secs(600);

/// Identifies a destination.
pub type PlaceId = u64;

/// One upload to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Returned with the outcome.
    pub place_id: PlaceId,
    /// Destination.
    pub place: Arc<Place>,
    /// The recording.
    pub id: String,
    /// Consecutive failures of this destination.
    pub failures: u32,
}

/// A request to load recordings from the outbox: the oldest not yet uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Returned with the answer.
    pub place_id: PlaceId,
    /// Destination of the recordings.
    pub place: Arc<Place>,
    /// Most recordings to load.
    pub most: usize,
}

/// Upload state of a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Consecutive failures.
    pub failures: u32,
    /// Error of the last try.
    pub last_error: Option<String>,
    /// Time of the next try.
    pub next_try: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    id: String,
    /// Start time of the upload in flight.
    flying: Option<Instant>,
    /// Postponed because of the recording itself: time of the next try.
    not_before: Option<Instant>,
}

impl Entry {
    fn new(id: String) -> Self {
        Self { id, flying: None, not_before: None }
    }

    fn is_ready(&self, now: Instant) -> bool {
        self.flying.is_none() && self.not_before.is_none_or(|at| now >= at)
    }
}

#[derive(Debug)]
struct Group {
    place: Arc<Place>,
    entries: VecDeque<Entry>,
    /// The outbox holds, or may hold, further ones.
    more: bool,
    loading: bool,
    /// Further ones arrived during a load.
    meanwhile: bool,
    failures: u32,
    not_before: Option<Instant>,
    /// Earliest next try according to the server's `Retry-After`.
    held: Option<Instant>,
    last_error: Option<String>,
    /// An upload has succeeded recently.
    proven: bool,
}

impl Group {
    fn is_doubtful(&self) -> bool {
        self.failures > 0 || !self.proven
    }

    fn flying(&self) -> usize {
        self.entries.iter().filter(|e| e.flying.is_some()).count()
    }

    fn is_idle(&self) -> bool {
        self.entries.is_empty() && !self.more && !self.loading
    }

    /// Recordings that are ready, i.e. not postponed.
    fn fresh(&self) -> usize {
        self.entries.iter().filter(|e| e.not_before.is_none()).count()
    }

    /// When one of its recordings can be uploaded, ignoring global limits.
    fn ready_at(&self, now: Instant) -> Option<Instant> {
        if self.flying() >= MAX_OF_PLACE || (self.failures > 0 && self.flying() > 0) {
            return None;
        }
        let idle = self.entries.iter().filter(|e| e.flying.is_none());
        let first = idle.map(|e| e.not_before.unwrap_or(now)).min()?;
        Some(first).max(self.not_before.filter(|_| self.failures > 0)).max(self.held)
    }
}

/// Uploads in flight.
#[derive(Debug, Clone, Copy)]
struct Room {
    flying: usize,
    doubtful: usize,
    /// Start of the latest upload to a failing destination: its outcome is awaited before another one starts.
    on_trial: Option<Instant>,
}

impl Room {
    /// When another upload to this destination may start; `None` if not now.
    fn allows_at(self, now: Instant, to: &Group) -> Option<Instant> {
        if self.flying >= MAX_IN_FLIGHT || (to.is_doubtful() && self.doubtful >= MAX_DOUBTFUL) {
            return None;
        }
        let trial = self.on_trial.filter(|_| to.failures > 0);
        Some(trial.map_or(now, |since| (since + PROMISING).max(now)))
    }
}

/// Counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Finished uploads.
    pub done: u64,
    /// Failed tries.
    pub failed: u64,
}

/// The queues of all destinations.
#[derive(Debug)]
pub struct Uploads {
    groups: BTreeMap<PlaceId, Group>,
    ids: BTreeMap<Arc<Place>, PlaceId>,
    next_id: PlaceId,
    /// Destination served last: the round-robin search continues after it.
    served: PlaceId,
    /// The outbox holds recordings of destinations that did not fit into memory.
    parked: bool,
    /// Destinations with a pending `Retry-After`.
    held: Held<Arc<Place>>,
    /// Destinations whose recent uploads succeeded.
    proven: VecDeque<Arc<Place>>,
    counts: Counts,
    rng: Rng,
}

impl Uploads {
    /// No recordings yet.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self {
            groups: BTreeMap::new(),
            ids: BTreeMap::new(),
            next_id: 1,
            served: 0,
            parked: false,
            held: Held::default(),
            proven: VecDeque::new(),
            counts: Counts::default(),
            rng,
        }
    }

    fn group(&mut self, place: &Arc<Place>) -> Option<&mut Group> {
        let known = self.ids.get(place).copied();
        let (proven, held) = (self.proven.contains(place), self.held.until(place));
        if known.is_none() && self.groups.len() >= MAX_PLACES {
            self.parked = true;
            self.evict(proven)?;
        }
        let id = known.unwrap_or(self.next_id);
        if known.is_none() {
            self.next_id += 1;
            self.ids.insert(Arc::clone(place), id);
        }
        let fresh = || Group {
            place: Arc::clone(place),
            entries: VecDeque::new(),
            more: false,
            loading: false,
            meanwhile: false,
            failures: 0,
            not_before: None,
            held,
            last_error: None,
            proven,
        };
        Some(self.groups.entry(id).or_insert_with(fresh))
    }

    /// Evicts the destination with the most failures; in favour of a `proven` one, also one without failures
    /// that is not proven.
    fn evict(&mut self, proven: bool) -> Option<()> {
        let idle = |g: &Group| g.flying() == 0 && (g.failures > 0 || (proven && !g.proven));
        let idle = self.groups.iter().filter(|(_, g)| idle(g));
        let worst = *idle.max_by_key(|(_, g)| g.failures)?.0;
        let group = self.groups.remove(&worst)?;
        self.ids.remove(&group.place);
        Some(())
    }

    /// Adds a recording that the outbox has stored.
    pub fn push(&mut self, place: &Arc<Place>, id: String) {
        let Some(group) = self.group(place) else { return };
        if group.fresh() < WINDOW && !group.more && !group.loading {
            group.entries.push_back(Entry::new(id));
        } else {
            group.more = true;
            group.meanwhile = true;
        }
    }

    /// The outbox may hold recordings for this destination.
    pub fn restore(&mut self, place: &Arc<Place>) {
        if let Some(group) = self.group(place) {
            group.more = true;
            group.meanwhile = true;
        }
    }

    /// True once when the outbox should be queried for destinations that did not fit into memory.
    pub fn poll_revive(&mut self) -> bool {
        let due = self.parked && self.groups.len() <= MAX_PLACES / 2;
        self.parked &= !due;
        due
    }

    /// The next request to the outbox; call until `None`.
    pub fn poll_load(&mut self) -> Option<Load> {
        let wants = |g: &Group| {
            g.more && !g.loading && g.fresh() <= WINDOW / 4 && g.entries.len() < WINDOW + MAX_PUT_OFF
        };
        let (place_id, group) = self.groups.iter_mut().find(|(_, g)| wants(g))?;
        group.loading = true;
        group.meanwhile = false;
        let most = WINDOW + group.entries.len();
        Some(Load { place_id: *place_id, place: Arc::clone(&group.place), most })
    }

    /// Result of a load: `ids`, the oldest first; exactly `most` if there are more.
    pub fn handle_loaded(&mut self, place_id: PlaceId, ids: Vec<String>, most: usize) {
        let Some(group) = self.groups.get_mut(&place_id) else { return };
        group.loading = false;
        group.more = group.meanwhile || ids.len() >= most;
        for id in ids {
            if group.entries.iter().any(|e| e.id == id) {
                continue;
            }
            if group.fresh() >= WINDOW {
                group.more = true;
                break;
            }
            group.entries.push_back(Entry::new(id));
        }
        self.drop_idle(place_id);
    }

    /// A load failed.
    pub fn handle_not_loaded(&mut self, place_id: PlaceId) {
        if let Some(group) = self.groups.get_mut(&place_id) {
            group.loading = false;
        }
    }

    /// The next upload to carry out; call until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Job> {
        let room = self.room();
        let may = |g: &Group| {
            let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            due(g.ready_at(now)) && due(room.allows_at(now, g))
        };
        let behind = self.served;
        let id = *self
            .groups
            .range(behind + 1..)
            .chain(self.groups.range(..=behind))
            .find(|(_, g)| may(g))
            .map(|(id, _)| id)?;
        self.served = id;
        let group = self.groups.get_mut(&id)?;
        let entry = group.entries.iter_mut().find(|e| e.is_ready(now))?;
        entry.flying = Some(now);
        group.held = None;
        let (id, recording, failures) = (id, entry.id.clone(), group.failures);
        Some(Job { place_id: id, place: Arc::clone(&group.place), id: recording, failures })
    }

    fn room(&self) -> Room {
        let failed = self.groups.values().filter(|g| g.failures > 0);
        let since = failed.flat_map(|g| &g.entries).filter_map(|e| e.flying).max();
        let doubtful = || self.groups.values().filter(|g| g.is_doubtful());
        Room {
            flying: self.groups.values().map(Group::flying).sum(),
            doubtful: doubtful().map(Group::flying).sum(),
            on_trial: since,
        }
    }

    /// An upload has succeeded, or has failed permanently.
    pub fn handle_done(&mut self, place_id: PlaceId, id: &str, uploaded: bool) {
        self.counts.done += u64::from(uploaded);
        let Some(group) = self.groups.get_mut(&place_id) else { return };
        if uploaded {
            (group.failures, group.not_before, group.last_error) = (0, None, None);
            if !group.proven {
                group.proven = true;
                self.proven.retain(|p| *p != group.place);
                self.proven.push_back(Arc::clone(&group.place));
                self.proven.drain(..self.proven.len().saturating_sub(MAX_PLACES));
            }
        }
        group.entries.retain(|e| e.id != id);
        self.drop_idle(place_id);
    }

    /// An upload has failed; the other recordings of its destination are tried first. True if the destination
    /// worked before.
    pub fn handle_failed(&mut self, now: Instant, place_id: PlaceId, id: &str, failure: Failure) -> bool {
        self.counts.failed += 1;
        let Some(group) = self.groups.get_mut(&place_id) else { return false };
        group.failures = group.failures.saturating_add(1);
        group.not_before = Some(now + backoff::delay(group.failures, LONGEST, &mut self.rng));
        group.last_error = Some(failure.why);
        if let Some(wait) = failure.wait {
            // Kept even if another upload in flight succeeds.
            group.held = Some(self.held.hold(now, &group.place, wait));
        }
        if group.failures >= UNPROVEN {
            group.proven = false;
            self.proven.retain(|p| *p != group.place);
        }
        if let Some(at) = group.entries.iter().position(|e| e.id == id)
            && let Some(entry) = group.entries.remove(at)
        {
            group.entries.push_back(Entry { flying: None, ..entry });
        }
        group.failures == 1
    }

    /// An upload could not be tried for a reason other than its destination: it is retried after `wait`.
    pub fn handle_put_off(&mut self, now: Instant, place_id: PlaceId, id: &str, wait: Duration) {
        self.counts.failed += 1;
        let Some(group) = self.groups.get_mut(&place_id) else { return };
        for entry in group.entries.iter_mut().filter(|e| e.id == id) {
            (entry.flying, entry.not_before) = (None, Some(now + wait));
        }
    }

    /// A recording was deleted; if it is in flight, its outcome is still reported.
    pub fn forget(&mut self, place: &Arc<Place>, id: &str) {
        let Some(place_id) = self.ids.get(place).copied() else { return };
        if let Some(group) = self.groups.get_mut(&place_id) {
            group.entries.retain(|e| e.flying.is_some() || e.id != id);
        }
        self.drop_idle(place_id);
    }

    fn drop_idle(&mut self, place_id: PlaceId) {
        if self.groups.get(&place_id).is_some_and(Group::is_idle)
            && let Some(group) = self.groups.remove(&place_id)
        {
            self.ids.remove(&group.place);
        }
    }

    /// When to call [`Self::poll`] next if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let room = self.room();
        let due = |g: &Group| Some(g.ready_at(now)?.max(room.allows_at(now, g)?));
        self.groups.values().filter_map(due).min()
    }

    /// Upload state of a destination.
    #[must_use]
    pub fn view(&self, place: &Place) -> View {
        let group = self.ids.get(place).and_then(|id| self.groups.get(id));
        group.map_or_else(View::default, |g| View {
            failures: g.failures,
            last_error: g.last_error.clone(),
            next_try: g.not_before.max(g.held).filter(|_| g.flying() == 0),
        })
    }

    /// Counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Number of destinations in memory, and of recordings.
    #[must_use]
    pub fn in_memory(&self) -> (usize, usize) {
        (self.groups.len(), self.groups.values().map(|g| g.entries.len()).sum())
    }
}

#[cfg(test)]
#[path = "uploads_test.rs"]
mod tests;
