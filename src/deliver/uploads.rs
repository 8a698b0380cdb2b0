//! Recordings that wait to be uploaded, by where they go: none of the places delays another, and a dead one costs next to
//! nothing. The next few of each are in memory, the rest in the outbox.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff;
use super::failure::{Failure, Held};
use crate::base::rng::Rng;
use crate::config::Place;

/// Recordings of one place in memory.
pub const WINDOW: usize = 32;
/// Places in memory; recordings of others wait in the outbox until there is room.
pub const MAX_PLACES: usize = 64;
/// Uploads under way at once.
pub const MAX_IN_FLIGHT: usize = 6;
/// Of these, uploads to one place.
pub const MAX_OF_PLACE: usize = 2;
/// Of these, uploads to places that failed last time, or have never taken one.
pub const MAX_DOUBTFUL: usize = 3;
/// An upload to such a place that goes on for longer keeps no other of its kind waiting.
const PROMISING: Duration = Duration::from_secs(60);
/// Recordings of one place that are put off at most; past it the rest of them waits in the outbox.
const MAX_PUT_OFF: usize = 1024;
/// Failures in a row after which it counts no more that a place has taken uploads before.
const UNPROVEN: u32 = 3;
/// Longest wait between two tries.
const LONGEST: Duration = Duration::from_secs(600);

/// Names a place.
pub type PlaceId = u64;

/// One upload to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Goes back with the outcome.
    pub place_id: PlaceId,
    /// Where to.
    pub place: Arc<Place>,
    /// The recording.
    pub id: String,
    /// Failures in a row of this place.
    pub failures: u32,
}

/// Recordings that the outbox should be asked for: the oldest that are not uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Goes back with the answer.
    pub place_id: PlaceId,
    /// Whose recordings.
    pub place: Arc<Place>,
    /// So many at most.
    pub most: usize,
}

/// How a place is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Failures in a row.
    pub failures: u32,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// When the next one is.
    pub next_try: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    id: String,
    /// On its way, since when.
    flying: Option<Instant>,
    /// It is its own fault that it is not uploaded: when it is tried again.
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
    /// The outbox has, or may have, further ones.
    more: bool,
    loading: bool,
    /// Further ones came while the outbox was being asked.
    meanwhile: bool,
    failures: u32,
    not_before: Option<Instant>,
    /// The server does not want to be asked before.
    held: Option<Instant>,
    last_error: Option<String>,
    /// It has taken an upload not long ago.
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

    /// Recordings that wait for their turn, not for better times.
    fn fresh(&self) -> usize {
        self.entries.iter().filter(|e| e.not_before.is_none()).count()
    }

    /// When something of it can be uploaded, seen from this place alone.
    fn ready_at(&self, now: Instant) -> Option<Instant> {
        if self.flying() >= MAX_OF_PLACE || (self.failures > 0 && self.flying() > 0) {
            return None;
        }
        let idle = self.entries.iter().filter(|e| e.flying.is_none());
        let first = idle.map(|e| e.not_before.unwrap_or(now)).min()?;
        Some(first).max(self.not_before.filter(|_| self.failures > 0)).max(self.held)
    }
}

/// What is under way.
#[derive(Debug, Clone, Copy)]
struct Room {
    flying: usize,
    doubtful: usize,
    /// One to a place in doubt has just begun: whether that is worth anything will soon be known.
    on_trial: Option<Instant>,
}

impl Room {
    /// When one more upload may begin, to this place.
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
    /// Uploads that are done.
    pub done: u64,
    /// Tries that failed.
    pub failed: u64,
}

/// The queues of all places.
#[derive(Debug)]
pub struct Uploads {
    groups: BTreeMap<PlaceId, Group>,
    ids: BTreeMap<Arc<Place>, PlaceId>,
    next_id: PlaceId,
    /// The place that was served last: the next one comes first.
    served: PlaceId,
    /// The outbox has recordings of places that there was no room for.
    parked: bool,
    /// Places that want to be left alone.
    held: Held<Arc<Place>>,
    /// Places that took the last uploads.
    proven: VecDeque<Arc<Place>>,
    counts: Counts,
    rng: Rng,
}

impl Uploads {
    /// No recordings.
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

    /// Leaves the place that has failed most often to the outbox; or, for one that is proven, any that is not.
    fn evict(&mut self, proven: bool) -> Option<()> {
        let idle = |g: &Group| g.flying() == 0 && (g.failures > 0 || (proven && !g.proven));
        let idle = self.groups.iter().filter(|(_, g)| idle(g));
        let worst = *idle.max_by_key(|(_, g)| g.failures)?.0;
        let group = self.groups.remove(&worst)?;
        self.ids.remove(&group.place);
        Some(())
    }

    /// A recording is to be uploaded; the outbox has it.
    pub fn push(&mut self, place: &Arc<Place>, id: String) {
        let Some(group) = self.group(place) else { return };
        if group.fresh() < WINDOW && !group.more && !group.loading {
            group.entries.push_back(Entry::new(id));
        } else {
            group.more = true;
            group.meanwhile = true;
        }
    }

    /// The outbox may have recordings for this place.
    pub fn restore(&mut self, place: &Arc<Place>) {
        if let Some(group) = self.group(place) {
            group.more = true;
            group.meanwhile = true;
        }
    }

    /// True once when the outbox should be asked for places that there was no room for.
    pub fn poll_revive(&mut self) -> bool {
        let due = self.parked && self.groups.len() <= MAX_PLACES / 2;
        self.parked &= !due;
        due
    }

    /// What the outbox should be asked for, until `None`.
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

    /// What the outbox had: `ids`, the oldest first; `most` of them if there are more.
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

    /// The outbox could not be asked.
    pub fn handle_not_loaded(&mut self, place_id: PlaceId) {
        if let Some(group) = self.groups.get_mut(&place_id) {
            group.loading = false;
        }
    }

    /// The next upload to carry out, until `None`.
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

    /// An upload is done, or never will be.
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

    /// An upload has failed; the others of its place have their turn first. True when the place did well before.
    pub fn handle_failed(&mut self, now: Instant, place_id: PlaceId, id: &str, failure: Failure) -> bool {
        self.counts.failed += 1;
        let Some(group) = self.groups.get_mut(&place_id) else { return false };
        group.failures = group.failures.saturating_add(1);
        group.not_before = Some(now + backoff::delay(group.failures, LONGEST, &mut self.rng));
        group.last_error = Some(failure.why);
        if let Some(wait) = failure.wait {
            // It stands though another that was under way succeeds.
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

    /// An upload could not be tried, which is not the fault of its place: its turn comes again after `wait`.
    pub fn handle_put_off(&mut self, now: Instant, place_id: PlaceId, id: &str, wait: Duration) {
        self.counts.failed += 1;
        let Some(group) = self.groups.get_mut(&place_id) else { return };
        for entry in group.entries.iter_mut().filter(|e| e.id == id) {
            (entry.flying, entry.not_before) = (None, Some(now + wait));
        }
    }

    /// A recording is deleted; one that is on its way comes back as done or failed.
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

    /// When [`Self::poll`] is worth calling again though nothing has happened, seen from `now`.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let room = self.room();
        let due = |g: &Group| Some(g.ready_at(now)?.max(room.allows_at(now, g)?));
        self.groups.values().filter_map(due).min()
    }

    /// How a place is doing.
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

    /// Places in memory, and recordings.
    #[must_use]
    pub fn in_memory(&self) -> (usize, usize) {
        (self.groups.len(), self.groups.values().map(|g| g.entries.len()).sum())
    }
}

#[cfg(test)]
#[path = "uploads_test.rs"]
mod tests;
