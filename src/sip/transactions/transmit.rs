//! Outgoing messages of the transaction layer.

use crate::sip::Bytes;
use crate::sip::target::Target;

/// A message for the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Destination.
    pub target: Target,
    /// The message.
    pub bytes: Bytes,
}
