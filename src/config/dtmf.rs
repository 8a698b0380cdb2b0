//! DTMF transmission modes.

use super::value::{Raw, Value, named, show_named};

/// How DTMF digits are sent to a far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DtmfMode {
    /// RFC 4733 events if the far end accepts them, otherwise in-band tones.
    Auto,
    /// RFC 4733 events only.
    Rfc4733,
    /// By SIP INFO (`application/dtmf-relay`).
    Info,
    /// In-band tones, regardless of the negotiation.
    Inband,
}

impl DtmfMode {
    /// All modes by name.
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
