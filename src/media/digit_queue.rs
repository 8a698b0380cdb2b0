//! Digits received from the far end that are not yet reported to the gateway.

/// Maximum digits queued. Only reached if the report queue is blocked.
const MAX_WAITING: usize = 64;

/// Digits in order of arrival; digits that exceed the queue are dropped and counted.
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

    /// The oldest digit, without removing it.
    pub(super) fn front(&self) -> Option<char> {
        self.waiting.front().copied()
    }

    /// Removes the oldest digit.
    pub(super) fn pop(&mut self) {
        let _reported = self.waiting.pop_front();
    }

    /// True if no digit is queued.
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
    fn digits_keep_their_order_and_overflow_is_counted() {
        let mut q = DigitQueue::default();
        ('0'..='9').cycle().take(MAX_WAITING + 3).for_each(|d| q.push(d));
        assert_eq!((q.front(), q.dropped()), (Some('0'), 3));
        q.pop();
        assert_eq!(q.front(), Some('1'));
        (1..MAX_WAITING).for_each(|_| q.pop());
        assert!(q.is_empty() && q.front().is_none());
    }
}
