//! Ringing time limits: settings, the caller, and Expires of the INVITE (RFC 3261 §13.3.1).

use std::time::Duration;

use crate::wire::Request;
use crate::wire::headers::same;

/// `Expires` in seconds; other formats (a date, as in RFC 2543) are ignored.
fn seconds(value: &str) -> Option<u32> {
    let value = value.trim();
    value.parse().ok().filter(|_| value.bytes().all(|b| b.is_ascii_digit()))
}

/// Ringing time limit of an outbound call: `limit` seconds (0: none) or the Expires of its INVITE.
pub(in crate::gateway) fn outbound_limit(limit: u32, headers: &[(String, String)]) -> Option<Duration> {
    let expires = headers.iter().find(|(n, _)| same(n, "Expires")).and_then(|(_, v)| seconds(v));
    let limit = Some(limit).filter(|s| *s > 0);
    limit.into_iter().chain(expires).min().map(|s| Duration::from_secs(s.into()))
}

/// Ringing time limit of an inbound call, at most `ours` seconds, and the final response when it expires.
pub(in crate::gateway) fn inbound_limit(ours: u32, request: &Request) -> (Duration, u16) {
    let (limit, code) = match request.common.headers.get("Expires").and_then(seconds) {
        Some(theirs) if theirs <= ours => (theirs, 487),
        Some(_) | None => (ours, 480),
    };
    (Duration::from_secs(limit.into()), code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_of_both_limits_counts() {
        let s = |n| Some(Duration::from_secs(n));
        for (limit, expires, want) in [
            (0, "", None),
            (20, "", s(20)),
            (0, "30", s(30)),
            (20, " 30 ", s(20)),
            (40, "30", s(30)),
            (40, "0", s(0)),
            (0, "4294967296", None),
            (0, "+5", None),
            (7, "Thu, 01 Dec 1994 16:00:00 GMT", s(7)),
        ] {
            let headers = [("expires".to_owned(), expires.to_owned())];
            assert_eq!(outbound_limit(limit, &headers), want, "{limit} {expires}");
        }
    }
}
