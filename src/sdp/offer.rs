//! Our offers, and the part of a description that is ours in offers and answers alike.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::negotiated::{Direction, Negotiated};
use super::{DEFAULT_PTIME, DTMF_PAYLOAD_TYPE};
use crate::codec::Codec;

/// Our end of a stream. The session id stays for the life of the dialog, the version counts up with
/// every change (RFC 3264 §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Session id of the origin line.
    pub session_id: u64,
    /// Version of the origin line; [`Local::next`] counts it up.
    pub version: u64,
    /// Our address.
    pub address: IpAddr,
    /// Our RTP port; RTCP is the next one.
    pub port: u16,
}

impl Local {
    /// The same end, one version on.
    pub fn next(&mut self) {
        self.version += 1;
    }

    /// Everything before the media lines.
    pub(super) fn head(&self) -> String {
        let family = if self.address.is_ipv6() { "IP6" } else { "IP4" };
        let (id, version, address) = (self.session_id, self.version, self.address);
        format!(
            "v=0\r\no=- {id} {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n"
        )
    }
}

/// An offer of `codecs` in their order, with telephone-event.
#[must_use]
pub fn offer(local: &Local, codecs: &[Codec], direction: Direction) -> String {
    let mut out = local.head();
    let numbers: Vec<String> = codecs.iter().map(|c| c.payload_type().to_string()).collect();
    // Writing into a String cannot fail.
    let _ok = write!(out, "m=audio {} RTP/AVP {} {DTMF_PAYLOAD_TYPE}\r\n", local.port, numbers.join(" "));
    for codec in codecs {
        let _ok = write!(out, "a=rtpmap:{} {}/{}\r\n", codec.payload_type(), codec.name(), codec.clock());
    }
    let _ok = write!(
        out,
        "a=rtpmap:{DTMF_PAYLOAD_TYPE} telephone-event/8000\r\na=fmtp:{DTMF_PAYLOAD_TYPE} 0-15\r\n\
         a=ptime:{DEFAULT_PTIME}\r\na={}\r\na=rtcp-mux\r\n",
        direction.as_str()
    );
    out
}
/// An offer inside a session: the codec and the numbers in use, nothing else (RFC 3264 §8.3.2).
#[must_use]
pub fn offer_again(local: &Local, agreed: &Negotiated, direction: Direction) -> String {
    let mut out = local.head();
    let (codec, pt) = (agreed.codec, agreed.payload_in);
    let digits = agreed.dtmf.map(|d| format!(" {}", d.payload_type)).unwrap_or_default();
    // Writing into a String cannot fail.
    let _ok = write!(out, "m=audio {} RTP/AVP {pt}{digits}\r\n", local.port);
    let _ok = write!(out, "a=rtpmap:{pt} {}/{}\r\n", codec.name(), codec.clock());
    if let Some(d) = agreed.dtmf {
        let (pt, clock) = (d.payload_type, d.clock);
        let _ok = write!(out, "a=rtpmap:{pt} telephone-event/{clock}\r\na=fmtp:{pt} 0-15\r\n");
    }
    let mux = if agreed.rtcp_mux { "a=rtcp-mux\r\n" } else { "" };
    let _ok = write!(out, "a=ptime:{}\r\na={}\r\n{mux}", agreed.ptime, direction.as_str());
    out
}
