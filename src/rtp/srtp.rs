//! SRTP and SRTCP (RFC 3711, RFC 7714), one direction of a session. Nothing here allocates.

use aes::cipher::{KeyInit as _, KeyIvInit as _, StreamCipher as _};
use aes::{Aes128, Aes256};
use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes128Gcm, Aes256Gcm, Tag};
use ctr::Ctr128BE;
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

use super::srtp_index::{Streams, sender_index};
use crate::wire::crypto::{MasterKey, Suite};

/// Maximum bytes added to a packet: GCM tag and SRTCP index.
pub const MAX_TAIL: usize = 16 + 4;
/// The index word of SRTCP.
const INDEX: usize = 4;
/// Unencrypted fixed part of an RTCP packet.
const RTCP_HEAD: usize = 8;

/// Why a packet is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Shorter than its headers and tag, or too long for the buffer.
    #[error("the packet has a wrong length")]
    Length,
    /// Wrong authentication tag: not from the far end, or damaged.
    #[error("the packet is not authentic")]
    Authentication,
    /// Already received, or too old to tell.
    #[error("the packet was there before")]
    Replay,
}

/// Derived session keys of RTP or RTCP.
#[derive(Debug)]
enum Cipher {
    Cm { key: [u8; 16], salt: [u8; 14], auth: Hmac<Sha1>, tag: usize },
    Gcm128 { cipher: Aes128Gcm, salt: [u8; 12] },
    Gcm256 { cipher: Aes256Gcm, salt: [u8; 12] },
}

/// SRTP state of one direction of a session.
#[derive(Debug)]
pub struct Context {
    rtp: Cipher,
    rtcp: Cipher,
    streams: Streams,
    rtcp_streams: Streams,
    rtcp_sent: u32,
}

impl Context {
    /// Derives the session keys of a master key (RFC 3711 §4.3). `None` for lengths that match no suite.
    #[must_use]
    pub fn new(master: &MasterKey) -> Option<Self> {
        Some(Self {
            rtp: Cipher::derive(master, 0)?,
            rtcp: Cipher::derive(master, 3)?,
            streams: Streams::default(),
            rtcp_streams: Streams::default(),
            rtcp_sent: 0,
        })
    }

    /// The context of a key that replaces another one: packet indices continue (RFC 3711 §3.3.1, §3.2.1).
    ///
    /// `None` for lengths that match no suite.
    #[must_use]
    pub fn succeeding(master: &MasterKey, old: &Self) -> Option<Self> {
        let (streams, rtcp_sent) = (old.streams.under_another_key(), old.rtcp_sent);
        Some(Self { streams, rtcp_sent, ..Self::new(master)? })
    }

    /// Encrypts the RTP packet in the first `len` bytes of `buffer`; returns the new length. Packets must be
    /// passed in sequence order.
    ///
    /// # Errors
    /// Not an RTP packet, or no space for the tag.
    pub fn protect(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let (head, ssrc, sequence) = rtp_parts(buffer.get(..len).ok_or(SrtpError::Length)?)?;
        let roc = sender_index(&mut self.streams, ssrc, sequence);
        self.rtp.seal_rtp(buffer, head, len, ssrc, roc, sequence)
    }

    /// Authenticates and decrypts the packet in the first `len` bytes of `buffer`; returns the length of the
    /// RTP packet.
    ///
    /// # Errors
    /// See [`SrtpError`]; the buffer contents are then undefined.
    pub fn unprotect(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let (head, ssrc, sequence) = rtp_parts(buffer.get(..len).ok_or(SrtpError::Length)?)?;
        let mut index = self.streams.guess(ssrc, sequence);
        let mut open = |index: u64| {
            let roc = (index >> 16) as u32;
            self.rtp.open_rtp(buffer, head, len, ssrc, roc, sequence)
        };
        let mut plain = open(index);
        if plain == Err(SrtpError::Authentication)
            && let Some(other) = self.streams.other_guess(ssrc, sequence)
        {
            // A packet that failed authentication is unmodified.
            (index, plain) = (other, open(other));
        }
        let plain = plain?;
        if !self.streams.note(ssrc, index) {
            return Err(SrtpError::Replay);
        }
        Ok(plain)
    }

    /// Encrypts the RTCP packet in the first `len` bytes of `buffer`; returns the new length.
    ///
    /// # Errors
    /// Not an RTCP packet, or no space for the trailer.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(buffer.get(..len).ok_or(SrtpError::Length)?)?;
        self.rtcp_sent = (self.rtcp_sent + 1) & 0x7fff_ffff;
        self.rtcp.seal_rtcp(buffer, len, ssrc, self.rtcp_sent | 0x8000_0000)
    }

    /// Authenticates and decrypts the packet in the first `len` bytes of `buffer`; returns the length of the
    /// RTCP packet.
    ///
    /// # Errors
    /// See [`SrtpError`]; the buffer contents are then undefined.
    pub fn unprotect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(buffer.get(..len).ok_or(SrtpError::Length)?)?;
        let (plain, index) = self.rtcp.open_rtcp(buffer, len, ssrc)?;
        if !self.rtcp_streams.note(ssrc, u64::from(index)) {
            return Err(SrtpError::Replay);
        }
        Ok(plain)
    }
}

impl Cipher {
    /// Derives session keys starting at `label`: 0 for RTP, 3 for RTCP.
    fn derive(master: &MasterKey, label: u8) -> Option<Self> {
        let suite = master.suite;
        if matches!(suite, Suite::AesCm80 | Suite::AesCm32) {
            let (mut key, mut salt, mut auth) = ([0; 16], [0; 14], [0; 20]);
            derive(master, label, &mut key)?;
            derive(master, label + 1, &mut auth)?;
            derive(master, label + 2, &mut salt)?;
            // RTCP has tags of 80 bits in both suites (RFC 4568 §6.2).
            let tag = if suite == Suite::AesCm32 && label == 0 { 4 } else { 10 };
            return Some(Self::Cm { key, salt, auth: Hmac::new_from_slice(&auth).ok()?, tag });
        }
        let (mut key, mut salt) = ([0; 32], [0; 12]);
        let key = key.get_mut(..suite.key_len())?;
        derive(master, label, key)?;
        derive(master, label + 2, &mut salt)?;
        if suite == Suite::Gcm128 {
            return Some(Self::Gcm128 { cipher: Aes128Gcm::new_from_slice(key).ok()?, salt });
        }
        Some(Self::Gcm256 { cipher: Aes256Gcm::new_from_slice(key).ok()?, salt })
    }

    fn seal_rtp(
        &self,
        buffer: &mut [u8],
        head: usize,
        len: usize,
        ssrc: u32,
        roc: u32,
        sequence: u16,
    ) -> Result<usize, SrtpError> {
        match self {
            Self::Cm { key, salt, auth, tag } => {
                let index = u64::from(roc) << 16 | u64::from(sequence);
                let payload = buffer.get_mut(head..len).ok_or(SrtpError::Length)?;
                counter_mode(key, salt, ssrc, index, payload);
                let digest = authenticate(auth, buffer.get(..len).unwrap_or_default(), &roc.to_be_bytes());
                append(buffer, len, digest.get(..*tag).unwrap_or_default())
            }
            Self::Gcm128 { salt, .. } | Self::Gcm256 { salt, .. } => {
                let nonce = rtp_nonce(salt, ssrc, roc, sequence);
                self.seal_gcm(buffer, head, len, &nonce, None)
            }
        }
    }

    fn open_rtp(
        &self,
        buffer: &mut [u8],
        head: usize,
        len: usize,
        ssrc: u32,
        roc: u32,
        sequence: u16,
    ) -> Result<usize, SrtpError> {
        match self {
            Self::Cm { key, salt, auth, tag } => {
                let plain = len.checked_sub(*tag).filter(|p| *p >= head).ok_or(SrtpError::Length)?;
                let (signed, rest) = buffer.split_at_mut_checked(plain).ok_or(SrtpError::Length)?;
                let digest = authenticate(auth, signed, &roc.to_be_bytes());
                check(&digest, rest.get(..*tag).unwrap_or_default())?;
                let index = u64::from(roc) << 16 | u64::from(sequence);
                counter_mode(key, salt, ssrc, index, signed.get_mut(head..).ok_or(SrtpError::Length)?);
                Ok(plain)
            }
            Self::Gcm128 { salt, .. } | Self::Gcm256 { salt, .. } => {
                let nonce = rtp_nonce(salt, ssrc, roc, sequence);
                self.open_gcm(buffer, head, len, &nonce, None)
            }
        }
    }

    fn seal_rtcp(&self, buffer: &mut [u8], len: usize, ssrc: u32, index: u32) -> Result<usize, SrtpError> {
        let word = index.to_be_bytes();
        match self {
            Self::Cm { key, salt, auth, tag } => {
                let payload = buffer.get_mut(RTCP_HEAD..len).ok_or(SrtpError::Length)?;
                counter_mode(key, salt, ssrc, u64::from(index & 0x7fff_ffff), payload);
                let len = append(buffer, len, &word)?;
                let digest = authenticate(auth, buffer.get(..len).unwrap_or_default(), &[]);
                append(buffer, len, digest.get(..*tag).unwrap_or_default())
            }
            Self::Gcm128 { salt, .. } | Self::Gcm256 { salt, .. } => {
                let nonce = rtcp_nonce(salt, ssrc, index);
                let len = self.seal_gcm(buffer, RTCP_HEAD, len, &nonce, Some(word))?;
                append(buffer, len, &word)
            }
        }
    }

    fn open_rtcp(&self, buffer: &mut [u8], len: usize, ssrc: u32) -> Result<(usize, u32), SrtpError> {
        let tail = if let Self::Cm { tag, .. } = self { *tag } else { 0 };
        let end = len.checked_sub(tail + INDEX).filter(|e| *e >= RTCP_HEAD).ok_or(SrtpError::Length)?;
        let word = *buffer.get(end..).and_then(|b| b.first_chunk::<INDEX>()).ok_or(SrtpError::Length)?;
        let index = u32::from_be_bytes(word);
        let encrypted = index & 0x8000_0000 != 0;
        match self {
            Self::Cm { key, salt, auth, tag } => {
                let (signed, rest) = buffer.split_at_mut_checked(end + INDEX).ok_or(SrtpError::Length)?;
                let digest = authenticate(auth, signed, &[]);
                check(&digest, rest.get(..*tag).unwrap_or_default())?;
                if encrypted {
                    let payload = signed.get_mut(RTCP_HEAD..end).ok_or(SrtpError::Length)?;
                    counter_mode(key, salt, ssrc, u64::from(index & 0x7fff_ffff), payload);
                }
                Ok((end, index & 0x7fff_ffff))
            }
            // Unencrypted SRTCP under GCM is not used in practice, and its tag would cover other bytes.
            Self::Gcm128 { .. } | Self::Gcm256 { .. } if !encrypted => Err(SrtpError::Authentication),
            Self::Gcm128 { salt, .. } | Self::Gcm256 { salt, .. } => {
                let nonce = rtcp_nonce(salt, ssrc, index);
                let plain = self.open_gcm(buffer, RTCP_HEAD, end, &nonce, Some(word))?;
                Ok((plain, index & 0x7fff_ffff))
            }
        }
    }

    /// Encrypts what follows the header and appends the tag; `word` is authenticated after the header.
    fn seal_gcm(
        &self,
        buffer: &mut [u8],
        head: usize,
        len: usize,
        nonce: &[u8; 12],
        word: Option<[u8; INDEX]>,
    ) -> Result<usize, SrtpError> {
        let (aad, aad_len) = associated(buffer, head, word)?;
        let aad = aad.get(..aad_len).unwrap_or_default();
        let payload = buffer.get_mut(head..len).ok_or(SrtpError::Length)?;
        let tag = match self {
            Self::Gcm128 { cipher, .. } => cipher.encrypt_inout_detached(nonce.into(), aad, payload.into()),
            Self::Gcm256 { cipher, .. } => cipher.encrypt_inout_detached(nonce.into(), aad, payload.into()),
            Self::Cm { .. } => return Err(SrtpError::Length),
        };
        let tag = tag.map_err(|_| SrtpError::Length)?;
        let room = buffer.get_mut(len..len + tag.len()).ok_or(SrtpError::Length)?;
        room.iter_mut().zip(tag).for_each(|(to, b)| *to = b);
        Ok(len + 16)
    }

    fn open_gcm(
        &self,
        buffer: &mut [u8],
        head: usize,
        len: usize,
        nonce: &[u8; 12],
        word: Option<[u8; INDEX]>,
    ) -> Result<usize, SrtpError> {
        let plain = len.checked_sub(16).filter(|p| *p >= head).ok_or(SrtpError::Length)?;
        let tag: [u8; 16] = *buffer.get(plain..).and_then(|b| b.first_chunk()).ok_or(SrtpError::Length)?;
        let (aad, aad_len) = associated(buffer, head, word)?;
        let aad = aad.get(..aad_len).unwrap_or_default();
        let payload = buffer.get_mut(head..plain).ok_or(SrtpError::Length)?;
        let tag = Tag::from(tag);
        let opened = match self {
            Self::Gcm128 { cipher, .. } => {
                cipher.decrypt_inout_detached(nonce.into(), aad, payload.into(), &tag)
            }
            Self::Gcm256 { cipher, .. } => {
                cipher.decrypt_inout_detached(nonce.into(), aad, payload.into(), &tag)
            }
            Self::Cm { .. } => return Err(SrtpError::Length),
        };
        opened.map(|()| plain).map_err(|_| SrtpError::Authentication)
    }
}

/// Longest RTP header accepted: fixed part, 15 CSRCs, some extension.
const MAX_HEAD: usize = 12 + 60 + 64;

/// Associated data of GCM.
fn associated(
    buffer: &[u8],
    head: usize,
    word: Option<[u8; INDEX]>,
) -> Result<([u8; MAX_HEAD + INDEX], usize), SrtpError> {
    let mut aad = [0; MAX_HEAD + INDEX];
    let from = buffer.get(..head).filter(|h| h.len() <= MAX_HEAD).ok_or(SrtpError::Length)?;
    let all = from.iter().copied().chain(word.into_iter().flatten());
    aad.iter_mut().zip(all).for_each(|(to, b)| *to = b);
    Ok((aad, head + word.map_or(0, |w| w.len())))
}

fn authenticate(keyed: &Hmac<Sha1>, packet: &[u8], more: &[u8]) -> [u8; 20] {
    let mut mac = keyed.clone();
    mac.update(packet);
    mac.update(more);
    mac.finalize().into_bytes().into()
}

fn check(digest: &[u8; 20], tag: &[u8]) -> Result<(), SrtpError> {
    let want = digest.get(..tag.len()).unwrap_or_default();
    if !tag.is_empty() && bool::from(want.ct_eq(tag)) { Ok(()) } else { Err(SrtpError::Authentication) }
}

/// Appends `more` to the `len` bytes of a packet; returns the new length.
fn append(buffer: &mut [u8], len: usize, more: &[u8]) -> Result<usize, SrtpError> {
    let end = len + more.len();
    buffer.get_mut(len..end).ok_or(SrtpError::Length)?.copy_from_slice(more);
    Ok(end)
}

/// AES in counter mode (RFC 3711 §4.1.1).
fn counter_mode(key: &[u8; 16], salt: &[u8; 14], ssrc: u32, index: u64, data: &mut [u8]) {
    let salt = salt.iter().fold(0u128, |n, b| n << 8 | u128::from(*b)) << 16;
    let iv = salt ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16);
    Ctr128BE::<Aes128>::new(key.into(), &iv.to_be_bytes().into()).apply_keystream(data);
}

/// RFC 7714 §8.1.
fn rtp_nonce(salt: &[u8; 12], ssrc: u32, roc: u32, sequence: u16) -> [u8; 12] {
    let iv = u128::from(ssrc) << 48 | u128::from(roc) << 16 | u128::from(sequence);
    nonce(salt, iv)
}

/// RFC 7714 §9.1.
fn rtcp_nonce(salt: &[u8; 12], ssrc: u32, index: u32) -> [u8; 12] {
    nonce(salt, u128::from(ssrc) << 48 | u128::from(index & 0x7fff_ffff))
}

fn nonce(salt: &[u8; 12], iv: u128) -> [u8; 12] {
    let mut out = *salt;
    out.iter_mut().zip(iv.to_be_bytes().into_iter().skip(4)).for_each(|(o, b)| *o ^= b);
    out
}

/// Derives a session key: key stream of the master key at the label's position (RFC 3711 §4.3.3, RFC 6188).
fn derive(master: &MasterKey, label: u8, out: &mut [u8]) -> Option<()> {
    let mut salt = [0u8; 14];
    salt.iter_mut().zip(master.salt()).for_each(|(to, b)| *to = *b);
    let salt = salt.iter().fold(0u128, |n, b| n << 8 | u128::from(*b));
    let iv = ((salt ^ (u128::from(label) << 48)) << 16).to_be_bytes();
    out.fill(0);
    if master.key().len() == 32 {
        Ctr128BE::<Aes256>::new_from_slices(master.key(), &iv).ok()?.apply_keystream(out);
    } else {
        Ctr128BE::<Aes128>::new_from_slices(master.key(), &iv).ok()?.apply_keystream(out);
    }
    Some(())
}

/// Length of the header, SSRC and sequence number of an RTP packet.
fn rtp_parts(packet: &[u8]) -> Result<(usize, u32, u16), SrtpError> {
    let (h, rest) = packet.split_first_chunk::<12>().ok_or(SrtpError::Length)?;
    if h[0] >> 6 != 2 {
        return Err(SrtpError::Length);
    }
    let mut head = 12 + usize::from(h[0] & 15) * 4;
    if h[0] & 0x10 != 0 {
        let x = rest.get(head - 12..).and_then(|r| r.first_chunk::<4>()).ok_or(SrtpError::Length)?;
        head += 4 + usize::from(u16::from_be_bytes([x[2], x[3]])) * 4;
    }
    if head > packet.len() || head > MAX_HEAD {
        return Err(SrtpError::Length);
    }
    let ssrc = u32::from_be_bytes([h[8], h[9], h[10], h[11]]);
    Ok((head, ssrc, u16::from_be_bytes([h[2], h[3]])))
}

fn rtcp_ssrc(packet: &[u8]) -> Result<u32, SrtpError> {
    let h = packet.first_chunk::<RTCP_HEAD>().ok_or(SrtpError::Length)?;
    Ok(u32::from_be_bytes([h[4], h[5], h[6], h[7]]))
}

#[cfg(test)]
#[path = "srtp_test.rs"]
mod tests;
