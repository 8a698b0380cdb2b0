//! Another agreement with the far end, with everything that it needs already allocated.

use std::net::IpAddr;

use super::coders::Coders;
use crate::sdp::Negotiated;

/// Another agreement with the far end.
#[derive(Debug)]
pub struct Renegotiation {
    /// What was agreed.
    pub stream: Negotiated,
    /// Where the signalling comes from.
    pub signalling: Option<IpAddr>,
    /// Coders, where the codec or what the far end wants of it has changed.
    pub coders: Option<Box<Coders>>,
}
