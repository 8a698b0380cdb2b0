//! Payload type assignments of a session: once an end has assigned a number to a format, it keeps that
//! meaning in all our later offers (RFC 3264 §8.3.2).

use super::description::Format;
use super::dtmf::EVENT;
use super::formats::{Formats, Meaning};
use crate::codec::Codec;

/// Numbers we may assign: dynamic ones (RFC 3551 §6), then unassigned ones, except those that conflict with
/// RTCP on a shared port (RFC 5761 §4).
const FREE: [std::ops::RangeInclusive<u8>; 2] = [96..=127, 35..=63];

/// A payload type and its format.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Number {
    payload_type: u8,
    /// Encoding name, lower case.
    name: String,
    /// Clock rate in its rtpmap, Hz.
    clock: u32,
    /// Used in our offers.
    ours: bool,
}

/// The assignments of one session's audio, by both ends: at most one entry per payload type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers(Vec<Number>);

/// A codec in our offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) codec: Codec,
    pub(super) payload_type: u8,
    /// Clock rate in its rtpmap, Hz.
    pub(super) clock: u32,
}

impl Numbers {
    fn note(&mut self, payload_type: u8, name: &str, clock: u32, ours: bool) {
        let name = name.to_ascii_lowercase();
        match self.0.iter_mut().find(|n| n.payload_type == payload_type) {
            Some(known) if known.name == name && known.clock == clock => known.ours |= ours,
            Some(known) => *known = Number { payload_type, name, clock, ours },
            None => self.0.push(Number { payload_type, name, clock, ours }),
        }
    }

    /// Records the assignments in the far end's description, including unsupported formats.
    pub(super) fn note_theirs(&mut self, formats: &[Format]) {
        formats.iter().for_each(|f| self.note(f.payload_type, &f.name, f.clock, false));
    }

    /// Records negotiated assignments, unless known already.
    pub(super) fn note_agreed(&mut self, formats: &Formats, event_clock: u32) {
        for (n, meaning) in formats.iter() {
            if self.0.iter().any(|k| k.payload_type == n) {
                continue;
            }
            match meaning {
                Meaning::Audio(codec) => self.note(n, codec.name(), codec.clock(), false),
                Meaning::Event => self.note(n, EVENT, event_clock, false),
                Meaning::Noise => {}
            }
        }
    }

    /// A number for a format in our offer: the assigned one, otherwise the default if unused, otherwise any
    /// free one. `None`: none is free.
    fn give(&mut self, name: &str, usual: u8, is: impl Fn(u32) -> bool, clock: u32) -> Option<(u8, u32)> {
        let same = |n: &&Number| n.name.eq_ignore_ascii_case(name) && is(n.clock);
        let known = self.0.iter().filter(|n| n.ours).find(same).or_else(|| self.0.iter().find(same));
        let (number, clock) = match known {
            Some(n) => (n.payload_type, n.clock),
            None => {
                let is_free = |n: &u8| self.0.iter().all(|k| k.payload_type != *n);
                let found = std::iter::once(usual).chain(FREE.into_iter().flatten()).find(is_free)?;
                (found, clock)
            }
        };
        self.note(number, name, clock, true);
        Some((number, clock))
    }

    /// The number of a codec in our offer; its clock rate as written by the far end, if known.
    pub(super) fn of_codec(&mut self, codec: Codec) -> Option<Listed> {
        let takes = |clock| codec.takes_clock(clock);
        let (payload_type, clock) = self.give(codec.name(), codec.payload_type(), takes, codec.clock())?;
        Some(Listed { codec, payload_type, clock })
    }

    /// The number of telephone events with this clock rate in our offer.
    pub(super) fn of_events(&mut self, clock: u32, usual: u8) -> Option<(u8, u32)> {
        self.give(EVENT, usual, |c| c == clock, clock)
    }

    /// Numbers of a codec: those of our offers, or those used only by the far end.
    pub(super) fn of(&self, codec: Codec, ours: bool) -> impl Iterator<Item = u8> + '_ {
        let is = move |n: &&Number| n.name.eq_ignore_ascii_case(codec.name()) && codec.takes_clock(n.clock);
        self.0.iter().filter(move |n| n.ours == ours).filter(is).map(|n| n.payload_type)
    }

    /// Numbers of telephone events.
    pub(super) fn events(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.iter().filter(|n| n.name == EVENT).map(|n| n.payload_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn theirs(payload_type: u8, name: &str, clock: u32) -> Format {
        Format { payload_type, name: name.to_owned(), clock, channels: 1, fmtp: None }
    }

    #[test]
    fn numbers_keep_what_either_end_made_them_mean() {
        let mut n = Numbers::default();
        n.note_theirs(&[theirs(101, "OPUS", 48_000), theirs(111, "iLBC", 8000), theirs(9, "G722", 16_000)]);
        let listed = |l: Option<Listed>| l.map(|l| (l.payload_type, l.clock));
        assert_eq!(listed(n.of_codec(Codec::Opus)), Some((101, 48_000)), "theirs");
        assert_eq!(listed(n.of_codec(Codec::G722)), Some((9, 16_000)), "as they wrote it");
        assert_eq!(listed(n.of_codec(Codec::Pcmu)), Some((0, 8000)));
        assert_eq!(n.of_events(8000, 101), Some((96, 8000)), "101 is taken");
        assert_eq!(n.of_events(48_000, 100), Some((100, 48_000)));
        // The same again, whatever happened in between.
        n.note_theirs(&[theirs(97, "telephone-event", 8000)]);
        assert_eq!(n.of_events(8000, 101), Some((96, 8000)));
        assert_eq!(n.of(Codec::Opus, true).collect::<Vec<_>>(), [101]);
        assert_eq!(n.events().collect::<Vec<_>>(), [96, 100, 97]);
    }

    #[test]
    fn a_number_is_found_even_where_many_are_taken() {
        let mut n = Numbers::default();
        let all: Vec<Format> = (96..=127).map(|pt| theirs(pt, &format!("x{pt}"), 8000)).collect();
        n.note_theirs(&all);
        assert_eq!(n.of_events(8000, 101), Some((35, 8000)));
        let more: Vec<Format> = (35..=63).map(|pt| theirs(pt, &format!("x{pt}"), 8000)).collect();
        n.note_theirs(&more);
        assert_eq!(n.of_codec(Codec::Opus), None, "a format without a number is not offered");
        assert!(n.of_codec(Codec::Pcma).is_some());
    }
}
