//! What a leg sends: packets of the agreed length, digits, and reports.

use super::leg::Leg;
use super::rtp_endpoint::coders::Coders;
use super::rtp_endpoint::transport::MediaTransport;
use crate::codec::coder::MAX_PAYLOAD;
use crate::dsp::prefetch::{TELEPHONE, touch};
use crate::dsp::tone::{self, ToneGenerator};
use crate::dsp::{MAX_FRAME, frame_len, limiter};
use crate::rtp::packet::{HEADER, header};
use crate::rtp::rtcp::{self, MAX_REPORT};
use crate::rtp::srtp::MAX_TAIL;
use crate::rtp::telephone_event::{DIGITS, Outgoing, Sender};

/// Ticks between two reports: 5 s (RFC 3550 §6.2).
const REPORT_TICKS: u64 = 250;
/// In-band digits where no telephone-event was agreed: ticks of tone and of pause.
const TONE_TICKS: u8 = 5;

/// Packets made in one tick at most: of 10 ms each.
const MADE: usize = 2;

/// A payload that others may send as well.
#[derive(Debug, Clone)]
struct Made {
    /// First sample after the beginning of the tick, samples.
    before: i64,
    /// Length; 0: nothing need be sent.
    len: usize,
    bytes: [u8; MAX_PAYLOAD],
}

/// Most digits that wait in one leg.
pub const MAX_DIGITS: usize = 128;

/// Set in the code of a digit that goes out as tones in the sound, whatever was agreed.
pub const IN_BAND: u8 = 0x80;

/// Digits to send, as event codes.
pub type Digits = heapless::Vec<u8, MAX_DIGITS>;

/// The sending side of a leg.
#[derive(Debug)]
pub struct RtpSender {
    ssrc: u32,
    peer_ssrc: u32,
    sequence: u16,
    timestamp: u32,
    packets: u32,
    bytes: u32,
    /// The next packet begins a run of sound.
    marker: bool,
    /// The next packet: room for its header, then `packed` bytes of payload, then room for a tag.
    packet: [u8; HEADER + MAX_PAYLOAD + MAX_TAIL],
    packed: usize,
    /// Samples of it so far.
    samples: usize,
    queue: Digits,
    dropped: u64,
    event: Sender,
    tone: Option<(ToneGenerator, u8)>,
    /// Payloads of this tick, where others send them too.
    made: [Made; MADE],
    count: usize,
}

impl RtpSender {
    /// Sequence number and timestamp begin anywhere: here they follow from the random SSRC.
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
            made: std::array::from_fn(|_| Made { before: 0, len: 0, bytes: [0; MAX_PAYLOAD] }),
            count: 0,
        }
    }

    /// True while no digit is being sent, nor waits.
    pub(super) fn has_no_digits(&self) -> bool {
        self.queue.is_empty() && self.tone.is_none() && !self.event.is_active()
    }

    /// Nothing has been sent yet.
    pub(super) fn is_new(&self) -> bool {
        self.packets == 0
    }

    /// Samples of the packet that is being filled.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// Has all fetched that a tick needs of it.
    pub(super) fn touch(&self) -> i64 {
        touch(self.packet.get(..HEADER + TELEPHONE).unwrap_or_default())
            ^ i64::from(self.sequence)
            ^ i64::from(self.dropped as u32)
    }

    /// Goes on with the packet that `other` is filling.
    pub(super) fn go_on_from(&mut self, other: &Self) {
        (self.samples, self.packed) = (other.samples, other.packed);
        let part = HEADER..HEADER + other.packed.min(MAX_PAYLOAD);
        if let (Some(to), Some(from)) = (self.packet.get_mut(part.clone()), other.packet.get(part)) {
            to.copy_from_slice(from);
        }
    }

    /// Keeps the payload that stands in the packet, of a packet of `len` bytes, for others.
    fn keep_made(&mut self, before: i64, len: usize) {
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

    /// The far end's.
    #[must_use]
    pub fn peer_ssrc(&self) -> u32 {
        self.peer_ssrc
    }

    /// The far end's stream has this SSRC.
    pub(super) fn set_peer_ssrc(&mut self, ssrc: u32) {
        self.peer_ssrc = ssrc;
    }

    /// Begins a run of sound anew, as after a change of codec or packet length.
    fn restart(&mut self) {
        (self.packed, self.samples) = (0, 0);
        self.marker = true;
    }

    /// Digits to send after those that wait; what does not fit is dropped and counted.
    pub(super) fn add_digits(&mut self, codes: &[u8]) {
        for code in codes {
            if self.queue.push(*code).is_err() {
                self.dropped += 1;
            }
        }
    }

    /// Digits that found the queue full, or the far end on hold.
    pub(super) fn digits_dropped(&self) -> u64 {
        self.dropped
    }

    /// The header of the next packet, of `len` bytes with it.
    fn next_header(&mut self, len: usize, marker: bool, payload_type: u8, timestamp: u32) -> [u8; HEADER] {
        let head = header(marker, payload_type, self.sequence, timestamp, self.ssrc);
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add((len - HEADER) as u32);
        head
    }

    /// The next digit if it goes out so: as tones or as an event.
    fn next_digit(&mut self, in_band: bool) -> Option<u8> {
        let code = *self.queue.first()?;
        if (code & IN_BAND != 0) != in_band {
            return None;
        }
        self.queue.remove(0);
        Some(code & !IN_BAND)
    }

    /// The next event that may be sent; digits before it that may not are dropped and counted.
    fn next_event(&mut self, may: impl Fn(u8) -> bool) -> Option<u8> {
        loop {
            let code = self.next_digit(false)?;
            if may(code) {
                return Some(code);
            }
            self.dropped += 1;
        }
    }

    /// Digits that wait for a far end that takes none now are dropped, lest they come in another moment.
    pub(super) fn drop_digits(&mut self) {
        self.dropped += self.queue.len() as u64;
        self.queue.clear();
        (self.event, self.tone) = (Sender::default(), None);
    }
}

impl<W: MediaTransport> Leg<W> {
    /// Sends this tick's `output`, or a digit instead; nothing while the far end wants nothing or does
    /// not show itself.
    pub(super) fn transmit(&mut self) {
        let stamp = self.next_stamp();
        self.sender.count = 0;
        if !self.stream.direction.sends() || self.proof.is_missing() {
            self.sender.drop_digits();
            return self.restart_sending();
        }
        if self.send_event(stamp) {
            return self.restart_sending();
        }
        self.in_band_digit();
        self.send_audio(stamp);
    }

    /// The timestamp of this tick.
    fn next_stamp(&mut self) -> u32 {
        let stamp = self.sender.timestamp;
        self.sender.timestamp = stamp.wrapping_add(self.clock() / 50);
        stamp
    }

    /// The clock of what is sent, Hz: that of the codec. A far end that describes G.722 by its sampling rate gets what its
    /// own packets count by, and until there are some, what it has described.
    fn clock(&self) -> u32 {
        let codec = self.stream.codec;
        if self.stream.clock == codec.clock() { codec.clock() } else { self.coders.playout.clock(codec) }
    }

    /// Sends what another leg has made in this tick.
    pub(super) fn transmit_made(&mut self, other: &RtpSender) {
        let stamp = self.next_stamp();
        for made in other.made.iter().take(other.count) {
            let payload = made.bytes.get(..made.len).unwrap_or_default();
            let room = self.sender.packet.iter_mut().skip(HEADER);
            room.zip(payload).for_each(|(to, b)| *to = *b);
            self.send_audio_packet(stamp, made.before, HEADER + made.len);
        }
        self.sender.samples = other.samples;
    }

    /// The clock of what is sent goes on for `ticks` in which nothing was.
    pub(super) fn skip(&mut self, ticks: u32) {
        let per_tick = self.clock() / 50;
        self.sender.timestamp = self.sender.timestamp.wrapping_add(ticks.wrapping_mul(per_tick));
        self.restart_sending();
    }

    /// Begins a run of sound anew, as after a change of codec or packet length.
    pub(super) fn restart_sending(&mut self) {
        self.sender.restart();
        self.coders.encoder.abandon();
    }

    /// The event packet of this tick, while a digit is being sent.
    fn send_event(&mut self, stamp: u32) -> bool {
        let Some(agreed) = self.stream.dtmf else { return false };
        if !self.sender.event.is_active() {
            if self.sender.tone.is_some() {
                return false;
            }
            // What the far end does not take must not be sent (RFC 4733 §2.5.1.1).
            let Some(code) = self.sender.next_event(|code| agreed.takes(code)) else { return false };
            self.sender.event.start(code, stamp);
        }
        let per_tick = u16::try_from(agreed.clock / 50).unwrap_or(160);
        if let Some(p) = self.sender.event.tick(per_tick) {
            self.send_event_packet(agreed.payload_type, &p);
        }
        true
    }

    /// Lays the tones of a digit over the frame where the far end knows no events.
    fn in_band_digit(&mut self) {
        let events = self.stream.dtmf.is_some();
        let rate = self.rate();
        let n = frame_len(rate);
        let s = &mut self.sender;
        if s.tone.is_none() {
            let code = s.next_digit(true).or_else(|| if events { None } else { s.next_digit(false) });
            let code = code.and_then(|c| DIGITS.get(usize::from(c)).copied());
            s.tone = code.and_then(|d| tone::dtmf(char::from(d))).map(|t| (ToneGenerator::new(t, rate), 0));
        }
        let Some((generator, step)) = &mut s.tone else { return };
        if let Some(frame) = self.output.get_mut(..n) {
            generator.fill(frame);
        }
        *step += 1;
        if *step >= TONE_TICKS * 2 {
            s.tone = None;
        }
    }

    fn send_audio(&mut self, stamp: u32) {
        let codec = self.stream.codec;
        let (n, rate) = (frame_len(codec.sample_rate()), codec.sample_rate() as usize);
        self.convert_output();
        let wanted = (usize::from(self.stream.ptime) * rate / 1000).max(1);
        let mut done = 0;
        while done < n {
            let s = &mut self.sender;
            let run = wanted.saturating_sub(s.samples).min(n - done);
            let frame = if self.coders.converter.is_some() { &self.coders.converted } else { &self.output };
            let samples = frame.get(done..done + run).unwrap_or_default();
            let room = s.packet.get_mut(HEADER + s.packed..HEADER + MAX_PAYLOAD).unwrap_or_default();
            s.packed += self.coders.encoder.encode(samples, room);
            (s.samples, done) = (s.samples + run, done + run);
            if s.samples < wanted {
                return;
            }
            let before = done as i64 - std::mem::take(&mut s.samples) as i64;
            let room = s.packet.get_mut(HEADER + s.packed..HEADER + MAX_PAYLOAD).unwrap_or_default();
            let len = HEADER + std::mem::take(&mut s.packed) + self.coders.encoder.finish(room);
            if self.part.leads {
                self.sender.keep_made(before, len);
            }
            self.send_audio_packet(stamp, before, len);
        }
    }

    /// Sends the audio that stands in the packet, of `len` bytes with a header; its first sample lies `before` samples
    /// after the beginning of the tick, whose timestamp is `stamp`.
    fn send_audio_packet(&mut self, stamp: u32, before: i64, len: usize) {
        let clock = self.clock();
        let s = &mut self.sender;
        if len == HEADER {
            // The far end agreed to get nothing while nothing is said.
            s.marker = true;
            return;
        }
        let per_unit = i64::from(self.stream.codec.sample_rate() / clock.max(1)).max(1);
        let first = stamp.wrapping_add((before / per_unit) as u32);
        let marker = std::mem::take(&mut s.marker);
        let head = s.next_header(len, marker, self.stream.payload_out, first);
        s.packet.iter_mut().zip(head).for_each(|(to, b)| *to = b);
        self.send_packet(len);
    }

    /// Brings the output to the codec's rate, where that is another.
    fn convert_output(&mut self) {
        let n = self.frame_len();
        let Coders { converter, converted, .. } = &mut *self.coders;
        let m = frame_len(self.stream.codec.sample_rate());
        if let (Some(c), Some(from), Some(to)) = (converter, self.output.get(..n), converted.get_mut(..m)) {
            c.process(from, to);
        }
    }

    fn send_event_packet(&mut self, payload_type: u8, p: &Outgoing) {
        let payload = p.event.to_bytes();
        let len = HEADER + payload.len();
        let head = self.sender.next_header(len, p.marker, payload_type, p.timestamp);
        // No sound is half packed while a digit is sent.
        let packet = self.sender.packet.iter_mut();
        packet.zip(head.into_iter().chain(payload)).for_each(|(to, b)| *to = b);
        self.send_packet(len);
    }

    /// Sends what stands in the packet, encrypted if that was agreed.
    fn send_packet(&mut self, len: usize) {
        let Some(to) = self.rtp_target() else { return };
        let packet = &mut self.sender.packet;
        let len = match &mut self.crypt {
            Some(crypt) => crypt.seal(packet, len),
            None => Some(len),
        };
        if let Some(bytes) = len.and_then(|len| self.sender.packet.get(..len)) {
            self.wire.send(to, bytes);
        }
    }

    /// Sends a report when one is due; legs take their turns.
    pub(super) fn report(&mut self, tick: u64, unix_ns: u64) {
        let turn = u64::from(self.sender.ssrc) % REPORT_TICKS;
        if tick % REPORT_TICKS != turn {
            return;
        }
        let Some(to) = self.rtcp_target() else { return };
        let s = &self.sender;
        let sent = (s.packets > 0).then(|| rtcp::Sent {
            ntp: rtcp::ntp(unix_ns),
            timestamp: s.timestamp,
            packets: s.packets,
            bytes: s.bytes,
        });
        let ssrc = s.ssrc;
        let block = self.report_block(unix_ns);
        let mut report = [0u8; MAX_REPORT];
        let len = rtcp::write(&mut report, ssrc, sent, block, "branchline");
        let mut out = [0u8; MAX_REPORT + MAX_TAIL];
        out.iter_mut().zip(report).for_each(|(to, b)| *to = b);
        let len = match &mut self.crypt {
            Some(crypt) => crypt.seal_rtcp(&mut out, len),
            None => Some(len),
        };
        let Some(bytes) = len.and_then(|len| out.get(..len)) else { return };
        if self.stream.rtcp_mux { self.wire.send(to, bytes) } else { self.wire.send_rtcp(to, bytes) }
    }

    /// Adds what only this leg hears to `output`, which holds the room's mix or silence.
    pub(super) fn add_private(&mut self) {
        if !self.has_private {
            return;
        }
        let n = self.frame_len().min(MAX_FRAME);
        for (o, p) in self.output.iter_mut().zip(&self.private).take(n) {
            *o = limiter::soft(i32::from(*o) + *p);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_that_find_no_room_are_counted() {
        let mut s = RtpSender::new(1);
        s.add_digits(&[5; MAX_DIGITS - 2]);
        s.add_digits(&[1, 2, 3, 4, 5]);
        assert_eq!((s.queue.len(), s.digits_dropped()), (MAX_DIGITS, 3));
        assert_eq!((s.next_digit(true), s.next_digit(false)), (None, Some(5)));
    }
}
