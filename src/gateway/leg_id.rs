//! What every part knows of a leg: its id, and which end placed the call.

use schemars::JsonSchema;
use serde::Serialize;

use crate::base::ids::Id;

/// What ids of legs are of.
#[derive(Debug)]
pub enum LegKey {}

/// Names a leg inside the gateway.
pub type LegId = Id<LegKey>;

/// Which end placed the call.
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
    /// As the API names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SipInbound => "sip_inbound",
            Self::SipOutbound => "sip_outbound",
        }
    }
}
