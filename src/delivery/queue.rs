//! Event queue of one target: the next few in memory, the rest in the outbox. In order per leg; events of
//! different legs may overtake each other.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::share::{Holding, Origin, to_give_up};

/// An event to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Row in the outbox; increases with each event.
    pub row: u64,
    /// The leg it belongs to: events of one leg stay in order.
    pub leg: Option<Arc<str>>,
    /// Value of `X-Event-Id`.
    pub event_id: String,
    /// The body, identical at every try.
    pub body: Arc<[u8]>,
    /// Terminal event of a leg or recording: dropped only if nothing else is left to drop.
    pub terminal: bool,
    /// Its origin, for fair dropping: the origin with the most events loses first.
    pub origin: Origin,
    /// Stored in the outbox.
    pub stored: bool,
}

/// Stored events held in memory.
pub const WINDOW: usize = 32;
/// Events held in memory because the outbox could not store them, or to keep their order after such events.
pub const MAX_TAIL: usize = 1000;

#[derive(Debug)]
struct Entry {
    item: Item,
    flying: bool,
}

/// Queue of one target: `head`, then events held by the outbox only, then `tail`.
#[derive(Debug, Default)]
pub(super) struct Queue {
    head: VecDeque<Entry>,
    /// Events after the head that only the outbox holds.
    beyond: u64,
    tail: VecDeque<Item>,
    /// Largest row that has been in the head.
    loaded: u64,
    loading: bool,
    /// Events that arrived during a load: the outbox may not have counted them.
    meanwhile: u64,
}

impl Queue {
    /// A queue for which the outbox already holds `count` events.
    pub(super) fn with_stored(count: u64) -> Self {
        Self { beyond: count, ..Self::default() }
    }

    /// Appends an event; returns the one dropped in exchange.
    pub(super) fn push(&mut self, item: Item) -> Option<Item> {
        if item.stored && item.row <= self.loaded {
            // Already counted in the outbox.
            return None;
        }
        let straight = self.beyond == 0 && self.tail.is_empty();
        if straight && self.head.len() < WINDOW {
            self.put(item);
        } else if item.stored && self.tail.is_empty() {
            self.beyond += 1;
            self.meanwhile += u64::from(self.loading);
        } else {
            self.tail.push_back(item);
        }
        if self.tail.len() <= MAX_TAIL {
            return None;
        }
        if self.leave_tail() {
            return None;
        }
        // Candidates for dropping: only events not in the outbox; one in flight may have been delivered
        // already.
        let head = self.head.iter().filter(|e| !e.flying).map(|e| &e.item);
        let alone = || head.clone().chain(&self.tail).filter(|i| !i.stored);
        let size = |i: &Item| i.body.len() as u64 + 1;
        let held =
            alone().map(|i| Holding { row: i.row, origin: i.origin, terminal: i.terminal, size: size(i) });
        let room = alone().map(size).sum::<u64>().saturating_sub(1);
        let row = *to_give_up(held, room).first()?;
        if let Some(at) = self.head.iter().position(|e| e.item.row == row) {
            return self.head.remove(at).map(|e| e.item);
        }
        let at = self.tail.iter().position(|i| i.row == row)?;
        self.tail.remove(at)
    }

    /// Drops the tail from memory if the outbox holds all of it; returns whether it did.
    fn leave_tail(&mut self) -> bool {
        let whole = self.tail.iter().all(|i| i.stored);
        if whole {
            self.beyond += self.tail.len() as u64;
            self.tail.clear();
        }
        whole
    }

    /// The outbox has now stored these rows; a pending load has already counted them.
    pub(super) fn stored(&mut self, rows: &BTreeSet<u64>) {
        for entry in self.head.iter_mut().filter(|e| rows.contains(&e.item.row)) {
            entry.item.stored = true;
            self.loaded = self.loaded.max(entry.item.row);
        }
        self.tail.iter_mut().filter(|i| rows.contains(&i.row)).for_each(|i| i.stored = true);
        self.leave_tail();
    }

    fn put(&mut self, item: Item) {
        if item.stored {
            self.loaded = self.loaded.max(item.row);
        }
        self.head.push_back(Entry { item, flying: false });
    }

    /// The next event to deliver: the first event of a leg without an event in flight.
    pub(super) fn next(&mut self) -> Option<Item> {
        if self.head.is_empty() && self.beyond == 0 {
            while self.head.len() < WINDOW
                && let Some(item) = self.tail.pop_front()
            {
                self.put(item);
            }
        }
        let first_of_leg = |at: usize| {
            let leg = self.head.get(at).map(|e| &e.item.leg);
            self.head.iter().take(at).all(|e| Some(&e.item.leg) != leg)
        };
        let at = (0..self.head.len()).find(|i| {
            let flying = self.head.get(*i).is_some_and(|e| e.flying);
            !flying && first_of_leg(*i)
        })?;
        let entry = self.head.get_mut(at)?;
        entry.flying = true;
        Some(entry.item.clone())
    }

    /// An event was delivered; it is removed.
    pub(super) fn done(&mut self, row: u64) {
        self.head.retain(|e| e.item.row != row);
    }

    /// A delivery failed; while its target fails, memory holds only the event to be tried next.
    pub(super) fn failed(&mut self, row: u64) {
        self.head.iter_mut().filter(|e| e.item.row == row).for_each(|e| e.flying = false);
        // A pending load starts after the current head.
        while !self.loading
            && self.head.len() > 1
            && self.head.back().is_some_and(|e| !e.flying && e.item.stored)
        {
            if let Some(entry) = self.head.pop_back() {
                self.beyond += 1;
                self.loaded = entry.item.row.saturating_sub(1);
            }
        }
    }

    /// The next load request: events after this row, and how many. While the target is `failing`, only the
    /// one to retry.
    pub(super) fn wants(&mut self, failing: bool) -> Option<(u64, usize)> {
        let (few, most) = if failing { (0, 1) } else { (WINDOW / 4, WINDOW - self.head.len().min(WINDOW)) };
        if self.loading || self.beyond == 0 || self.head.len() > few {
            return None;
        }
        (self.loading, self.meanwhile) = (true, 0);
        Some((self.loaded, most))
    }

    /// A load failed: the counters stay unchanged.
    pub(super) fn not_loaded(&mut self) {
        self.loading = false;
    }

    /// Result of a load; the outbox holds `left` more after it.
    pub(super) fn loaded(&mut self, items: Vec<Item>, left: u64) {
        self.loading = false;
        // The outbox also holds part of the tail.
        let tail = || self.tail.iter().filter(|i| i.stored);
        let end = tail().map(|i| i.row).min().unwrap_or(u64::MAX);
        let behind = tail().count() as u64;
        let known = self.loaded;
        items.into_iter().filter(|i| i.row > known && i.row < end).for_each(|i| self.put(i));
        self.beyond = (left + self.meanwhile).saturating_sub(behind);
    }

    /// Events waiting or in flight.
    pub(super) fn len(&self) -> u64 {
        self.head.len() as u64 + self.beyond + self.tail.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Events in flight.
    pub(super) fn flying(&self) -> usize {
        self.head.iter().filter(|e| e.flying).count()
    }

    /// True if an event can be delivered now.
    pub(super) fn is_ready(&self) -> bool {
        self.head.iter().any(|e| !e.flying)
            || (self.head.is_empty() && self.beyond == 0 && !self.tail.is_empty())
    }

    /// Events held in memory.
    #[cfg(test)]
    pub(super) fn in_memory(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Events that are not in the outbox.
    pub(super) fn volatile(&self) -> u64 {
        let head = self.head.iter().filter(|e| !e.item.stored).count();
        (head + self.tail.iter().filter(|i| !i.stored).count()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(row: u64) -> Item {
        let leg = Some(Arc::from(format!("leg {row}")));
        Item {
            row,
            leg,
            event_id: row.to_string(),
            body: Arc::from([]),
            terminal: false,
            origin: Origin::Own,
            stored: true,
        }
    }

    #[test]
    fn a_failure_while_the_outbox_is_asked_skips_nothing() {
        let mut queue = Queue::with_stored(40);
        assert_eq!(queue.wants(false), Some((0, WINDOW)));
        queue.loaded((1..=8).map(item).collect(), 32);
        let first = queue.next().unwrap().row;
        assert_eq!(queue.wants(false), Some((8, WINDOW - 8)));
        queue.failed(first);
        queue.loaded((9..=32).map(item).collect(), 8);
        let mut told = Vec::new();
        while told.len() < 40 {
            match queue.next() {
                Some(item) => {
                    queue.done(item.row);
                    told.push(item.row);
                }
                None => {
                    let (after, most) = queue.wants(false).unwrap();
                    let end = 40.min(after + most as u64);
                    queue.loaded((after + 1..=end).map(item).collect(), 40 - end);
                }
            }
        }
        assert_eq!(told, (1..=40).collect::<Vec<_>>());
        assert!(queue.is_empty());
    }

    #[test]
    fn what_the_outbox_takes_late_is_neither_lost_nor_told_twice() {
        let mut queue = Queue::default();
        for row in 1..=100 {
            assert_eq!(queue.push(Item { stored: false, ..item(row) }), None);
        }
        assert_eq!((queue.in_memory(), queue.volatile()), (100, 100));
        let first = queue.next().unwrap().row;
        // The outbox stores all but one, which was dropped.
        queue.stored(&(1..=100).filter(|row| *row != 50).collect());
        assert_eq!(queue.volatile(), 1);
        queue.done(first);
        let mut told = vec![first];
        while let Some(item) = queue.next() {
            queue.done(item.row);
            told.push(item.row);
        }
        assert_eq!((told, queue.len()), ((1..=100).collect::<Vec<_>>(), 0));
        // All of them: only the next few stay in memory.
        (101..=200).for_each(|row| assert_eq!(queue.push(Item { stored: false, ..item(row) }), None));
        queue.stored(&(101..=200).collect());
        assert_eq!((queue.in_memory(), queue.len(), queue.volatile()), (WINDOW, 100, 0));
        assert_eq!(queue.push(item(201)), None);
        assert_eq!(queue.len(), 101);
        (101..=132).for_each(|row| queue.done(row));
        assert_eq!(queue.wants(false), Some((132, WINDOW)));
        queue.loaded((133..=164).map(item).collect(), 37);
        assert_eq!((queue.len(), queue.next().map(|i| i.row)), (69, Some(133)));
    }

    #[test]
    fn what_the_outbox_has_is_never_dropped_for_want_of_memory() {
        let mut queue = Queue::default();
        (1..=40).for_each(|row| assert_eq!(queue.push(Item { stored: false, ..item(row) }), None));
        let mut lost = Vec::new();
        for row in 41..=2000 {
            lost.extend(queue.push(Item { stored: row != 60, ..item(row) }).map(|i| i.row));
        }
        assert!(lost.iter().all(|row| *row <= 40 || *row == 60), "{lost:?}");
        assert_eq!(queue.len() + lost.len() as u64, 2000);
    }

    #[test]
    fn what_cannot_be_read_now_is_asked_for_again() {
        let mut queue = Queue::with_stored(3);
        assert!(queue.wants(false).is_some() && queue.wants(false).is_none());
        queue.not_loaded();
        assert_eq!((queue.len(), queue.wants(false)), (3, Some((0, WINDOW))));
    }
}
