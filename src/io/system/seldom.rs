//! Rate limit for frequent log messages: one line a minute, with a count.

use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(60);

/// Counts occurrences until the next line is due.
#[derive(Debug, Default)]
pub struct Seldom {
    last: Option<Instant>,
    count: u64,
}

impl Seldom {
    /// Counts an occurrence; returns the number since the last line if a line is due.
    pub fn note(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.last.is_some_and(|at| now.saturating_duration_since(at) < EVERY) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_counts_the_others() {
        let start = crate::io::system::clock::now().mono;
        let mut s = Seldom::default();
        let lines: Vec<u64> =
            (0..1800).filter_map(|n| s.note(start + Duration::from_millis(n * 100))).collect();
        assert_eq!(lines, [1, 600, 600]);
    }
}
