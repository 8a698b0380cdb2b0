//! Decodes digits from RTP events (RFC 4733 §2.5.2): each key press is reported once despite loss, duplicates
//! and reordering.

use super::sequence::Arrival;
use super::telephone_event::{DIGITS, Event};

/// Ticks without an event packet after which the event ends without an end packet.
const GONE: u8 = 6;
/// Timestamp offset between the segments of a long event, clock units (RFC 4733 §2.5.1.3): nominally the
/// maximum duration. Some senders end a segment at the last multiple of their packet length.
const SEGMENT: std::ops::RangeInclusive<u32> = 0xf000..=0xffff;

/// Identifies one key press.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    timestamp: u32,
    code: u8,
}

impl Key {
    /// True if `next` is a further segment of the same key press.
    fn goes_on_in(self, next: Self, marker: bool) -> bool {
        let later = next.timestamp.wrapping_sub(self.timestamp);
        !marker && self.code == next.code && SEGMENT.contains(&later)
    }
}

/// The last key press reported.
#[derive(Debug, Clone, Copy)]
struct ReportedKey {
    key: Key,
    /// Highest extended sequence number of its packets.
    highest: u64,
    /// It ended before the maximum duration: no further segment can follow.
    released: bool,
}

/// A key currently pressed.
#[derive(Debug, Clone, Copy)]
struct Held {
    key: Key,
    /// Extended sequence numbers of its first and last packet.
    first: u64,
    highest: u64,
    released: bool,
}

/// Converts the event packets of one source to digits: each once, in order, even if all end packets are lost.
/// Old packets are recognized by sequence number; timestamps only group the packets of one key press, since
/// some senders reset them.
#[derive(Debug, Clone, Default)]
pub struct EventReceiver {
    held: Option<Held>,
    told: Option<ReportedKey>,
    quiet: u8,
}

impl EventReceiver {
    /// Handles an event packet; returns the digits completed by it, oldest first.
    pub fn packet(
        &mut self,
        arrival: Arrival,
        timestamp: u32,
        marker: bool,
        event: Event,
    ) -> [Option<char>; 2] {
        // Extended numbers increase even when the sender restarts.
        let (Arrival::Begins(number) | Arrival::Continues(number)) = arrival else { return [None, None] };
        let key = Key { timestamp, code: event.code };
        let released = event.end && !SEGMENT.contains(&u32::from(event.duration));
        if self.is_told(key, number, marker, released) {
            return [None, None];
        }
        if let Some(held) = self.held
            && number < held.first
            && key != held.key
        {
            // A complete key press overtaken by the next one, which is still held.
            return [self.tell(Held { key, first: number, highest: number, released }), None];
        }
        let same = self.held.filter(|h| h.key == key || h.key.goes_on_in(key, marker));
        let before = if same.is_some() { None } else { self.finish() };
        self.quiet = 0;
        let (first, highest) =
            same.map_or((number, number), |h| (h.first.min(number), h.highest.max(number)));
        self.held = Some(Held { key, first, highest, released });
        [before, if event.end { self.finish() } else { None }]
    }

    /// True for a duplicate, a late packet or a further segment of the last reported key press, and for
    /// anything older.
    fn is_told(&mut self, key: Key, number: u64, marker: bool, released: bool) -> bool {
        let Some(told) = &mut self.told else { return false };
        if told.key == key {
            told.highest = told.highest.max(number);
            told.released |= released;
            return true;
        }
        if number <= told.highest {
            return true;
        }
        // Its packets paused, or its first segment was reported as a complete key press.
        let more = self.held.is_none() && !told.released && told.key.goes_on_in(key, marker);
        if more {
            *told = ReportedKey { key, highest: number, released: false };
        }
        more
    }

    /// Call every 20 ms tick; returns the digit whose packets have stopped.
    pub fn tick(&mut self) -> Option<char> {
        self.held?;
        self.quiet += 1;
        if self.quiet < GONE { None } else { self.finish() }
    }

    /// Ends the current key press; returns its digit.
    pub fn finish(&mut self) -> Option<char> {
        let held = self.held.take()?;
        self.tell(held)
    }

    /// True while a key is held down.
    #[must_use]
    pub fn in_progress(&self) -> bool {
        self.held.is_some()
    }

    fn tell(&mut self, held: Held) -> Option<char> {
        let Held { key, highest, released, .. } = held;
        self.told = Some(ReportedKey { key, highest, released });
        DIGITS.get(usize::from(key.code)).map(|d| char::from(*d))
    }
}

#[cfg(test)]
#[path = "event_receiver_test.rs"]
mod tests;
