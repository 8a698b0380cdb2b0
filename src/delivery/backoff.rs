//! Retry back-off: 1, 2, 4 … s, each ± 20 %.

use std::time::Duration;

use crate::base::rng::Rng;

/// Delay after this many consecutive failures (at least one), at most `longest`, which must be less than an
/// hour.
pub fn delay(failures: u32, longest: Duration, rng: &mut Rng) -> Duration {
    let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
    let exact = 1000u64.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(longest).min(longest);
    let spread = exact * 2 / 5;
    let offset = u64::from(rng.below(u32::try_from(spread + 1).unwrap_or(u32::MAX)));
    Duration::from_millis(exact - spread / 2 + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_vary_by_a_fifth() {
        let mut rng = Rng::from_number(1);
        for (failures, secs) in [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (99, 60.0)] {
            let waits: Vec<f64> = (0..500)
                .map(|_| delay(failures, Duration::from_secs(60), &mut rng).as_secs_f64() / secs)
                .collect();
            assert!(waits.iter().all(|w| (0.8..=1.2).contains(w)), "{failures}");
            assert!(waits.iter().any(|w| *w < 0.85) && waits.iter().any(|w| *w > 1.15), "{failures}");
        }
    }
}
