//! Leg id, and call direction.

use schemars::JsonSchema;
use serde::Serialize;

use crate::base::ids::Id;

/// Marker type of leg ids.
#[derive(Debug)]
pub enum LegKey {}

/// Identifies a leg inside the gateway.
pub type LegId = Id<LegKey>;

/// Call direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LegType")]
pub enum Kind {
    /// The far end called us.
    SipInbound,
    /// We called the far end.
    SipOutbound,
}

impl Kind {
    /// The name used by the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SipInbound => "sip_inbound",
            Self::SipOutbound => "sip_outbound",
        }
    }
}
