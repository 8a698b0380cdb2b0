//! The coders of a stream: one decoder and one encoder with their state, whatever the codec.

use super::opus::{self, MAX_PACKET, Wishes};
use super::{Codec, g711, g722};

/// Longest packet we make, ms.
pub const MAX_PACKET_MS: usize = 60;
/// Room for the largest payload we make, bytes: 60 ms of G.711 or G.722.
pub const MAX_PAYLOAD: usize = 480;
const _: () = assert!(MAX_PACKET <= MAX_PAYLOAD);

/// Turns payloads into samples.
#[derive(Debug)]
pub enum Decoder {
    /// G.711, µ-law.
    Ulaw,
    /// G.711, A-law.
    Alaw,
    /// G.722.
    G722(Box<g722::Decoder>),
    /// Opus.
    Opus(opus::Decoder),
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        match codec {
            Codec::Pcmu => Self::Ulaw,
            Codec::Pcma => Self::Alaw,
            Codec::G722 => Self::G722(Box::default()),
            Codec::Opus => Self::Opus(opus::Decoder::default()),
        }
    }

    /// Decodes a payload; how many samples, 0 for what is none. What finds no room in `out` is lost, Opus
    /// packets as a whole.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> usize {
        match self {
            Self::Ulaw => g711::ulaw_to_samples(payload, out),
            Self::Alaw => g711::alaw_to_samples(payload, out),
            Self::G722(d) => d.decode(payload, out),
            Self::Opus(d) => d.decode(payload, out),
        }
    }

    /// Makes up the samples of a lost packet from its successor, if that is here, or from the past. False when
    /// the codec has no way of its own to do so.
    pub fn conceal(&mut self, successor: &[u8], out: &mut [i16]) -> bool {
        match self {
            Self::Ulaw | Self::Alaw | Self::G722(_) => false,
            Self::Opus(d) => {
                let made = d.recover(successor, out);
                out.iter_mut().skip(made).for_each(|s| *s = 0);
                true
            }
        }
    }
}

/// Turns samples into payloads.
#[derive(Debug)]
pub enum Encoder {
    /// G.711, µ-law.
    Ulaw,
    /// G.711, A-law.
    Alaw,
    /// G.722.
    G722(Box<g722::Encoder>),
    /// Opus, and the samples of a packet that is not whole yet.
    Opus(opus::Encoder, Gathered),
}

/// Samples of the packet to come.
#[derive(Debug, Clone)]
pub struct Gathered {
    samples: Box<[i16]>,
    len: usize,
}

impl Default for Gathered {
    fn default() -> Self {
        let samples = vec![0; MAX_PACKET_MS * opus::RATE as usize / 1000].into_boxed_slice();
        Self { samples, len: 0 }
    }
}

impl Encoder {
    /// An encoder at the beginning of a stream. Opus heeds `wishes`, and spends `complexity`, 0 to 10.
    #[must_use]
    pub fn new(codec: Codec, wishes: &Wishes, complexity: u8) -> Self {
        match codec {
            Codec::Pcmu => Self::Ulaw,
            Codec::Pcma => Self::Alaw,
            Codec::G722 => Self::G722(Box::default()),
            Codec::Opus => Self::Opus(opus::Encoder::new(wishes, complexity), Gathered::default()),
        }
    }

    /// Encodes samples of a packet; how many bytes of `out` are filled by now.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> usize {
        match self {
            Self::Ulaw => g711::samples_to_ulaw(samples, out),
            Self::Alaw => g711::samples_to_alaw(samples, out),
            Self::G722(e) => e.encode(samples, out),
            Self::Opus(_, gathered) => {
                let room = gathered.samples.iter_mut().skip(gathered.len);
                gathered.len += room.zip(samples).map(|(to, s)| *to = *s).count();
                0
            }
        }
    }

    /// The packet is whole: what of it was not encoded yet goes to `out`. How many bytes.
    pub fn finish(&mut self, out: &mut [u8]) -> usize {
        let Self::Opus(encoder, gathered) = self else { return 0 };
        let len = std::mem::take(&mut gathered.len);
        let made = encoder.encode(gathered.samples.get(..len).unwrap_or_default(), out);
        // Up to two bytes say nothing that the far end would not make up by itself.
        if made <= 2 { 0 } else { made }
    }

    /// Leaves out what was gathered of a packet.
    pub fn abandon(&mut self) {
        if let Self::Opus(_, gathered) = self {
            gathered.len = 0;
        }
    }

    /// The far end loses this share of our packets, per cent.
    pub fn expect_loss(&mut self, percent: u8) {
        if let Self::Opus(encoder, _) = self {
            encoder.expect_loss(percent);
        }
    }

    /// Goes on from where another encoder of the same codec and wishes stands.
    pub fn copy_from(&mut self, other: &Self) {
        match (self, other) {
            (Self::G722(to), Self::G722(from)) => to.clone_from(from),
            (Self::Opus(to, gathered), Self::Opus(from, other)) => {
                to.copy_from(from);
                gathered.samples.iter_mut().zip(&other.samples).take(other.len).for_each(|(t, f)| *t = *f);
                gathered.len = other.len;
            }
            _ => {}
        }
    }
}
