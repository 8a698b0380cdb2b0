//! Bodies of registration events: phones at our registrar, and our trunks.

use schemars::JsonSchema;
use serde::Serialize;

use super::text::Text;

/// A registered phone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Phone {
    /// Address of record.
    pub aor: Text,
    /// Contact URI.
    pub contact: Text,
    /// Source address and port.
    pub socket: String,
    /// User-Agent of the phone.
    pub user_agent: Text,
    /// Expiry time.
    pub expires_at: String,
}

/// Account of a trunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TrunkAccount {
    /// Trunk id.
    pub trunk_id: String,
    /// Address of record.
    pub aor: Text,
    /// Registrar URI.
    pub registrar_uri: Text,
    /// The application it belongs to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_id: String,
}

/// A successful registration of a trunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TrunkRegistered {
    /// The trunk.
    #[serde(flatten)]
    pub trunk: TrunkAccount,
    /// Granted registration interval, s.
    pub granted_expires_seconds: u32,
}

/// A failed registration of a trunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TrunkRegistrationFailed {
    /// The trunk.
    #[serde(flatten)]
    pub trunk: TrunkAccount,
    /// Reason.
    pub error: Text,
    /// Time until the next try, s.
    pub retry_in_seconds: u64,
}

/// End of a trunk's registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TrunkRegistrationExpired {
    /// The trunk.
    #[serde(flatten)]
    pub trunk: TrunkAccount,
    /// `expired` or `unregistered`.
    pub reason: &'static str,
}
