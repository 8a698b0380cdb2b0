//! Session timers (RFC 4028): session interval and refresher.

use std::fmt;
use std::time::{Duration, Instant};

use crate::wire::headers::Headers;

/// Smallest interval allowed, seconds (§4).
pub const MIN_SE: u32 = 90;

/// The refresher, by role in the transaction that negotiates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresher {
    /// The sender of the request.
    Uac,
    /// The sender of the response.
    Uas,
}

/// The value of `Session-Expires`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionExpires {
    /// Session interval, seconds from the last refresh.
    pub interval: u32,
    /// The refresher, if given.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Parses the header of a message; `None` if missing or malformed.
    #[must_use]
    pub fn of(headers: &Headers) -> Option<Self> {
        let mut parts = headers.get("Session-Expires")?.split(';').map(str::trim);
        let interval = parts.next()?.parse().ok()?;
        let refresher = parts.find_map(|p| {
            let (name, value) = p.split_once('=')?;
            let is = |word: &str| value.trim().eq_ignore_ascii_case(word);
            match name.trim().eq_ignore_ascii_case("refresher") {
                true if is("uac") => Some(Refresher::Uac),
                true if is("uas") => Some(Refresher::Uas),
                true | false => None,
            }
        });
        Some(Self { interval, refresher })
    }

    /// `Min-SE` of a message, seconds.
    #[must_use]
    pub fn least(headers: &Headers) -> u32 {
        let least = headers.get("Min-SE").and_then(|v| v.split(';').next()?.trim().parse().ok());
        least.unwrap_or(0).max(MIN_SE)
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.interval)?;
        match self.refresher {
            Some(Refresher::Uac) => write!(f, ";refresher=uac"),
            Some(Refresher::Uas) => write!(f, ";refresher=uas"),
            None => Ok(()),
        }
    }
}

/// True if the sender of a message supports session timers.
#[must_use]
pub fn is_supported(headers: &Headers) -> bool {
    headers.has_token("Supported", "timer") || headers.has_token("Require", "timer")
}

/// Our answer to a request for a session timer (§9); `None` if it does not request one.
///
/// # Errors
/// The interval is below our minimum (422).
pub fn answer(headers: &Headers) -> Result<Option<SessionExpires>, u32> {
    let Some(asked) = SessionExpires::of(headers) else { return Ok(None) };
    let knows = is_supported(headers);
    if asked.interval < MIN_SE && knows {
        return Err(MIN_SE);
    }
    // A peer without timer support cannot refresh: a proxy has requested it.
    let refresher = if knows { asked.refresher.unwrap_or(Refresher::Uac) } else { Refresher::Uas };
    let interval = asked.interval.max(SessionExpires::least(headers));
    Ok(Some(SessionExpires { interval, refresher: Some(refresher) }))
}

/// A session that ends unless it is refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimer {
    /// Seconds from a refresh to the end.
    pub interval: u32,
    /// Time of our next refresh, if we are the refresher.
    pub refresh_at: Option<Instant>,
    /// End without a refresh.
    pub ends_at: Instant,
}

impl SessionTimer {
    /// A session refreshed at `now`; `ours`: we are the refresher.
    #[must_use]
    pub fn new(interval: u32, ours: bool, now: Instant) -> Self {
        let whole = Duration::from_secs(interval.into());
        // The waiting side ends early, while the far end still knows the call (§10).
        let margin = if ours { Duration::ZERO } else { Duration::from_secs(32).min(whole / 3) };
        Self { interval, refresh_at: ours.then_some(now + whole / 2), ends_at: now + whole - margin }
    }

    /// Our refresh failed at `now`: the next try is halfway to the end.
    pub fn try_again(&mut self, now: Instant) {
        let half = self.ends_at.saturating_duration_since(now) / 2;
        self.refresh_at = Some(now + half.max(Duration::from_secs(1)));
    }

    /// The next time something is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.refresh_at.map_or(self.ends_at, |at| at.min(self.ends_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::virtual_time::epoch;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut h = Headers::default();
        fields.iter().for_each(|(n, v)| h.push(*n, *v));
        h
    }

    #[test]
    fn what_is_asked_for_is_answered() {
        let ask = |fields: &[(&str, &str)]| answer(&headers(fields)).map(|a| a.map(|a| a.to_string()));
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(ask(&[]), Ok(None));
        assert_eq!(ask(&[("x", "1800"), ("k", "timer")]), some("1800;refresher=uac"));
        assert_eq!(
            ask(&[("Session-Expires", "90 ; Refresher=UAS"), ("Supported", "timer")]),
            some("90;refresher=uas")
        );
        // A proxy requested it for a phone without timer support: we refresh.
        assert_eq!(ask(&[("Session-Expires", "600;refresher=uac")]), some("600;refresher=uas"));
        assert_eq!(ask(&[("Session-Expires", "60")]), some("90;refresher=uas"));
        assert_eq!(ask(&[("Session-Expires", "60"), ("Supported", "timer")]), Err(90));
        assert_eq!(
            ask(&[("Session-Expires", "200"), ("Min-SE", "300"), ("k", "timer")]),
            some("300;refresher=uac")
        );
        assert_eq!(ask(&[("Session-Expires", "soon"), ("Supported", "timer")]), Ok(None));
    }

    #[test]
    fn refreshes_come_at_half_time_and_the_end_a_little_early() {
        let now = epoch();
        let s = Duration::from_secs;
        let t = SessionTimer::new(90, true, now);
        assert_eq!((t.refresh_at, t.ends_at, t.deadline()), (Some(now + s(45)), now + s(90), now + s(45)));
        let mut t = SessionTimer::new(1800, false, now);
        assert_eq!((t.refresh_at, t.ends_at), (None, now + s(1768)));
        t.try_again(now + s(768));
        assert_eq!(t.deadline(), now + s(1268));
    }
}
