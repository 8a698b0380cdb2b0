//! How digits are sent.

use super::value::{Raw, Value, named, show_named};

/// How digits are sent to a far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DtmfMode {
    /// As events of RFC 4733 where the far end takes them, else as tones in the sound.
    Auto,
    /// As events of RFC 4733, or not at all.
    Rfc4733,
    /// By SIP INFO (`application/dtmf-relay`).
    Info,
    /// As tones in the sound, whatever was agreed.
    Inband,
}

impl DtmfMode {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 4] =
        [("auto", Self::Auto), ("rfc4733", Self::Rfc4733), ("info", Self::Info), ("inband", Self::Inband)];
}

impl Value for DtmfMode {
    fn read(raw: &Raw) -> Result<Self, String> {
        named(raw, &Self::ALL, "one of auto, rfc4733, info, inband")
    }
    fn show(&self) -> String {
        show_named(self, &Self::ALL)
    }
}
