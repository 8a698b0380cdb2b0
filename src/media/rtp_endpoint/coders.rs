//! The coders of a leg: decoders for all negotiated formats, and the encoder of the sent stream.

use super::playout::Playout;
use crate::codec::Codec;
use crate::codec::coder::Encoder;
use crate::dsp::MAX_FRAME;
use crate::dsp::resample::Resampler;
use crate::sdp::Negotiated;

/// Encoder and decoders of a leg. A leg keeps the sampling rate it started with: if the codec changes to one
/// with another rate, audio is converted here.
#[derive(Debug)]
pub struct Coders {
    pub(super) playout: Playout,
    pub(super) encoder: Encoder,
    /// From the leg's rate to that of the codec, if they differ.
    pub(super) converter: Option<Resampler>,
    /// A frame at the codec's rate.
    pub(super) converted: [i16; MAX_FRAME],
}

impl Coders {
    /// Coders of the negotiated stream, for a leg at `rate` Hz; `complexity` of Opus, 0 to 10.
    #[must_use]
    pub fn new(stream: &Negotiated, rate: u32, complexity: u8) -> Self {
        let others: Vec<Codec> = stream.formats.codecs().collect();
        let mut playout = Playout::of_several(stream.codec, &others, rate);
        if stream.codec == Codec::G722 {
            playout.describe_clock(stream.clock);
        }
        Self {
            playout,
            encoder: Encoder::new(stream.codec, &stream.wishes, complexity),
            converter: Resampler::new(rate, stream.codec.sample_rate()),
            converted: [0; MAX_FRAME],
        }
    }

    /// True if coders created for one session can be kept for another: same encoder, and a decoder for every
    /// format that may be received.
    #[must_use]
    pub fn can_go_on(made_for: &Negotiated, with: &Negotiated) -> bool {
        let decodes = |codec| made_for.formats.codecs().any(|c| c == codec);
        (made_for.codec, made_for.wishes) == (with.codec, with.wishes) && with.formats.codecs().all(decodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::{Description, Local, accept};

    /// The session negotiated by an answer with these formats.
    fn agreed(formats: &str) -> Negotiated {
        let text = format!(
            "v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP {formats}\r\n"
        );
        let answer = Description::parse(text.as_bytes()).unwrap();
        let local = Local::at("10.0.0.1".parse().unwrap(), 5000);
        accept(&answer, &local, Codec::ALL, true, "10.0.0.2".parse().unwrap()).unwrap()
    }

    #[test]
    fn coders_are_kept_for_fewer_formats_and_not_for_more() {
        let can = |from: &str, to: &str| Coders::can_go_on(&agreed(from), &agreed(to));
        assert!(can("0 8", "0 8") && can("0 8", "0") && can("0 8 9", "0 9"));
        assert!(!can("0", "0 8"), "no decoder for A-law");
        assert!(!can("0 8", "8 0"), "the sent codec changes");
    }
}
