//! Transmission of a leg's RTP in a tick: packets of the negotiated length, digits, and RTCP reports.

use super::coders::Coders;
use super::endpoint::RtpEndpoint;
use super::transport::MediaTransport;
use crate::codec::coder::MAX_PAYLOAD;
use crate::dsp::frame_len;
use crate::dsp::tone::{self, ToneGenerator};
use crate::rtp::packet::HEADER;
use crate::rtp::rtcp::{self, MAX_REPORT};
use crate::rtp::srtp::MAX_TAIL;
use crate::rtp::telephone_event::{DIGITS, Outgoing};

/// Ticks between two RTCP reports: 5 s (RFC 3550 §6.2).
const REPORT_TICKS: u64 = 250;
/// In-band DTMF: ticks of tone and of pause.
const TONE_TICKS: u8 = 5;

impl<W: MediaTransport> RtpEndpoint<W> {
    /// Sends a frame, at the leg's rate, or a telephone event instead; in-band digits replace its audio. Nothing
    /// is sent while the far end does not receive or is unconfirmed.
    pub(in crate::media) fn transmit(&mut self, frame: &mut [i16]) {
        let stamp = self.next_stamp();
        self.sender.count = 0;
        if !self.stream.direction.sends() || self.proof.is_missing() {
            self.sender.drop_digits();
            return self.restart_sending();
        }
        if self.send_event(stamp) {
            return self.restart_sending();
        }
        self.in_band_digit(frame);
        self.send_audio(stamp, frame);
    }

    /// The timestamp of this tick.
    fn next_stamp(&mut self) -> u32 {
        let stamp = self.sender.timestamp;
        self.sender.timestamp = stamp.wrapping_add(self.clock() / 50);
        stamp
    }

    /// Clock rate of the sent stream, Hz: that of the codec. A far end that describes G.722 with its sampling
    /// rate gets the rate of its own packets, or until there are any, the described one.
    fn clock(&self) -> u32 {
        let codec = self.stream.codec;
        if self.stream.clock == codec.clock() { codec.clock() } else { self.coders.playout.clock(codec) }
    }

    /// Sends the payloads that another endpoint has encoded in this tick.
    pub(in crate::media) fn transmit_encoded(&mut self, leader: &Self) {
        let other = &leader.sender;
        let stamp = self.next_stamp();
        for made in other.made.iter().take(other.count) {
            let payload = made.bytes.get(..made.len).unwrap_or_default();
            let room = self.sender.packet.iter_mut().skip(HEADER);
            room.zip(payload).for_each(|(to, b)| *to = *b);
            self.send_audio_packet(stamp, made.before, HEADER + made.len);
        }
        self.sender.samples = other.samples;
    }

    /// Advances the timestamp by `ticks` in which nothing was sent.
    pub(in crate::media) fn skip(&mut self, ticks: u32) {
        let per_tick = self.clock() / 50;
        self.sender.timestamp = self.sender.timestamp.wrapping_add(ticks.wrapping_mul(per_tick));
        self.restart_sending();
    }

    /// Sends the event packet of this tick, if a digit is being sent.
    fn send_event(&mut self, stamp: u32) -> bool {
        let Some(agreed) = self.stream.dtmf else { return false };
        if !self.sender.event.is_active() {
            if self.sender.tone.is_some() {
                return false;
            }
            // Events that the far end does not accept must not be sent (RFC 4733 §2.5.1.1).
            let Some(code) = self.sender.next_event(|code| agreed.takes(code)) else { return false };
            self.sender.event.start(code, stamp);
        }
        let per_tick = u16::try_from(agreed.clock / 50).unwrap_or(160);
        if let Some(p) = self.sender.event.tick(per_tick) {
            self.send_event_packet(agreed.payload_type, &p);
        }
        true
    }

    /// Replaces the frame by the tones of a digit if that is sent in-band.
    fn in_band_digit(&mut self, frame: &mut [i16]) {
        let events = self.stream.dtmf.is_some();
        let rate = self.rate;
        let s = &mut self.sender;
        if s.tone.is_none() {
            let code = s.next_digit(true).or_else(|| if events { None } else { s.next_digit(false) });
            let code = code.and_then(|c| DIGITS.get(usize::from(c)).copied());
            s.tone = code.and_then(|d| tone::dtmf(char::from(d))).map(|t| (ToneGenerator::new(t, rate), 0));
        }
        let Some((generator, step)) = &mut s.tone else { return };
        generator.fill(frame);
        *step += 1;
        if *step >= TONE_TICKS * 2 {
            s.tone = None;
        }
    }

    fn send_audio(&mut self, stamp: u32, frame: &[i16]) {
        let codec = self.stream.codec;
        let (n, rate) = (frame_len(codec.sample_rate()), codec.sample_rate() as usize);
        self.convert(frame);
        let wanted = (usize::from(self.stream.ptime) * rate / 1000).max(1);
        let mut done = 0;
        while done < n {
            let s = &mut self.sender;
            let run = wanted.saturating_sub(s.samples).min(n - done);
            let frame = if self.coders.converter.is_some() { &self.coders.converted[..] } else { frame };
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
            if self.share.leads {
                self.sender.keep_made(before, len);
            }
            self.send_audio_packet(stamp, before, len);
        }
    }

    /// Sends the packet of `len` bytes including header; its first sample is `before` samples after the start
    /// of the tick, whose timestamp is `stamp`.
    fn send_audio_packet(&mut self, stamp: u32, before: i64, len: usize) {
        let clock = self.clock();
        let s = &mut self.sender;
        if len == HEADER {
            // DTX: nothing is sent during silence.
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

    /// Converts a frame to the codec's rate, if that differs from the leg's.
    fn convert(&mut self, frame: &[i16]) {
        let Coders { converter, converted, .. } = &mut *self.coders;
        let m = frame_len(self.stream.codec.sample_rate());
        if let (Some(c), Some(to)) = (converter, converted.get_mut(..m)) {
            c.process(frame, to);
        }
    }

    fn send_event_packet(&mut self, payload_type: u8, p: &Outgoing) {
        let payload = p.event.to_bytes();
        let len = HEADER + payload.len();
        let head = self.sender.next_header(len, p.marker, payload_type, p.timestamp);
        // No audio is partially packed while a digit is sent.
        let packet = self.sender.packet.iter_mut();
        packet.zip(head.into_iter().chain(payload)).for_each(|(to, b)| *to = b);
        self.send_packet(len);
    }

    /// Sends the packet buffer, encrypted if negotiated.
    fn send_packet(&mut self, len: usize) {
        let Some(to) = self.rtp_target() else { return };
        let packet = &mut self.sender.packet;
        let len = match &mut self.srtp {
            Some(srtp) => srtp.seal(packet, len),
            None => Some(len),
        };
        if let Some(bytes) = len.and_then(|len| self.sender.packet.get(..len)) {
            self.transport.send(to, bytes);
        }
    }

    /// Sends a report when due; the reports of the legs are spread over time.
    pub(in crate::media) fn report(&mut self, tick: u64, unix_ns: u64) {
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
        let len = match &mut self.srtp {
            Some(srtp) => srtp.seal_rtcp(&mut out, len),
            None => Some(len),
        };
        let Some(bytes) = len.and_then(|len| out.get(..len)) else { return };
        if self.stream.rtcp_mux {
            self.transport.send(to, bytes)
        } else {
            self.transport.send_rtcp(to, bytes)
        }
    }
}
