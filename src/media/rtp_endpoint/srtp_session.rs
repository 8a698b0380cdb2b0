//! SRTP of a leg: both directions, from the negotiated keys.

use super::transport::Datagram;
use crate::rtp::srtp::Context;
use crate::sdp::Keyed;
use crate::wire::crypto::MasterKey;

/// Both directions of an SRTP session.
#[derive(Debug)]
pub struct SrtpSession {
    keyed: Keyed,
    send: Context,
    receive: Context,
}

impl SrtpSession {
    /// Contexts for these keys. A direction with an unchanged key continues: a session refresh must not reset
    /// packet indices. A new key at the same address continues the indices as well (RFC 3711 §3.3.1); if the
    /// far end has `moved`, ours are reset (RFC 4568 §7.1.4), and the far end may do either. Allocates
    /// nothing.
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

    /// Encrypts an RTP packet; returns its new length.
    pub fn seal(&mut self, packet: &mut [u8], len: usize) -> Option<usize> {
        self.send.protect(packet, len).ok()
    }

    /// Encrypts an RTCP packet; returns its new length.
    pub fn seal_rtcp(&mut self, packet: &mut [u8], len: usize) -> Option<usize> {
        self.send.protect_rtcp(packet, len).ok()
    }

    /// Decrypts an RTP packet in place; false if authentication fails.
    pub fn open(&mut self, d: &mut Datagram) -> bool {
        let opened = self.receive.unprotect(&mut d.bytes, d.len);
        d.len = opened.unwrap_or(0);
        opened.is_ok()
    }

    /// Decrypts an RTCP packet in place; false if authentication fails.
    pub fn open_rtcp(&mut self, d: &mut Datagram) -> bool {
        let opened = self.receive.unprotect_rtcp(&mut d.bytes, d.len);
        d.len = opened.unwrap_or(0);
        opened.is_ok()
    }
}
