//! Negotiated telephone events (RFC 4733), and which of them the far end accepts.

use super::description::Format;

/// Encoding name of telephone events.
pub(super) const EVENT: &str = "telephone-event";
/// Payload type of telephone-event in our offers.
pub(super) const DTMF_PAYLOAD_TYPE: u8 = 101;
/// The same for the clock rate of Opus.
pub(super) const DTMF_PAYLOAD_TYPE_48K: u8 = 100;

/// Events for digits, codes 0 to 15: accepted if the far end gives no list (RFC 4733 §3).
pub const ALL_DIGITS: u16 = u16::MAX;

/// Negotiated telephone events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dtmf {
    /// Payload type.
    pub payload_type: u8,
    /// Clock rate of timestamps and durations, Hz.
    pub clock: u32,
    /// Event codes 0 to 15 that the far end takes, a bit each.
    pub events: u16,
}

impl Dtmf {
    /// Events of a far end that accepts all digits.
    #[must_use]
    pub fn new(payload_type: u8, clock: u32) -> Self {
        Self { payload_type, clock, events: ALL_DIGITS }
    }

    /// True if the far end accepts the event with this code.
    #[must_use]
    pub fn takes(&self, code: u8) -> bool {
        self.events & 1u16.unbounded_shl(code.into()) != 0
    }

    /// The telephone-event format for a codec, preferably with its clock rate.
    pub(super) fn of(formats: &[Format], clock: u32) -> Option<Self> {
        let events = || formats.iter().filter(|f| f.name.eq_ignore_ascii_case(EVENT));
        let found = events().find(|f| f.clock == clock).or_else(|| events().next())?;
        let events = found.fmtp.as_deref().and_then(codes).unwrap_or(ALL_DIGITS);
        Some(Self { payload_type: found.payload_type, clock: found.clock, events })
    }
}

/// Codes 0 to 15 of a list such as `0-11,16` (RFC 4733 §2.5.1.1); `None` if invalid.
fn codes(list: &str) -> Option<u16> {
    let list = list.trim();
    let list = match list.split_at_checked("events=".len()) {
        Some((name, rest)) if name.eq_ignore_ascii_case("events=") => rest.trim_matches('"'),
        Some(_) | None => list,
    };
    // Further parameters are ignored.
    let list = list.split(';').next().unwrap_or_default();
    let mut events = 0;
    for range in list.split(',').map(str::trim).filter(|r| !r.is_empty()).take(256) {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to): (u8, u8) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        (from..=to.min(15)).for_each(|code| events |= 1u16.unbounded_shl(code.into()));
    }
    list.chars().any(|c| c.is_ascii_digit()).then_some(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_events_are_read() {
        for (list, want) in [
            ("0-15", Some(0xffff)),
            ("0-11,16", Some(0x0fff)),
            ("0-9", Some(0x03ff)),
            (" 0-9 , 11 ", Some(0x0bff)),
            ("1,3,5", Some(0b10_1010)),
            ("0-15,66,70", Some(0xffff)),
            ("0-255", Some(0xffff)),
            ("16", Some(0)),
            ("32-36", Some(0)),
            ("9-0", Some(0)),
            ("events=0-11", Some(0x0fff)),
            ("0-11;rate=8000", Some(0x0fff)),
            ("", None),
            ("all", None),
            ("0-", None),
            ("0-256", None),
        ] {
            assert_eq!(codes(list), want, "{list}");
        }
    }

    #[test]
    fn who_says_nothing_takes_all_digits() {
        let all = Dtmf::new(101, 8000);
        assert!((0..16).all(|code| all.takes(code)) && !all.takes(16) && !all.takes(255));
        let keypad = Dtmf { events: 0x0fff, ..all };
        assert!(keypad.takes(11) && !keypad.takes(12));
    }
}
