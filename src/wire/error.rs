//! What is wrong with a message or a part of it.

/// What is wrong with bytes from the network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A part that does not follow its grammar.
    #[error("malformed {0}")]
    Value(&'static str),
    /// A header every message needs is not there.
    #[error("missing {0}")]
    Missing(&'static str),
    /// A header that may stand once stands twice.
    #[error("more than one {0}")]
    Twice(&'static str),
    /// Another version of SIP than 2.0.
    #[error("another version of SIP")]
    Version,
    /// A limit of ours.
    #[error("too large: {0}")]
    TooLarge(&'static str),
}
