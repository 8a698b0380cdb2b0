//! The synchronization sources of one leg's RTP (RFC 3550 §8): each SSRC has its own sequence state and event
//! receiver.

use super::event_receiver::EventReceiver;
use super::sequence::{Arrival, Sequence};
use super::telephone_event::Event;

/// Maximum SSRCs tracked: audio, separate events, and the previous one of either. The least recently used is
/// replaced.
const MAX_SOURCES: usize = 4;

#[derive(Debug, Clone)]
struct Source {
    ssrc: u32,
    sequence: Sequence,
    events: EventReceiver,
    /// Packet count of the leg at its last packet.
    used: u64,
}

/// The synchronization sources of one leg.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    known: heapless::Vec<Source, MAX_SOURCES>,
    packets: u64,
}

impl Sources {
    /// Records a packet of `ssrc`; returns its classification, and the pending digit of a source evicted for
    /// it.
    pub fn note(&mut self, ssrc: u32, number: u16) -> (Arrival, Option<char>) {
        self.packets += 1;
        let used = self.packets;
        if let Some(source) = self.of(ssrc) {
            source.used = used;
            return (source.sequence.note(number), None);
        }
        let mut fresh =
            Source { ssrc, sequence: Sequence::default(), events: EventReceiver::default(), used };
        let arrival = fresh.sequence.note(number);
        let Err(fresh) = self.known.push(fresh) else { return (arrival, None) };
        let Some(oldest) = self.known.iter_mut().min_by_key(|s| s.used) else { return (arrival, None) };
        let digit = oldest.events.finish();
        *oldest = fresh;
        (arrival, digit)
    }

    /// Handles the event of the packet just recorded; returns the digits completed by it, oldest first.
    pub fn event(
        &mut self,
        ssrc: u32,
        arrival: Arrival,
        timestamp: u32,
        marker: bool,
        event: Event,
    ) -> [Option<char>; 2] {
        self.of(ssrc).map_or([None, None], |s| s.events.packet(arrival, timestamp, marker, event))
    }

    /// Call every 20 ms tick; returns a digit whose packets have stopped. If there are several, the next call
    /// returns the next.
    pub fn tick(&mut self) -> Option<char> {
        let mut digit = None;
        for source in self.known.iter_mut().filter(|s| s.events.in_progress()) {
            digit = digit.or_else(|| source.events.tick());
        }
        digit
    }

    /// True while a key is held down.
    #[must_use]
    pub fn key_is_down(&self) -> bool {
        self.known.iter().any(|s| s.events.in_progress())
    }

    fn of(&mut self, ssrc: u32) -> Option<&mut Source> {
        self.known.iter_mut().find(|s| s.ssrc == ssrc)
    }
}

#[cfg(test)]
mod tests {
    use super::super::telephone_event::code_of;
    use super::*;

    fn down(digit: char) -> Event {
        Event { code: code_of(digit).unwrap(), end: false, volume: 10, duration: 160 }
    }

    #[test]
    fn sources_do_not_disturb_each_other() {
        let mut s = Sources::default();
        let mut digits = String::new();
        for n in 0..9u16 {
            assert!(!matches!(s.note(1, 1_000 + n).0, Arrival::Doubtful));
            let (arrival, _) = s.note(2, 40_000 + n);
            let event = Event { end: n > 5, ..down('4') };
            digits.extend(s.event(2, arrival, 500, n == 0, event).into_iter().flatten());
            digits.extend(s.tick());
        }
        assert_eq!(digits, "4");
    }

    #[test]
    fn a_source_that_is_forgotten_leaves_its_digit() {
        let mut s = Sources::default();
        let (arrival, _) = s.note(7, 1);
        assert_eq!(s.event(7, arrival, 0, true, down('9')), [None, None]);
        assert!(s.key_is_down());
        let digits: Vec<char> = (10..20).filter_map(|ssrc| s.note(ssrc, 1).1).collect();
        assert_eq!((digits, s.key_is_down()), (vec!['9'], false));
    }
}
