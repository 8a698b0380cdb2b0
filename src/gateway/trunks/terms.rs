//! What a call's trunk, or the settings where it has none, say of the call: fixed when it begins.

use std::net::IpAddr;

use super::trunk::TrunkId;
use crate::config::DtmfMode;
use crate::rtp::lock::RtpSource;
use crate::wire::crypto::Srtp;

/// The terms of a call; they stay as they were when it began, whatever becomes of its trunk.
#[derive(Debug, Clone)]
pub struct CallTerms {
    /// The trunk it goes through.
    pub trunk: Option<TrunkId>,
    /// Over TLS, any certificate will do.
    pub lax: bool,
    /// Whether its media is encrypted.
    pub srtp: Srtp,
    /// How digits are sent.
    pub dtmf: DtmfMode,
    /// Where RTP may come from beside the described address.
    pub rtp_source: RtpSource,
    /// Our address for its media, where it is not the one that others use.
    pub home: Option<IpAddr>,
}
