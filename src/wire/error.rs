//! Errors of message parsing.

/// Why received bytes are not a valid message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A part that does not follow its grammar.
    #[error("malformed {0}")]
    Value(&'static str),
    /// A mandatory header field is missing.
    #[error("missing {0}")]
    Missing(&'static str),
    /// A header field occurs more than once.
    #[error("more than one {0}")]
    Twice(&'static str),
    /// A SIP version other than 2.0.
    #[error("another version of SIP")]
    Version,
    /// A limit is exceeded.
    #[error("too large: {0}")]
    TooLarge(&'static str),
}
