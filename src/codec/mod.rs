//! Rank 1: audio codecs. Fixed frames, no allocation per frame.

pub mod coder;
pub mod g711;
pub mod g722;
pub mod opus;

/// A codec built into this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    /// Opus, 48 kHz.
    Opus,
    /// G.722, 16 kHz.
    G722,
    /// G.711 µ-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
}

/// Codecs that the API knows by name; known ones that are not built in are skipped.
pub const KNOWN: &[&str] = &["opus", "G722", "PCMU", "PCMA"];

impl Codec {
    /// All codecs built in, in the default order of preference.
    pub const ALL: &'static [Self] = &[Self::Opus, Self::G722, Self::Pcmu, Self::Pcma];

    /// Encoding name, as in rtpmap.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::G722 => "G722",
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// The codec with this encoding name, case-insensitive.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.name().eq_ignore_ascii_case(name))
    }

    /// Payload type in our offers; static ones are defined by RFC 3551.
    #[must_use]
    pub fn payload_type(self) -> u8 {
        match self {
            Self::Opus => 111,
            Self::G722 => 9,
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    /// RTP clock rate, Hz. For G.722 it is half the sampling rate (RFC 3551 §4.5.2).
    #[must_use]
    pub fn clock(self) -> u32 {
        match self {
            Self::Opus => opus::RATE,
            Self::G722 | Self::Pcmu | Self::Pcma => 8000,
        }
    }

    /// True for clock rates acceptable in an rtpmap: some products describe G.722 with its sampling rate,
    /// 16,000 Hz.
    #[must_use]
    pub fn takes_clock(self, clock: u32) -> bool {
        clock == self.clock() || (self == Self::G722 && clock == self.sample_rate())
    }

    /// Sampling rate of the decoded audio, Hz.
    #[must_use]
    pub fn sample_rate(self) -> u32 {
        match self {
            Self::Opus => opus::RATE,
            Self::G722 => 16_000,
            Self::Pcmu | Self::Pcma => 8000,
        }
    }

    /// Channel suffix in rtpmap: Opus is always described as stereo (RFC 7587 §7).
    #[must_use]
    pub fn channels(self) -> &'static str {
        match self {
            Self::Opus => "/2",
            Self::G722 | Self::Pcmu | Self::Pcma => "",
        }
    }

    /// Format parameters in our descriptions: what we prefer to receive.
    #[must_use]
    pub fn fmtp(self) -> Option<&'static str> {
        match self {
            Self::Opus => Some("minptime=20; useinbandfec=1; stereo=0; sprop-stereo=0"),
            Self::G722 | Self::Pcmu | Self::Pcma => None,
        }
    }

    /// The longest packet length that the codec supports, at most `ms`.
    #[must_use]
    pub fn packet_ms(self, ms: u16) -> u16 {
        match (self, ms) {
            (Self::Opus, 60..) => 60,
            (Self::Opus, 40..) => 40,
            (Self::Opus, 20..) => 20,
            (Self::Opus, _) => 10,
            (Self::G722 | Self::Pcmu | Self::Pcma, ms) => ms - ms % 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_case() {
        assert_eq!(Codec::by_name("pcmA"), Some(Codec::Pcma));
        assert_eq!(Codec::by_name("OPUS"), Some(Codec::Opus));
        assert_eq!(Codec::by_name("G729"), None);
        assert!(Codec::ALL.iter().all(|c| KNOWN.contains(&c.name())));
    }

    #[test]
    fn packets_have_lengths_the_codec_knows() {
        assert_eq!([10, 20, 30, 50, 60].map(|ms| Codec::Opus.packet_ms(ms)), [10, 20, 20, 40, 60]);
        assert_eq!([10, 25, 30, 60].map(|ms| Codec::G722.packet_ms(ms)), [10, 20, 30, 60]);
    }
}
