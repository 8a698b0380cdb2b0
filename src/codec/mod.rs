//! Rank 1: audio codecs. Fixed frames in and out, nothing allocated per frame.

pub mod g711;

/// A codec built into this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    /// G.711 µ-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
}

/// Codecs the API knows by name, built in or not (decisions: a known one that is not built in is skipped).
pub const KNOWN: &[&str] = &["opus", "G722", "PCMU", "PCMA"];

impl Codec {
    /// All codecs built in, in the default order of preference.
    pub const ALL: &'static [Self] = &[Self::Pcmu, Self::Pcma];

    /// Encoding name, as in rtpmap.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// The codec of an encoding name, whatever its case.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.name().eq_ignore_ascii_case(name))
    }

    /// Payload type we offer it under; static ones are fixed by RFC 3551.
    #[must_use]
    pub fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    /// RTP clock, Hz.
    #[must_use]
    pub fn clock(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8000,
        }
    }

    /// Sampling rate of the decoded audio, Hz.
    #[must_use]
    pub fn sample_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_case() {
        assert_eq!(Codec::by_name("pcmA"), Some(Codec::Pcma));
        assert_eq!(Codec::by_name("G729"), None);
        assert!(Codec::ALL.iter().all(|c| KNOWN.contains(&c.name())));
    }
}
