//! Registration status of a trunk.

/// Registration status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// First registration in progress.
    Registering,
    /// Registered.
    Active,
    /// Failed; it is being retried.
    Failed,
    /// Expired before it could be refreshed; it is being retried.
    Expired,
    /// Being unregistered.
    Unregistering,
}

impl Status {
    /// The name used by the API.
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
