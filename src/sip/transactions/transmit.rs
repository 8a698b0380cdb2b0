//! What the transactions send.

use crate::sip::Bytes;
use crate::sip::target::Target;

/// A message for the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub target: Target,
    /// The message.
    pub bytes: Bytes,
}
