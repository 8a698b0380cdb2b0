//! The encryption of a leg's media: both directions, made from what was agreed.

use super::transport::Datagram;
use crate::rtp::srtp::Context;
use crate::sdp::Keyed;
use crate::wire::crypto::MasterKey;

/// Both directions of an encrypted leg.
#[derive(Debug)]
pub struct SrtpSession {
    keyed: Keyed,
    send: Context,
    receive: Context,
}

impl SrtpSession {
    /// Contexts for these keys. A direction whose key stays goes on where it was: a session that is only refreshed
    /// must not count its packets anew. A new key at the same address counts on as well (RFC 3711 §3.3.1); where the far end
    /// has `moved`, ours begins anew (RFC 4568 §7.1.4), and what it sends may do either. Allocates nothing.
    #[must_use]
    pub fn new(keyed: Keyed, old: Option<Self>, moved: bool) -> Option<Self> {
        let Some(old) = old else {
            let (send, receive) = (Context::new(&keyed.ours)?, Context::new(&keyed.theirs)?);
            return Some(Self { keyed, send, receive });
        };
        let next = |key: &MasterKey, was: &MasterKey, context: Context, anew: bool| match (key == was, anew) {
            (true, _) => Some(context),
            (false, true) => Context::new(key),
            (false, false) => Context::succeeding(key, &context),
        };
        let send = next(&keyed.ours, &old.keyed.ours, old.send, moved)?;
        let receive = next(&keyed.theirs, &old.keyed.theirs, old.receive, false)?;
        Some(Self { keyed, send, receive })
    }

    /// Encrypts a packet of RTP; its new length.
    pub fn seal(&mut self, packet: &mut [u8], len: usize) -> Option<usize> {
        self.send.protect(packet, len).ok()
    }

    /// Encrypts a packet of RTCP; its new length.
    pub fn seal_rtcp(&mut self, packet: &mut [u8], len: usize) -> Option<usize> {
        self.send.protect_rtcp(packet, len).ok()
    }

    /// Decrypts a packet of RTP in its place; false when it is not the far end's.
    pub fn open(&mut self, d: &mut Datagram) -> bool {
        let opened = self.receive.unprotect(&mut d.bytes, d.len);
        d.len = opened.unwrap_or(0);
        opened.is_ok()
    }

    /// The same for RTCP.
    pub fn open_rtcp(&mut self, d: &mut Datagram) -> bool {
        let opened = self.receive.unprotect_rtcp(&mut d.bytes, d.len);
        d.len = opened.unwrap_or(0);
        opened.is_ok()
    }
}
