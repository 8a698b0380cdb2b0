//! What the payload types of an agreed stream stand for: one look-up for audio, events and comfort noise.

use crate::codec::Codec;

/// Most payload types of a stream that are taken: each codec and event clock under the number of either end, and room to
/// spare.
const MAX: usize = 16;

/// Payload type of comfort noise beside codecs of a clock of 8,000 Hz (RFC 3389 §4), which some send unasked.
const COMFORT_NOISE: u8 = 13;

/// What a payload type stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Audio of a codec.
    Audio(Codec),
    /// Telephone events (RFC 4733).
    Event,
    /// Comfort noise (RFC 3389).
    Noise,
}

/// The payload types that may come in a stream. The first meaning of a number counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Formats([Option<(u8, Meaning)>; MAX]);

impl Formats {
    /// A codec under one number, and events under others.
    #[must_use]
    pub fn of(codec: Codec, payload_type: u8, events: &[u8]) -> Self {
        let mut new = Self::default();
        new.add(payload_type, Meaning::Audio(codec));
        events.iter().for_each(|n| new.add(*n, Meaning::Event));
        new.add_usual_noise();
        new
    }

    /// Notes what a number stands for, unless it is known already; what finds no room is not taken.
    pub fn add(&mut self, payload_type: u8, meaning: Meaning) {
        if self.meaning(payload_type).is_none()
            && let Some(free) = self.0.iter_mut().find(|f| f.is_none())
        {
            *free = Some((payload_type, meaning));
        }
    }

    /// Comfort noise under its usual number, where a codec has the clock for it.
    pub(super) fn add_usual_noise(&mut self) {
        if self.codecs().any(|c| c.clock() == 8000) {
            self.add(COMFORT_NOISE, Meaning::Noise);
        }
    }

    /// What a payload type stands for; `None`: it was not agreed.
    #[must_use]
    pub fn meaning(&self, payload_type: u8) -> Option<Meaning> {
        self.0.iter().flatten().find(|(n, _)| *n == payload_type).map(|(_, m)| *m)
    }

    /// The codecs that may come, each once.
    pub fn codecs(&self) -> impl Iterator<Item = Codec> + '_ {
        let comes = |codec| self.0.iter().flatten().any(|(_, m)| *m == Meaning::Audio(codec));
        Codec::ALL.iter().copied().filter(move |c| comes(*c))
    }

    /// The numbers and what they stand for.
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
