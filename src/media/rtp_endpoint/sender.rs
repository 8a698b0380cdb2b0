//! State of a sent RTP stream: sequence numbers and timestamps, the packet being filled, queued digits, and
//! the payloads of this tick that are shared with other legs.

use crate::codec::coder::MAX_PAYLOAD;
use crate::dsp::prefetch::{TELEPHONE, touch};
use crate::dsp::tone::ToneGenerator;
use crate::rtp::packet::{HEADER, header};
use crate::rtp::srtp::MAX_TAIL;
use crate::rtp::telephone_event::Sender;

/// Maximum packets per tick: of 10 ms each.
const MADE: usize = 2;

/// A payload shared with other legs.
#[derive(Debug, Clone)]
pub(super) struct EncodedPayload {
    /// Offset of its first sample from the start of the tick, samples.
    pub(super) before: i64,
    /// Length; 0: nothing is sent.
    pub(super) len: usize,
    pub(super) bytes: [u8; MAX_PAYLOAD],
}

/// Maximum digits queued per leg.
pub const MAX_DIGITS: usize = 128;

/// Flag in the code of a digit that is sent in-band regardless of the session.
pub const IN_BAND: u8 = 0x80;

/// Digits to send, as event codes.
pub type Digits = heapless::Vec<u8, MAX_DIGITS>;

/// The sending side of an RTP stream.
#[derive(Debug)]
pub struct RtpSender {
    pub(super) ssrc: u32,
    peer_ssrc: u32,
    sequence: u16,
    pub(super) timestamp: u32,
    pub(super) packets: u32,
    pub(super) bytes: u32,
    /// The next packet starts a talkspurt.
    pub(super) marker: bool,
    /// The next packet: space for its header, `packed` bytes of payload, and space for a tag.
    pub(super) packet: [u8; HEADER + MAX_PAYLOAD + MAX_TAIL],
    pub(super) packed: usize,
    /// Samples in it so far.
    pub(super) samples: usize,
    queue: Digits,
    dropped: u64,
    pub(super) event: Sender,
    pub(super) tone: Option<(ToneGenerator, u8)>,
    /// Payloads of this tick, if shared.
    pub(super) made: [EncodedPayload; MADE],
    pub(super) count: usize,
}

impl RtpSender {
    /// Initial sequence number and timestamp are arbitrary: derived from the random SSRC.
    #[must_use]
    pub fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            peer_ssrc: 0,
            sequence: (ssrc >> 7) as u16 & 0x7fff,
            timestamp: ssrc.rotate_left(13),
            packets: 0,
            bytes: 0,
            marker: true,
            packet: [0; HEADER + MAX_PAYLOAD + MAX_TAIL],
            packed: 0,
            samples: 0,
            queue: Digits::new(),
            dropped: 0,
            event: Sender::default(),
            tone: None,
            made: std::array::from_fn(|_| EncodedPayload { before: 0, len: 0, bytes: [0; MAX_PAYLOAD] }),
            count: 0,
        }
    }

    /// True if no digit is being sent or queued.
    pub(super) fn has_no_digits(&self) -> bool {
        self.queue.is_empty() && self.tone.is_none() && !self.event.is_active()
    }

    /// True if no packet was sent yet.
    pub(super) fn is_new(&self) -> bool {
        self.packets == 0
    }

    /// Samples in the packet being filled.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// Prefetches the memory needed in a tick into the cache.
    pub(super) fn touch(&self) -> i64 {
        touch(self.packet.get(..HEADER + TELEPHONE).unwrap_or_default())
            ^ i64::from(self.sequence)
            ^ i64::from(self.dropped as u32)
    }

    /// Continues with the partial packet of `other`.
    pub(super) fn go_on_from(&mut self, other: &Self) {
        (self.samples, self.packed) = (other.samples, other.packed);
        let part = HEADER..HEADER + other.packed.min(MAX_PAYLOAD);
        if let (Some(to), Some(from)) = (self.packet.get_mut(part.clone()), other.packet.get(part)) {
            to.copy_from_slice(from);
        }
    }

    /// Stores the payload of the packet of `len` bytes for sharing.
    pub(super) fn keep_made(&mut self, before: i64, len: usize) {
        let payload = self.packet.get(HEADER..len).unwrap_or_default();
        if let Some(made) = self.made.get_mut(self.count) {
            (made.before, made.len) = (before, payload.len());
            made.bytes.iter_mut().zip(payload).for_each(|(to, b)| *to = *b);
            self.count += 1;
        }
    }

    /// Our SSRC.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// SSRC of the far end.
    #[must_use]
    pub fn peer_ssrc(&self) -> u32 {
        self.peer_ssrc
    }

    /// Sets the SSRC of the far end.
    pub(super) fn set_peer_ssrc(&mut self, ssrc: u32) {
        self.peer_ssrc = ssrc;
    }

    /// Restarts packetization, e.g. after a change of codec or packet length.
    pub(super) fn restart(&mut self) {
        (self.packed, self.samples) = (0, 0);
        self.marker = true;
    }

    /// Queues digits; those that do not fit are dropped and counted.
    pub(super) fn add_digits(&mut self, codes: &[u8]) {
        for code in codes {
            if self.queue.push(*code).is_err() {
                self.dropped += 1;
            }
        }
    }

    /// Digits dropped because the queue was full, or the far end was on hold.
    pub(super) fn digits_dropped(&self) -> u64 {
        self.dropped
    }

    /// The header of the next packet of `len` bytes including header.
    pub(super) fn next_header(
        &mut self,
        len: usize,
        marker: bool,
        payload_type: u8,
        timestamp: u32,
    ) -> [u8; HEADER] {
        let head = header(marker, payload_type, self.sequence, timestamp, self.ssrc);
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add((len - HEADER) as u32);
        head
    }

    /// The next digit, if it is to be sent this way: in-band or as an event.
    pub(super) fn next_digit(&mut self, in_band: bool) -> Option<u8> {
        let code = *self.queue.first()?;
        if (code & IN_BAND != 0) != in_band {
            return None;
        }
        self.queue.remove(0);
        Some(code & !IN_BAND)
    }

    /// The next event allowed; disallowed digits before it are dropped and counted.
    pub(super) fn next_event(&mut self, may: impl Fn(u8) -> bool) -> Option<u8> {
        loop {
            let code = self.next_digit(false)?;
            if may(code) {
                return Some(code);
            }
            self.dropped += 1;
        }
    }

    /// Drops queued digits when the far end cannot receive, so that they are not sent later.
    pub(super) fn drop_digits(&mut self) {
        self.dropped += self.queue.len() as u64;
        self.queue.clear();
        (self.event, self.tone) = (Sender::default(), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_digits_are_counted() {
        let mut s = RtpSender::new(1);
        s.add_digits(&[5; MAX_DIGITS - 2]);
        s.add_digits(&[1, 2, 3, 4, 5]);
        assert_eq!((s.queue.len(), s.digits_dropped()), (MAX_DIGITS, 3));
        assert_eq!((s.next_digit(true), s.next_digit(false)), (None, Some(5)));
    }
}
