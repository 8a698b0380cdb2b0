//! Digits that came from the far end and wait to be reported to the gateway.

/// Digits that wait at most. Nobody types that fast: it is reached only while the report queue stands still.
const MAX_WAITING: usize = 64;

/// Digits in the order in which they came; one that finds the queue full is dropped and counted.
#[derive(Debug, Default)]
pub(super) struct DigitQueue {
    waiting: heapless::Deque<char, MAX_WAITING>,
    dropped: u64,
}

impl DigitQueue {
    /// Adds a digit.
    pub(super) fn push(&mut self, digit: char) {
        if self.waiting.push_back(digit).is_err() {
            self.dropped += 1;
        }
    }

    /// The oldest digit, which stays until it is removed.
    pub(super) fn front(&self) -> Option<char> {
        self.waiting.front().copied()
    }

    /// Removes the oldest digit.
    pub(super) fn pop(&mut self) {
        let _reported = self.waiting.pop_front();
    }

    /// True when no digit waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Digits dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_keep_their_order_and_those_too_many_are_counted() {
        let mut q = DigitQueue::default();
        ('0'..='9').cycle().take(MAX_WAITING + 3).for_each(|d| q.push(d));
        assert_eq!((q.front(), q.dropped()), (Some('0'), 3));
        q.pop();
        assert_eq!(q.front(), Some('1'));
        (1..MAX_WAITING).for_each(|_| q.pop());
        assert!(q.is_empty() && q.front().is_none());
    }
}
