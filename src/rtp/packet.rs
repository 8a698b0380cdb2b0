//! The RTP header as a view over received bytes, and as bytes to send (RFC 3550 §5.1).

/// A received packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Marker bit.
    pub marker: bool,
    /// Payload type, at most 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp, in units of the payload's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Payload, without padding.
    pub payload: &'a [u8],
}

/// Parse errors of an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Shorter than its header says.
    #[error("short packet")]
    Short,
    /// Version other than 2.
    #[error("not version 2")]
    Version,
    /// More padding than payload.
    #[error("bad padding")]
    Padding,
}

/// Length of the fixed header, bytes.
pub const HEADER: usize = 12;

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// See [`RtpError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtpError> {
        let Some((h, mut rest)) = bytes.split_first_chunk::<HEADER>() else { return Err(RtpError::Short) };
        if h[0] >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let csrcs = usize::from(h[0] & 15) * 4;
        rest = rest.get(csrcs..).ok_or(RtpError::Short)?;
        if h[0] & 0x10 != 0 {
            let (x, after) = rest.split_first_chunk::<4>().ok_or(RtpError::Short)?;
            let words = usize::from(u16::from_be_bytes([x[2], x[3]]));
            rest = after.get(words * 4..).ok_or(RtpError::Short)?;
        }
        if h[0] & 0x20 != 0 {
            let padding = usize::from(*rest.last().ok_or(RtpError::Padding)?);
            let keep = rest.len().checked_sub(padding).filter(|_| padding > 0).ok_or(RtpError::Padding)?;
            rest = rest.get(..keep).ok_or(RtpError::Padding)?;
        }
        Ok(Self {
            marker: h[1] & 0x80 != 0,
            payload_type: h[1] & 0x7f,
            sequence: u16::from_be_bytes([h[2], h[3]]),
            timestamp: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
            ssrc: u32::from_be_bytes([h[8], h[9], h[10], h[11]]),
            payload: rest,
        })
    }
}

/// The header of a packet to send: version 2, no padding, extension or sources.
#[must_use]
pub fn header(marker: bool, payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32) -> [u8; HEADER] {
    let [s0, s1] = sequence.to_be_bytes();
    let [t0, t1, t2, t3] = timestamp.to_be_bytes();
    let [r0, r1, r2, r3] = ssrc.to_be_bytes();
    [0x80, u8::from(marker) << 7 | payload_type & 0x7f, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back() {
        let mut bytes = header(true, 101, 0xfffe, 0x01020304, 0xdeadbeef).to_vec();
        bytes.extend_from_slice(b"abc");
        let p = Packet::parse(&bytes).unwrap();
        assert_eq!(
            (p.marker, p.payload_type, p.sequence, p.timestamp, p.ssrc),
            (true, 101, 0xfffe, 0x01020304, 0xdeadbeef)
        );
        assert_eq!(p.payload, b"abc");
    }

    #[test]
    fn sources_extension_and_padding_are_cut_off() {
        let mut bytes = header(false, 0, 1, 1, 1).to_vec();
        bytes[0] = 0x80 | 0x20 | 0x10 | 1;
        bytes.extend_from_slice(&[9; 4]);
        bytes.extend_from_slice(&[0xbe, 0xde, 0, 1, 5, 5, 5, 5]);
        bytes.extend_from_slice(&[7, 7, 0, 2]);
        assert_eq!(Packet::parse(&bytes).unwrap().payload, [7, 7]);
    }

    #[test]
    fn broken_packets_are_errors() {
        assert_eq!(Packet::parse(&[0x80; 11]), Err(RtpError::Short));
        assert_eq!(Packet::parse(&[0x40; 12]), Err(RtpError::Version));
        assert_eq!(Packet::parse(&[0x8f; 12]), Err(RtpError::Short));
        assert_eq!(Packet::parse(&[0x90; 12]), Err(RtpError::Short));
        let mut padded = [0u8; 13];
        padded[0] = 0xa0;
        assert_eq!(Packet::parse(&padded), Err(RtpError::Padding));
        padded[12] = 2;
        assert_eq!(Packet::parse(&padded), Err(RtpError::Padding));
    }
}
