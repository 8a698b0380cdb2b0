//! The two clocks passed to every core function: monotonic for timers, UTC for timestamps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A reading of both clocks, taken together by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time: timers and durations.
    pub mono: Instant,
    /// Wall clock: timestamps that leave the gateway.
    pub utc: Utc,
}

impl Now {
    /// The reading `d` later on both clocks, for tests in virtual time.
    #[must_use]
    pub fn after(self, d: Duration) -> Self {
        Self { mono: self.mono + d, utc: Utc(self.utc.0.saturating_add(d)) }
    }
}

/// Detects when the wall clock is set: boxes without an RTC battery boot with an old time and get the correct
/// one later.
#[derive(Debug, Clone, Copy)]
pub struct ClockWatch {
    last: Now,
}

impl ClockWatch {
    /// Smaller steps are ignored: NTP corrects clocks by such amounts all the time.
    const STEP: Duration = Duration::from_secs(60);

    /// Watches from `now` on.
    #[must_use]
    pub fn new(now: Now) -> Self {
        Self { last: now }
    }

    /// If the clock was set forward since the last call: by how much, and the time it would show otherwise.
    pub fn set_forward(&mut self, now: Now) -> Option<(Duration, Utc)> {
        let passed = now.mono.saturating_duration_since(self.last.mono);
        let expected = Utc(self.last.utc.0.saturating_add(passed));
        self.last = now;
        let step = now.utc.0.saturating_sub(expected.0);
        (step >= Self::STEP).then_some((step, expected))
    }
}

/// Time since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Utc(pub Duration);

impl Utc {
    /// Whole Unix seconds.
    #[must_use]
    pub fn secs(self) -> u64 {
        self.0.as_secs()
    }

    /// Whole Unix milliseconds.
    #[must_use]
    pub fn millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// A time in whole Unix milliseconds.
    #[must_use]
    pub fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// Parses RFC 3339 as written by [`Self::rfc3339`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let time = humantime::parse_rfc3339(text).ok()?;
        time.duration_since(UNIX_EPOCH).ok().map(Self)
    }

    /// RFC 3339 with a fraction of up to nine digits, trailing zeros trimmed, `Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let full = humantime::format_rfc3339_nanos(self.system_time()).to_string();
        let trimmed = full.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
        format!("{trimmed}Z")
    }

    /// `YYYYMMDD_HHMMSS`, as used in recording names.
    #[must_use]
    pub fn compact(self) -> String {
        let full = humantime::format_rfc3339_seconds(self.system_time()).to_string();
        full.trim_end_matches('Z').replace(['-', ':'], "").replace('T', "_")
    }

    fn system_time(self) -> SystemTime {
        // humantime rejects years beyond 9999: such a time is clamped to the last representable second.
        UNIX_EPOCH + self.0.min(Duration::from_secs(253_402_300_799))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_trim_their_fraction() {
        let at = |secs, nanos| Utc(Duration::new(secs, nanos)).rfc3339();
        let some = Utc::from_millis(1_776_330_000_120);
        assert_eq!((Utc::parse(&some.rfc3339()), some.millis()), (Some(some), 1_776_330_000_120));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(at(1_776_330_000, 123_456_789), "2026-04-16T09:00:00.123456789Z");
        assert_eq!(at(1_776_330_000, 120_000_000), "2026-04-16T09:00:00.12Z");
        assert_eq!(at(u64::MAX, 0), "9999-12-31T23:59:59Z");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an arbitrary epoch")]
    fn a_clock_that_is_set_forward_is_noticed_and_one_that_drifts_is_not() {
        let start = Now { mono: Instant::now(), utc: Utc(Duration::from_secs(1000)) };
        let at = |mono: u64, utc: u64| Now {
            mono: start.mono + Duration::from_secs(mono),
            utc: Utc(Duration::from_secs(utc)),
        };
        let mut watch = ClockWatch::new(start);
        assert_eq!(watch.set_forward(at(60, 1100)), None, "40 s in a minute");
        let set = Some((Duration::from_secs(1_776_330_000 - 1130), Utc(Duration::from_secs(1130))));
        assert_eq!(watch.set_forward(at(90, 1_776_330_000)), set);
        assert_eq!(watch.set_forward(at(150, 1_776_330_060)), None);
        assert_eq!(watch.set_forward(at(160, 5000)), None, "back");
        assert_eq!(watch.set_forward(at(161, 5001)), None);
    }

    #[test]
    fn compact_form_sorts() {
        assert_eq!(Utc(Duration::from_secs(1_776_330_000)).compact(), "20260416_090000");
    }
}
