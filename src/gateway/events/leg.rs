//! Bodies of leg and room events.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::quality::QualityReport;
use super::text::Text;
use crate::gateway::legs::leg_id::Kind;

/// No fields besides the type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Empty {}

/// A new call.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LegRinging {
    /// Call direction.
    pub leg_type: Kind,
    /// Inbound: user part of the caller. Outbound: as given to the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Text>,
    /// Inbound: user part of the called address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Text>,
    /// Outbound: Request-URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<Text>,
    /// Inbound: the caller is authenticated as one of our users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<bool>,
    /// The authenticated user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_username: Option<Text>,
    /// The trunk of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trunk_id: Option<String>,
    /// The leg it replaces once it is connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces_leg_id: Option<String>,
    /// Inbound: X- headers of the INVITE. Outbound: headers added by the API.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sip_headers: BTreeMap<String, String>,
    /// Some X- headers were dropped because there were too many or they were too long.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sip_headers_truncated: bool,
    /// Bodies of the INVITE other than the session description.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bodies: Vec<OtherBody>,
}

impl LegRinging {
    /// A call in this direction without further information.
    #[must_use]
    pub fn of(leg_type: Kind) -> Self {
        Self {
            leg_type,
            from: None,
            to: None,
            uri: None,
            authenticated: None,
            auth_username: None,
            trunk_id: None,
            replaces_leg_id: None,
            sip_headers: BTreeMap::new(),
            sip_headers_truncated: false,
            bodies: Vec::new(),
        }
    }
}

/// A body of an INVITE other than the session description; its content is not included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OtherBody {
    /// Media type.
    pub content_type: Text,
    /// Content-Disposition.
    pub disposition: Text,
    /// Content-ID.
    pub content_id: Option<Text>,
    /// Length, bytes.
    pub bytes: usize,
}

/// State change of a leg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LegState {
    /// Call direction.
    pub leg_type: Kind,
}

/// A command that has failed.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CommandFailed {
    /// `hold` or `unhold`.
    pub command: &'static str,
    /// Reason.
    pub error: Text,
}

/// A received DTMF digit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Digit {
    /// 0 to 9, `*`, `#`, A to D.
    pub digit: char,
    /// Number of the digit within the leg, from 1.
    pub seq: u64,
}

/// `blind`, or `attended` if another dialog is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TransferKind {
    /// The target was not consulted before.
    Blind,
    /// Replaces a call to the target.
    Attended,
}

impl TransferKind {
    /// Attended if it replaces another dialog.
    #[must_use]
    pub fn of(replaces: bool) -> Self {
        if replaces { Self::Attended } else { Self::Blind }
    }
}

/// A transfer requested by the API.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TransferInitiated {
    /// Blind or attended.
    pub kind: TransferKind,
    /// URI the far end is to call.
    pub target: Text,
    /// The leg whose call is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces_leg_id: Option<String>,
}

/// A transfer requested by the far end.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TransferRequested {
    /// Blind or attended.
    pub kind: TransferKind,
    /// URI we are asked to call.
    pub target: Text,
    /// The request was declined.
    pub declined: bool,
    /// Call-ID of the call to be replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces_call_id: Option<Text>,
}

/// Progress of the call to a transfer target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TransferOutcome {
    /// Status code of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// Reason phrase of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// Error, if there is no status code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Text>,
}

impl TransferOutcome {
    /// A failure without status code.
    #[must_use]
    pub fn failed(error: impl Into<Text>) -> Self {
        Self { status_code: None, reason: None, error: Some(error.into()) }
    }
}

/// The end of a leg.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LegDisconnected {
    /// Reason and duration of the call.
    pub cdr: CallRecord,
    /// Media quality; missing if the leg had no media.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<QualityReport>,
}

/// Call detail record.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CallRecord {
    /// Why it ended.
    pub reason: Text,
    /// From start to end, s.
    pub duration_total: f64,
    /// From the answer to the end, s.
    pub duration_answered: f64,
}

/// Result of answering-machine detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AmdResult {
    /// `human`, `machine`, `no_speech` or `not_sure`.
    pub result: &'static str,
    /// Silence before the first word, ms.
    pub initial_silence_ms: u32,
    /// Length of the greeting, ms.
    pub greeting_duration_ms: u32,
    /// Length of the analysed audio, ms.
    pub total_analysis_ms: u32,
}

/// The beep of an answering machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AmdBeep {
    /// Time of the beep, ms after the result.
    pub beep_ms: u32,
}
