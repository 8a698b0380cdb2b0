//! Settings of a call, from its trunk or the global ones; fixed when it starts.

use std::net::IpAddr;

use super::trunk::TrunkId;
use crate::config::DtmfMode;
use crate::rtp::lock::RtpSource;
use crate::wire::crypto::Srtp;

/// Settings of a call; later changes of its trunk do not affect it.
#[derive(Debug, Clone)]
pub struct CallTerms {
    /// Its trunk.
    pub trunk: Option<TrunkId>,
    /// Over TLS, accept any certificate.
    pub lax: bool,
    /// Media encryption.
    pub srtp: Srtp,
    /// DTMF mode.
    pub dtmf: DtmfMode,
    /// Further allowed RTP sources besides the address in the SDP.
    pub rtp_source: RtpSource,
    /// Our media address, if it differs from the announced one.
    pub home: Option<IpAddr>,
}
