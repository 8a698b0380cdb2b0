//! Reads a far end's digits from its RTP events (RFC 4733 §2.5.2): each key once, whatever is lost, copied or overtaken.

use super::sequence::Arrival;
use super::telephone_event::{DIGITS, Event};

/// Ticks without a packet of the event after which it counts as ended though no end came.
const GONE: u8 = 6;
/// A segment of a long key begins this far after the one before it, clock units (RFC 4733 §2.5.1.3): its duration is full.
/// Some end it at the last multiple of their packet length.
const SEGMENT: std::ops::RangeInclusive<u32> = 0xf000..=0xffff;

/// One key, as its packets name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    timestamp: u32,
    code: u8,
}

impl Key {
    /// True when `next` is the same key, held on.
    fn goes_on_in(self, next: Self, marker: bool) -> bool {
        let later = next.timestamp.wrapping_sub(self.timestamp);
        !marker && self.code == next.code && SEGMENT.contains(&later)
    }
}

/// A key whose digit has been told.
#[derive(Debug, Clone, Copy)]
struct Told {
    key: Key,
    /// Highest extended sequence number of it.
    highest: u64,
    /// It was released before its duration was full: nothing of it can follow.
    released: bool,
}

/// A key that is held down.
#[derive(Debug, Clone, Copy)]
struct Held {
    key: Key,
    /// Extended sequence numbers of its first packet and of its last.
    first: u64,
    highest: u64,
    released: bool,
}

/// Turns the event packets of one source into digits: each once, in order, even when all its ends are lost. What is old
/// is told by sequence numbers; timestamps only say which packets are of one key, since some senders set them back.
#[derive(Debug, Clone, Default)]
pub struct EventReceiver {
    held: Option<Held>,
    told: Option<Told>,
    quiet: u8,
}

impl EventReceiver {
    /// Takes an event packet; digits that are complete by it, older first.
    pub fn packet(
        &mut self,
        arrival: Arrival,
        timestamp: u32,
        marker: bool,
        event: Event,
    ) -> [Option<char>; 2] {
        // Numbers go up at a new start of the sender too.
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
            // A whole key that was overtaken by the next one; the next one is still held.
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

    /// True for a copy, a late packet or a further segment of the key that was told last, and for what came before it.
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
        // Its packets stopped for a while, or its first segment was taken for a whole key.
        let more = self.held.is_none() && !told.released && told.key.goes_on_in(key, marker);
        if more {
            *told = Told { key, highest: number, released: false };
        }
        more
    }

    /// A tick of 20 ms has passed; the digit whose packets have stopped coming.
    pub fn tick(&mut self) -> Option<char> {
        self.held?;
        self.quiet += 1;
        if self.quiet < GONE { None } else { self.finish() }
    }

    /// The key that is held down counts as released: its digit.
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
        self.told = Some(Told { key, highest, released });
        DIGITS.get(usize::from(key.code)).map(|d| char::from(*d))
    }
}

#[cfg(test)]
#[path = "event_receiver_test.rs"]
mod tests;
