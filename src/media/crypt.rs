//! The encryption of a leg's media: both directions, made from what was agreed.

use super::wire::Datagram;
use crate::rtp::srtp::Context;
use crate::sdp::Keyed;

/// Both directions of an encrypted leg.
#[derive(Debug)]
pub struct Crypt {
    keyed: Keyed,
    send: Context,
    receive: Context,
}

impl Crypt {
    /// Contexts for these keys. A direction whose key stays goes on where it was: a session that is only refreshed
    /// must not count its packets anew. Allocates nothing.
    #[must_use]
    pub fn new(keyed: Keyed, old: Option<Self>) -> Option<Self> {
        let (send, receive) = match old {
            Some(old) => (
                Some(old.send).filter(|_| old.keyed.ours == keyed.ours),
                Some(old.receive).filter(|_| old.keyed.theirs == keyed.theirs),
            ),
            None => (None, None),
        };
        let send = send.or_else(|| Context::new(&keyed.ours))?;
        let receive = receive.or_else(|| Context::new(&keyed.theirs))?;
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
