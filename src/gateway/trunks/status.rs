//! How a registration of ours stands.

/// How a registration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Under way for the first time.
    Registering,
    /// The registrar knows us.
    Active,
    /// It did not work; it is tried again.
    Failed,
    /// It ran out before it could be refreshed; it is tried again.
    Expired,
    /// It is being taken back.
    Unregistering,
}

impl Status {
    /// As the API shows it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registering => "registering",
            Self::Active => "active",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Unregistering => "unregistering",
        }
    }
}
