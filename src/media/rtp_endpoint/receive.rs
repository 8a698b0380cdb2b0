//! Reception of a leg's RTP in a tick: datagrams are filtered, decrypted, counted and played out into one
//! frame.

use super::endpoint::RtpEndpoint;
use super::srtp_session::SrtpSession;
use super::transport::{Batch, Datagram, MediaTransport};
use crate::media::digit_queue::DigitQueue;
use crate::rtp::lock::{Content, Verdict};
use crate::rtp::packet::Packet;
use crate::rtp::rtcp;
use crate::rtp::sequence::Arrival;
use crate::rtp::telephone_event::Event;
use crate::sdp::Meaning;

/// Maximum batches of datagrams read per tick: over 12,000 datagrams a second.
const MAX_BATCHES: usize = 16;

/// Parameters of reception in this tick.
#[derive(Debug, Clone, Copy)]
pub(in crate::media) struct ReceiveTick {
    /// Ticks without a packet after which silence is reported.
    pub(in crate::media) timeout_ticks: u32,
    /// Time in nanoseconds, for packet ages.
    pub(in crate::media) now_ns: u64,
    /// The leg is on local hold.
    pub(in crate::media) held: bool,
}

impl<W: MediaTransport> RtpEndpoint<W> {
    /// Reads the received packets, and fills this tick's frame; digits are added to `digits`.
    pub(in crate::media) fn receive(
        &mut self,
        batch: &mut Batch,
        tick: ReceiveTick,
        digits: &mut DigitQueue,
        frame: &mut [i16],
    ) {
        let mut heard = false;
        // Several batches, so that a flood of other packets does not delay those of the far end.
        for _ in 0..MAX_BATCHES {
            self.transport.receive(batch);
            for d in batch.items.iter_mut().take(batch.len) {
                heard |= self.datagram(d, digits);
            }
            if batch.len < batch.items.len() {
                break;
            }
        }
        self.watch_silence(heard, tick);
        self.proof.tick(heard);
        if let Some(digit) = self.sources.tick() {
            digits.push(digit);
        }
        let silent = self.sources.key_is_down();
        self.coders.playout.frame(tick.now_ns, silent, frame);
    }

    /// Processes RTCP from its own socket.
    pub(in crate::media) fn receive_rtcp(&mut self, batch: &mut Batch) {
        self.transport.receive_rtcp(batch);
        for d in batch.items.iter_mut().take(batch.len) {
            self.rtcp(d);
        }
    }

    /// Processes a datagram; true if it confirms the far end.
    fn datagram(&mut self, d: &mut Datagram, digits: &mut DigitQueue) -> bool {
        // RFC 5761 §4: RTCP packet types 192 to 223 share the port.
        if d.len > 1 && d.bytes.get(1).is_some_and(|b| (192..=223).contains(b)) {
            self.rtcp(d);
            return false;
        }
        // The source address is checked first: copies sent from elsewhere must not even be decrypted.
        if !self.lock.may_come_from(d.from) {
            self.lock.refuse();
            return false;
        }
        if let Some(srtp) = &mut self.srtp
            && !srtp.open(d)
        {
            self.lock.refuse();
            return false;
        }
        let bytes = d.bytes.get(..d.len).unwrap_or_default();
        let Ok(p) = Packet::parse(bytes) else {
            self.lock.refuse();
            return false;
        };
        let meaning = self.stream.formats.meaning(p.payload_type);
        let codec = if let Some(Meaning::Audio(codec)) = meaning { Some(codec) } else { None };
        let event = meaning == Some(Meaning::Event);
        let content = match meaning {
            Some(Meaning::Audio(_)) => Content::Audio,
            Some(Meaning::Event) => Content::Event,
            Some(Meaning::Noise) | None => Content::Unknown,
        };
        let verdict = self.lock.judge(d.from, p.ssrc, content);
        if verdict == Verdict::Refuse {
            return false;
        }
        let (arrival, digit) = self.sources.note(p.ssrc, p.sequence);
        digit.into_iter().for_each(|d| digits.push(d));
        if event && let Some(e) = Event::parse(p.payload) {
            let keys = self.sources.event(p.ssrc, arrival, p.timestamp, p.marker, e);
            keys.into_iter().flatten().for_each(|d| digits.push(d));
        }
        if verdict == Verdict::Beside {
            return true;
        }
        if verdict == Verdict::NewStream {
            self.reception.new_stream();
            self.sender.set_peer_ssrc(p.ssrc);
            self.last_report = None;
        }
        if verdict == Verdict::NewStream || matches!(arrival, Arrival::Begins(_)) {
            self.coders.playout.clear();
        }
        let clock = self.coders.playout.clock(codec.unwrap_or(self.stream.codec));
        self.reception.note(arrival, p.timestamp, d.arrival_ns, clock, codec.is_some());
        let (Arrival::Begins(sequence) | Arrival::Continues(sequence)) = arrival else { return true };
        // An event only occupies its sequence number in the stream; it has no audio.
        self.coders.playout.insert(sequence, p.timestamp, codec, p.payload, d.arrival_ns);
        if meaning == Some(Meaning::Noise)
            && let Some(level) = p.payload.first()
        {
            self.coders.playout.comfort(*level);
        }
        true
    }

    fn rtcp(&mut self, d: &mut Datagram) {
        let known = self.rtcp_target().is_some_and(|t| t.ip() == d.from.ip());
        let open = |srtp: &mut SrtpSession| srtp.open_rtcp(d);
        if !known || !self.srtp.as_mut().is_none_or(open) {
            return;
        }
        let (bytes, now_ns) = (d.bytes.get(..d.len).unwrap_or_default(), d.arrival_ns);
        let Some(report) = rtcp::parse(bytes, self.sender.ssrc()) else { return };
        if let Some(block) = report.about_us {
            self.rtt_ms = rtcp::round_trip_ms(&block, rtcp::ntp(now_ns)).or(self.rtt_ms);
            // Somewhat more than the current loss: losses come in bursts.
            let lost = u32::from(block.fraction_lost) * 100 / 256;
            self.loss = (lost * 3 / 2).min(30) as u8;
        }
        if let Some(sent) = report.sent {
            self.last_report = Some(((sent.ntp >> 16) as u32, now_ns));
        }
    }

    /// Counts ticks without packets while the far end should be sending (not on hold).
    fn watch_silence(&mut self, heard: bool, tick: ReceiveTick) {
        let both = self.stream.direction.sends() && self.stream.direction.receives();
        if heard || !both || tick.held {
            self.silence.ticks = 0;
            return;
        }
        self.silence.ticks += 1;
        if self.silence.ticks == tick.timeout_ticks {
            self.silence.is_unreported = true;
        }
    }

    /// The report block about what we receive.
    pub(super) fn report_block(&mut self, now_ns: u64) -> Option<rtcp::Block> {
        if self.reception.received() == 0 {
            return None;
        }
        let (last_sr, delay) = self.last_report.map_or((0, 0), |(ntp, at)| {
            let waited = now_ns.saturating_sub(at);
            (ntp, (waited.saturating_mul(65_536) / 1_000_000_000) as u32)
        });
        Some(rtcp::Block {
            ssrc: self.sender.peer_ssrc(),
            fraction_lost: self.reception.fraction_lost(),
            lost: u32::try_from(self.reception.stream_lost()).unwrap_or(u32::MAX).min(0x007f_ffff),
            highest: self.reception.highest(),
            jitter: self.reception.jitter() as u32,
            last_sr,
            delay,
        })
    }
}
