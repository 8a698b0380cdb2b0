//! What events about legs and rooms say.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::quality::QualityReport;
use super::text::Text;
use crate::gateway::leg_id::Kind;

/// Nothing but the type of the event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Empty {}

/// A call that begins.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LegRinging {
    /// Who placed it.
    pub leg_type: Kind,
    /// Inbound: user part of the caller. Outbound: as the API said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Text>,
    /// Inbound: user part of whom it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Text>,
    /// Outbound: whom we call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<Text>,
    /// Inbound: the caller has proved to be a user of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<bool>,
    /// That user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_username: Option<Text>,
    /// The trunk that it goes through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trunk_id: Option<String>,
    /// The leg whose place it takes once it is connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces_leg_id: Option<String>,
    /// Inbound: X- headers of the INVITE. Outbound: headers that the API has added.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sip_headers: BTreeMap<String, String>,
    /// There were more X- headers, or longer ones, than are kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sip_headers_truncated: bool,
    /// Bodies of the INVITE beside the session description.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bodies: Vec<OtherBody>,
}

impl LegRinging {
    /// A call of this kind, of which nothing else is known.
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

/// A body of an INVITE that does not describe the session; never what is in it.
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

/// The leg has come to another state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LegState {
    /// Who placed the call.
    pub leg_type: Kind,
}

/// A command that was not carried out.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CommandFailed {
    /// `hold` or `unhold`.
    pub command: &'static str,
    /// Why.
    pub error: Text,
}

/// A digit of the far end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Digit {
    /// 0 to 9, `*`, `#`, A to D.
    pub digit: char,
    /// Counts the digits of the leg from 1.
    pub seq: u64,
}

/// `blind`, or `attended` where another dialog is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TransferKind {
    /// Without asking the target before.
    Blind,
    /// It replaces a call to the target.
    Attended,
}

impl TransferKind {
    /// By whether another dialog is replaced.
    #[must_use]
    pub fn of(replaces: bool) -> Self {
        if replaces { Self::Attended } else { Self::Blind }
    }
}

/// A transfer that the API asks for.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TransferInitiated {
    /// Blind or attended.
    pub kind: TransferKind,
    /// Whom the far end is to call.
    pub target: Text,
    /// The leg whose call is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces_leg_id: Option<String>,
}

/// A transfer that the far end asks for.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TransferRequested {
    /// Blind or attended.
    pub kind: TransferKind,
    /// Whom it wants to be called.
    pub target: Text,
    /// It was refused.
    pub declined: bool,
    /// Call-ID of the call that is to be replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces_call_id: Option<Text>,
}

/// How the call of a transfer goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TransferOutcome {
    /// Status code of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// Reason phrase of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// Why, where no status code says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Text>,
}

impl TransferOutcome {
    /// A failure without a status code.
    #[must_use]
    pub fn failed(error: impl Into<Text>) -> Self {
        Self { status_code: None, reason: None, error: Some(error.into()) }
    }
}

/// The end of a leg.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LegDisconnected {
    /// Reason and length of the call.
    pub cdr: CallRecord,
    /// How well its media travelled; without one it had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<QualityReport>,
}

/// What there is to be known of a call that is over.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CallRecord {
    /// Why it ended.
    pub reason: Text,
    /// From its beginning to its end, s.
    pub duration_total: f64,
    /// From the answer to its end, s.
    pub duration_answered: f64,
}

/// Who has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AmdResult {
    /// `human`, `machine`, `no_speech` or `not_sure`.
    pub result: &'static str,
    /// Silence before the first word, ms.
    pub initial_silence_ms: u32,
    /// Length of the greeting, ms.
    pub greeting_duration_ms: u32,
    /// Length of what was listened to, ms.
    pub total_analysis_ms: u32,
}

/// A beep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AmdBeep {
    /// When it was heard, ms after the result.
    pub beep_ms: u32,
}
