//! Errors of session descriptions.

/// Why a description is unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Not a session description.
    #[error("the session description cannot be read")]
    Malformed,
    /// No live audio line.
    #[error("no audio stream")]
    NoAudio,
    /// An unsupported or disallowed profile.
    #[error("transport profile {0} is not available")]
    Profile(String),
    /// No codec in common.
    #[error("no codec in common")]
    NoCodec,
    /// An encrypted stream without a supported key.
    #[error("no key of the encrypted stream can be used")]
    NoKeys,
    /// Not the address of a host, or of a family we do not have.
    #[error("the address of the stream, or its family, is not available")]
    Address,
    /// A multicast group.
    #[error("multicast is not available")]
    Multicast,
    /// A network other than the Internet.
    #[error("network {0} is not available")]
    Network(String),
    /// No free RTP port.
    #[error("no RTP port is free")]
    NoPort,
    /// An answer that does not match our offer.
    #[error("the answer does not fit the offer")]
    NotAnAnswer,
}
