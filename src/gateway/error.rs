//! Why the gateway does not do what it is asked.

/// A verb that was not carried out; the text says what was wrong and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// No such leg, room, playback or recording.
    #[error("{0}")]
    NotFound(&'static str),
    /// A value that cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// Not in this state.
    #[error("{0}")]
    Conflict(String),
    /// It was tried and failed.
    #[error("{0}")]
    Failed(String),
    /// A limit is reached, or the gateway is stopping.
    #[error("{0}")]
    Unavailable(String),
}

impl GatewayError {
    /// No leg of this name, or it has ended.
    pub const NO_LEG: Self = Self::NotFound("leg not found");
}
