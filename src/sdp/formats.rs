//! Payload types of a negotiated stream: look-up of audio, events and comfort noise.

use crate::codec::Codec;

/// Most payload types per stream: each codec and event clock with the numbers of both ends, plus reserve.
const MAX: usize = 16;

/// Static payload type of comfort noise for a clock rate of 8,000 Hz (RFC 3389 §4), sent by some without
/// negotiation.
const COMFORT_NOISE: u8 = 13;

/// Meaning of a payload type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Audio of a codec.
    Audio(Codec),
    /// Telephone events (RFC 4733).
    Event,
    /// Comfort noise (RFC 3389).
    Noise,
}

/// The payload types allowed in a stream. The first meaning of a number counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Formats([Option<(u8, Meaning)>; MAX]);

impl Formats {
    /// A codec with one payload type, and events with others.
    #[must_use]
    pub fn of(codec: Codec, payload_type: u8, events: &[u8]) -> Self {
        let mut new = Self::default();
        new.add(payload_type, Meaning::Audio(codec));
        events.iter().for_each(|n| new.add(*n, Meaning::Event));
        new.add_usual_noise();
        new
    }

    /// Adds a payload type, unless it is known already or the table is full.
    pub fn add(&mut self, payload_type: u8, meaning: Meaning) {
        if self.meaning(payload_type).is_none()
            && let Some(free) = self.0.iter_mut().find(|f| f.is_none())
        {
            *free = Some((payload_type, meaning));
        }
    }

    /// Adds comfort noise with its static payload type, if a codec has the matching clock rate.
    pub(super) fn add_usual_noise(&mut self) {
        if self.codecs().any(|c| c.clock() == 8000) {
            self.add(COMFORT_NOISE, Meaning::Noise);
        }
    }

    /// Meaning of a payload type; `None` if it was not negotiated.
    #[must_use]
    pub fn meaning(&self, payload_type: u8) -> Option<Meaning> {
        self.0.iter().flatten().find(|(n, _)| *n == payload_type).map(|(_, m)| *m)
    }

    /// The codecs that may be received, each once.
    pub fn codecs(&self) -> impl Iterator<Item = Codec> + '_ {
        let comes = |codec| self.0.iter().flatten().any(|(_, m)| *m == Meaning::Audio(codec));
        Codec::ALL.iter().copied().filter(move |c| comes(*c))
    }

    /// Payload types and their meanings.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u8, Meaning)> + '_ {
        self.0.iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_meaning_of_a_number_counts() {
        let mut f = Formats::of(Codec::Pcma, 8, &[101]);
        f.add(101, Meaning::Audio(Codec::Opus));
        f.add(97, Meaning::Audio(Codec::Pcma));
        f.add(0, Meaning::Audio(Codec::Pcmu));
        assert_eq!(f.meaning(101), Some(Meaning::Event));
        assert_eq!((f.meaning(13), f.meaning(9)), (Some(Meaning::Noise), None));
        assert_eq!(f.codecs().collect::<Vec<_>>(), [Codec::Pcmu, Codec::Pcma]);
        let opus = Formats::of(Codec::Opus, 111, &[]);
        assert_eq!(opus.meaning(13), None, "comfort noise has no place beside a clock of 48 kHz");
    }

    #[test]
    fn what_finds_no_room_is_left_out() {
        let mut f = Formats::default();
        (30..80).for_each(|n| f.add(n, Meaning::Event));
        assert_eq!(f.iter().count(), MAX);
        assert_eq!((f.meaning(30), f.meaning(79)), (Some(Meaning::Event), None));
    }
}
