//! Codec state of a stream: one decoder and one encoder, for any codec.

use super::opus::{self, MAX_PACKET, OpusFmtp};
use super::{Codec, g711, g722};

/// Longest packet we make, ms.
pub const MAX_PACKET_MS: usize = 60;
/// Largest payload produced, bytes: 60 ms of G.711 or G.722.
pub const MAX_PAYLOAD: usize = 480;
const _: () = assert!(MAX_PACKET <= MAX_PAYLOAD);

/// Decodes payloads into samples.
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
    /// A decoder for the start of a stream.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        match codec {
            Codec::Pcmu => Self::Ulaw,
            Codec::Pcma => Self::Alaw,
            Codec::G722 => Self::G722(Box::default()),
            Codec::Opus => Self::Opus(opus::Decoder::default()),
        }
    }

    /// Decodes a payload; returns the number of samples, 0 if invalid. Samples that do not fit into `out` are
    /// dropped, Opus packets as a whole.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> usize {
        match self {
            Self::Ulaw => g711::ulaw_to_samples(payload, out),
            Self::Alaw => g711::alaw_to_samples(payload, out),
            Self::G722(d) => d.decode(payload, out),
            Self::Opus(d) => d.decode(payload, out),
        }
    }

    /// Reconstructs a lost packet from its successor, if available, or by extrapolation. False if the codec
    /// has no concealment of its own.
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

/// Encodes samples into payloads.
#[derive(Debug)]
pub enum Encoder {
    /// G.711, µ-law.
    Ulaw,
    /// G.711, A-law.
    Alaw,
    /// G.722.
    G722(Box<g722::Encoder>),
    /// Opus, with the samples of an incomplete packet.
    Opus(opus::Encoder, Gathered),
}

/// Samples of an incomplete packet.
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
    /// An encoder for the start of a stream. Opus uses `wishes` and `complexity`, 0 to 10.
    #[must_use]
    pub fn new(codec: Codec, wishes: &OpusFmtp, complexity: u8) -> Self {
        match codec {
            Codec::Pcmu => Self::Ulaw,
            Codec::Pcma => Self::Alaw,
            Codec::G722 => Self::G722(Box::default()),
            Codec::Opus => Self::Opus(opus::Encoder::new(wishes, complexity), Gathered::default()),
        }
    }

    /// Encodes samples of a packet; returns the number of bytes in `out` so far.
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

    /// Completes the packet: encodes remaining samples to `out`. Returns the number of bytes.
    pub fn finish(&mut self, out: &mut [u8]) -> usize {
        let Self::Opus(encoder, gathered) = self else { return 0 };
        let len = std::mem::take(&mut gathered.len);
        let made = encoder.encode(gathered.samples.get(..len).unwrap_or_default(), out);
        // Up to two bytes mean DTX: nothing needs to be sent.
        if made <= 2 { 0 } else { made }
    }

    /// Discards the samples of an incomplete packet.
    pub fn abandon(&mut self) {
        if let Self::Opus(_, gathered) = self {
            gathered.len = 0;
        }
    }

    /// Sets the packet loss at the far end, percent.
    pub fn expect_loss(&mut self, percent: u8) {
        if let Self::Opus(encoder, _) = self {
            encoder.expect_loss(percent);
        }
    }

    /// Copies the state of another encoder with the same codec and parameters.
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
