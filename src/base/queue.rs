//! Bounded queues, named after what they do when full; they count what they drop or refuse.

use std::collections::VecDeque;

/// Bounded queue that drops the oldest entry when full.
#[derive(Debug)]
pub struct DropOldest<T> {
    q: VecDeque<T>,
    cap: usize,
    dropped: u64,
}

impl<T> DropOldest<T> {
    /// A queue of at most `cap` entries (at least one).
    #[must_use]
    pub fn new(cap: usize) -> Self {
        Self { q: VecDeque::new(), cap: cap.max(1), dropped: 0 }
    }

    /// Appends `v`; a full queue drops and returns its oldest entry.
    pub fn push(&mut self, v: T) -> Option<T> {
        let lost = if self.q.len() >= self.cap { self.q.pop_front() } else { None };
        self.dropped += u64::from(lost.is_some());
        self.q.push_back(v);
        lost
    }

    /// Removes and returns the oldest entry.
    pub fn pop(&mut self) -> Option<T> {
        self.q.pop_front()
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.q.len()
    }

    /// True without entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.q.is_empty()
    }

    /// Entries dropped so far, for `/metrics`.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Bounded queue that refuses new entries when full.
#[derive(Debug)]
pub struct Reject<T> {
    q: VecDeque<T>,
    cap: usize,
    refused: u64,
}

impl<T> Reject<T> {
    /// A queue of at most `cap` entries (at least one).
    #[must_use]
    pub fn new(cap: usize) -> Self {
        Self { q: VecDeque::new(), cap: cap.max(1), refused: 0 }
    }

    /// Appends `v`, or returns it if the queue is full.
    pub fn push(&mut self, v: T) -> Result<(), T> {
        if self.q.len() >= self.cap {
            self.refused += 1;
            return Err(v);
        }
        self.q.push_back(v);
        Ok(())
    }

    /// Removes and returns the oldest entry.
    pub fn pop(&mut self) -> Option<T> {
        self.q.pop_front()
    }

    /// Entries refused so far, for `/metrics`.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_oldest_keeps_the_newest_and_counts() {
        let mut q = DropOldest::new(2);
        assert_eq!(q.push(1), None);
        assert_eq!(q.push(2), None);
        assert_eq!(q.push(3), Some(1));
        assert_eq!((q.len(), q.dropped()), (2, 1));
        assert_eq!((q.pop(), q.pop(), q.pop()), (Some(2), Some(3), None));
        assert!(q.is_empty());
    }

    #[test]
    fn reject_gives_back_and_counts() {
        let mut q = Reject::new(1);
        assert_eq!(q.push(1), Ok(()));
        assert_eq!(q.push(2), Err(2));
        assert_eq!((q.pop(), q.pop(), q.refused()), (Some(1), None, 1));
    }
}
