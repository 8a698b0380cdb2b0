//! What events about registrations say: of phones with us, and of our trunks.

use schemars::JsonSchema;
use serde::Serialize;

use super::text::Text;

/// A phone and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Phone {
    /// Address of record.
    pub aor: Text,
    /// Its Contact.
    pub contact: Text,
    /// Address and port that it is reached at.
    pub socket: String,
    /// What it says that it is.
    pub user_agent: Text,
    /// When its registration ends.
    pub expires_at: String,
}

/// The account of a trunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TrunkAccount {
    /// The trunk.
    pub trunk_id: String,
    /// Address of record.
    pub aor: Text,
    /// Where it registers.
    pub registrar_uri: Text,
    /// The application it belongs to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_id: String,
}

/// A registration of ours that the registrar has taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TrunkRegistered {
    /// The trunk.
    #[serde(flatten)]
    pub trunk: TrunkAccount,
    /// How long it is good for, s.
    pub granted_expires_seconds: u32,
}

/// A registration of ours that did not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TrunkRegistrationFailed {
    /// The trunk.
    #[serde(flatten)]
    pub trunk: TrunkAccount,
    /// Why.
    pub error: Text,
    /// It is tried again after this time, s.
    pub retry_in_seconds: u64,
}

/// A registration of ours that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TrunkRegistrationExpired {
    /// The trunk.
    #[serde(flatten)]
    pub trunk: TrunkAccount,
    /// `expired` or `unregistered`.
    pub reason: &'static str,
}
