//! Why a session description cannot be used.

/// Why a description is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Not a session description.
    #[error("the session description cannot be read")]
    Malformed,
    /// No audio line that is not refused.
    #[error("no audio stream")]
    NoAudio,
    /// A profile that is not available, or may not be used.
    #[error("transport profile {0} is not available")]
    Profile(String),
    /// No codec in common.
    #[error("no codec in common")]
    NoCodec,
    /// An encrypted stream without a key that we can use.
    #[error("no key of the encrypted stream can be used")]
    NoKeys,
    /// An address that is none of one host, or of a family that we have not.
    #[error("the address of the stream, or its family, is not available")]
    Address,
    /// A multicast group.
    #[error("multicast is not available")]
    Multicast,
    /// Another network than the internet.
    #[error("network {0} is not available")]
    Network(String),
    /// No RTP port of ours is left.
    #[error("no RTP port is free")]
    NoPort,
    /// An answer that does not belong to our offer.
    #[error("the answer does not fit the offer")]
    NotAnAnswer,
}
