//! Representation of a leg in the API.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// A leg, as every reply that shows one has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Leg")]
pub struct LegView {
    /// Unique leg identifier (UUID).
    pub id: String,
    /// `sip_inbound` or `sip_outbound`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `ringing`, `early_media`, `connected`, `held` or `hung_up`.
    pub state: &'static str,
    /// The room the leg is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_id: Option<String>,
    /// Other members do not hear the leg.
    pub muted: bool,
    /// The leg does not hear other members.
    pub deaf: bool,
    /// The leg receives digits sent by other members of its room.
    pub accept_dtmf: bool,
    /// The call is on hold.
    pub held: bool,
    /// X- headers of the inbound INVITE.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sip_headers: BTreeMap<String, String>,
}
