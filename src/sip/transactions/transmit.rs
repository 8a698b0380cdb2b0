//! Outgoing messages of the transaction layer.

use crate::sip::Bytes;
use crate::sip::flow::Flow;

/// A message for the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Destination.
    pub target: Flow,
    /// The message.
    pub bytes: Bytes,
}
