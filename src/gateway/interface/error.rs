//! Errors of gateway commands.

/// A command that was not carried out; the text states the problem and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// No such leg, room, playback or recording.
    #[error("{0}")]
    NotFound(&'static str),
    /// Invalid value.
    #[error("{0}")]
    Invalid(String),
    /// Not possible in the current state.
    #[error("{0}")]
    Conflict(String),
    /// Tried and failed.
    #[error("{0}")]
    Failed(String),
    /// A limit is reached, or the gateway is stopping.
    #[error("{0}")]
    Unavailable(String),
}

impl GatewayError {
    /// No leg with this id, or it has ended.
    pub const NO_LEG: Self = Self::NotFound("leg not found");
}
