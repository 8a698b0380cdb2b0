//! File descriptors that the limits require, and how limits are lowered if the process may not open that
//! many.

use super::board::Limits;
use super::sections::Config;

/// Descriptors besides calls: SIP connections (256), HTTP connections (80), requests and uploads (32),
/// sockets reserved for calls (32), files and queues of the process (100).
const FIXED: u64 = 500;
/// Two sockets per leg, and the file of its recording.
const PER_CALL: u64 = 3;

impl Limits {
    /// Descriptors open when all limits are reached.
    #[must_use]
    pub fn descriptors(&self) -> u64 {
        FIXED + 2 * u64::from(self.legs) + u64::from(self.recordings) + u64::from(self.playbacks)
    }
}

impl Config {
    /// Fits the limits to the descriptor limit of the process: limits of a profile are lowered, and a warning
    /// is returned.
    ///
    /// # Errors
    /// Explicitly set limits require more, or there are too few for a single call.
    pub fn fit_descriptors(&mut self, allowed: u64) -> Result<Option<String>, String> {
        let needed = self.limits.descriptors();
        if needed <= allowed {
            return Ok(None);
        }
        let advice =
            "raise LimitNOFILE (ulimit -n) or lower limits.legs, limits.recordings and limits.playbacks";
        if self.profile_limits != self.limits {
            return Err(format!(
                "limits: they need {needed} file descriptors, and {allowed} are allowed; {advice}"
            ));
        }
        let playbacks = u64::from(self.limits.playbacks).min(allowed / 16);
        let calls = allowed.saturating_sub(FIXED + playbacks) / PER_CALL;
        if calls == 0 {
            return Err(format!("{allowed} file descriptors are allowed, too few for a call; {advice}"));
        }
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        self.limits.playbacks = u32::try_from(playbacks).unwrap_or(u32::MAX).max(1);
        self.limits.legs = self.limits.legs.min(calls);
        self.limits.recordings = self.limits.recordings.min(calls);
        self.profile_limits = self.limits.clone();
        let Limits { legs, recordings, playbacks, .. } = self.limits;
        Ok(Some(format!(
            "the profile {} needs {needed} file descriptors, and {allowed} are allowed: limits.legs is {legs}, \
             limits.recordings {recordings}, limits.playbacks {playbacks} now; {advice}",
            self.board
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_lowered_and_what_somebody_has_set_is_an_error() {
        let mut c = Config::default();
        assert_eq!(c.fit_descriptors(524_288), Ok(None));
        assert_eq!(c.limits, Limits::default());
        let warning = c.fit_descriptors(1024).unwrap().unwrap();
        assert!(warning.contains("limits.legs is 153"), "{warning}");
        assert!(c.limits.descriptors() <= 1024 && c.limits.rooms == 128, "{:?}", c.limits);
        assert!(c.fit_descriptors(1024).unwrap().is_none(), "they fit now");
        let mut c = Config::default();
        c.limits.legs = 200;
        let error = c.fit_descriptors(1024).unwrap_err();
        assert!(error.contains("1024 are allowed") && error.contains("LimitNOFILE"), "{error}");
        assert!(Config::default().fit_descriptors(400).is_err());
    }
}
