//! A renegotiated session with everything it needs preallocated.

use std::net::IpAddr;

use super::coders::Coders;
use crate::sdp::Negotiated;

/// A renegotiated session.
#[derive(Debug)]
pub struct Renegotiation {
    /// The negotiated session.
    pub stream: Negotiated,
    /// Source address of the signalling.
    pub signalling: Option<IpAddr>,
    /// New coders, if the codec or its parameters have changed.
    pub coders: Option<Box<Coders>>,
}
