//! A leg's RTP side: from datagrams to one frame a tick. What it sends is in [`super::send`].

use std::net::{IpAddr, SocketAddr};

use super::analysis::InputAnalysis;
use super::command::{MediaEvent, Quality, RoomSlot, Slot};
use super::rtp_endpoint::coders::Coders;
use super::rtp_endpoint::proof::Proof;
use super::rtp_endpoint::renegotiation::{Converters, Renegotiation};
use super::rtp_endpoint::srtp_session::SrtpSession;
use super::rtp_endpoint::transport::{Batch, Datagram, MediaTransport};
use super::rtp_sender::RtpSender;
use super::shared_encoding::Part;
use crate::dsp::prefetch::touch;
use crate::dsp::{MAX_FRAME, frame_len};
use crate::rtp::lock::{Content, RtpSource, SourceLock, Verdict};
use crate::rtp::packet::Packet;
use crate::rtp::reception::Reception;
use crate::rtp::sequence::Arrival;
use crate::rtp::sources::Sources;
use crate::rtp::telephone_event::Event;
use crate::rtp::{emodel, rtcp};
use crate::sdp::{Meaning, Negotiated};

/// Batches of datagrams taken in one tick at most: over 12,000 a second.
const MAX_BATCHES: usize = 16;

/// Facts that wait until the report queue has room.
pub(super) type Pending = heapless::Deque<char, 64>;

/// A leg on the media thread.
#[derive(Debug)]
pub struct Leg<W> {
    pub(super) wire: W,
    pub(super) stream: Negotiated,
    pub(super) coders: Box<Coders>,
    pub(super) rate: u32,
    pub(super) sender: RtpSender,
    pub(super) muted: bool,
    /// Whether it was heard in the last tick, and is in this one.
    pub(super) open: (bool, bool),
    pub(super) deaf: bool,
    /// On hold by our side: neither hears its room nor is heard there.
    pub(super) held: bool,
    pub(super) room: Option<RoomSlot>,
    pub(super) converters: Box<Converters>,
    /// This tick's frame from the far end, before mute.
    pub(super) input: [i16; MAX_FRAME],
    /// The same at the room's rate, if it takes part in the mix, and another frame than `input` (`made_over`).
    pub(super) in_room: [i16; MAX_FRAME],
    pub(super) in_mix: bool,
    pub(super) made_over: bool,
    /// Rates at which it last spoke to its room, and heard it, Hz.
    pub(super) mixed_at: u32,
    pub(super) heard_at: u32,
    /// It heard its room in the last tick.
    pub(super) hears: bool,
    /// What only this leg hears.
    pub(super) private: [i32; MAX_FRAME],
    pub(super) has_private: bool,
    /// Late ticks of the engine before its time.
    pub(super) late_before: u64,
    /// Whose encoding it sends.
    pub(super) part: Part,
    /// Share of our packets that the far end loses, per cent.
    pub(super) loss: u8,
    /// What was sent, or would have been.
    pub(super) output: [i16; MAX_FRAME],
    pub(super) digits: Pending,
    pub(super) analysis: InputAnalysis,
    /// How well it travels was asked for.
    pub(super) asked: bool,
    pub(super) is_silent: bool,
    pub(super) closing: bool,
    pub(super) last_report: Option<(u32, u64)>,
    lock: SourceLock,
    reception: Reception,
    sources: Sources,
    /// Of coders before the present ones.
    concealed: u64,
    late: u64,
    digits_lost: u64,
    rtt_ms: Option<f64>,
    quiet_ticks: u32,
    pub(super) proof: Proof,
    pub(super) crypt: Option<SrtpSession>,
}

impl<W: MediaTransport> Leg<W> {
    /// A leg that sends with `ssrc`. Allocates all it will ever need.
    #[must_use]
    pub fn new(
        wire: W,
        stream: Negotiated,
        coders: Box<Coders>,
        signalling: Option<IpAddr>,
        ssrc: u32,
        muted: bool,
        deaf: bool,
    ) -> Self {
        Self {
            wire,
            stream,
            coders,
            rate: stream.codec.sample_rate(),
            sender: RtpSender::new(ssrc),
            muted,
            open: (!muted, !muted),
            deaf,
            held: false,
            room: None,
            converters: Box::default(),
            input: [0; MAX_FRAME],
            in_room: [0; MAX_FRAME],
            in_mix: false,
            made_over: false,
            mixed_at: 0,
            heard_at: 0,
            hears: false,
            private: [0; MAX_FRAME],
            has_private: false,
            late_before: 0,
            part: Part::default(),
            loss: 0,
            output: [0; MAX_FRAME],
            digits: Pending::new(),
            analysis: InputAnalysis::new(stream.codec.sample_rate()),
            asked: false,
            rtt_ms: None,
            is_silent: false,
            closing: false,
            last_report: None,
            lock: SourceLock::new(stream.rtp, signalling),
            reception: Reception::default(),
            sources: Sources::default(),
            concealed: 0,
            late: 0,
            digits_lost: 0,
            quiet_ticks: 0,
            proof: Proof::default(),
            crypt: stream.srtp.and_then(|keyed| SrtpSession::new(keyed, None, false)),
        }
    }

    /// Believes another port than the far end described, after a while: for far ends behind routers.
    pub fn believe_other_ports(&mut self) {
        self.lock.believe_other_ports();
    }

    /// Opens it for more than the address that the far end describes.
    pub fn allow_sources(&mut self, beside: RtpSource) {
        self.lock.allow(beside);
    }

    /// Sampling rate of its frames, Hz: that of its first codec.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Notes whether others may hear it in this tick.
    pub(super) fn open_or_close(&mut self) {
        self.open = (self.open.1, !self.muted && !self.held);
    }

    /// True when others hear nothing of it in this tick.
    pub(super) fn is_shut(&self) -> bool {
        self.open == (false, false)
    }

    /// Fades a frame of it in or out where it is no longer muted or begins to be: a step would click.
    pub(super) fn ramp(open: (bool, bool), frame: &mut [i16]) {
        let n = frame.len().max(1) as i32;
        if open.0 == open.1 {
            return;
        }
        for (i, s) in (0i32..).zip(frame) {
            let gain = if open.1 { i } else { n - i };
            *s = (i32::from(*s) * gain / n) as i16;
        }
    }

    /// What it says in a room whose frames are `n` samples long.
    pub(super) fn in_room(&self, n: usize) -> &[i16] {
        let frame = if self.made_over { &self.in_room } else { &self.input };
        frame.get(..n).unwrap_or_default()
    }

    /// Samples of a frame.
    pub(super) fn frame_len(&self) -> usize {
        frame_len(self.rate())
    }

    /// The far end agreed to something else; what is replaced stays in `refit`.
    pub(super) fn update(&mut self, refit: &mut Renegotiation) {
        let stream = refit.stream;
        self.lock.redescribe(stream.rtp, refit.signalling);
        if let Some(new) = &mut refit.coders {
            self.concealed += self.coders.playout.concealed();
            self.late += self.coders.playout.counts().late;
            std::mem::swap(&mut self.coders, new);
        }
        let old = self.crypt.take();
        let moved = stream.rtp != self.stream.rtp;
        self.crypt = stream.srtp.and_then(|keyed| SrtpSession::new(keyed, old, moved));
        self.stream = stream;
        if !stream.direction.receives() {
            self.coders.playout.end_comfort();
        }
        if !self.stream.direction.sends() {
            // Even where it resumes within this tick.
            self.sender.drop_digits();
        }
        self.quiet_ticks = 0;
        self.restart_sending();
    }

    /// Where RTP goes: to where the far end's comes from, or where it said it listens.
    pub(super) fn rtp_target(&self) -> Option<SocketAddr> {
        let at = self.lock.locked().unwrap_or(self.stream.rtp);
        (at.port() != 0 && !at.ip().is_unspecified()).then_some(at)
    }

    /// Where RTCP goes.
    pub(super) fn rtcp_target(&self) -> Option<SocketAddr> {
        let rtp = self.rtp_target()?;
        if self.stream.rtcp_mux {
            return Some(rtp);
        }
        let moved = rtp.ip() != self.stream.rtp.ip();
        Some(if moved { SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1)) } else { self.stream.rtcp })
    }

    /// Takes what has come, and gets this tick's frame ready in `input`.
    pub(super) fn receive(&mut self, batch: &mut Batch, timeout_ticks: u32, now_ns: u64) {
        let mut heard = false;
        // A flood of others fills the socket: what is behind it is still wanted in time.
        for _ in 0..MAX_BATCHES {
            self.wire.receive(batch);
            for d in batch.items.iter_mut().take(batch.len) {
                heard |= self.datagram(d);
            }
            if batch.len < batch.items.len() {
                break;
            }
        }
        self.watch_silence(heard, timeout_ticks);
        self.proof.tick(heard);
        if let Some(digit) = self.sources.tick() {
            note_digit(&mut self.digits, &mut self.digits_lost, digit);
        }
        let n = self.frame_len();
        let silent = self.sources.key_is_down();
        self.coders.playout.frame(now_ns, silent, self.input.get_mut(..n).unwrap_or_default());
        if self.closing {
            return;
        }
        let held = self.held || !self.stream.direction.receives();
        let in_band = self.stream.dtmf.is_none();
        let frame = self.input.get(..n).unwrap_or_default();
        if let Some(digit) = self.analysis.frame(frame, self.muted, held, in_band) {
            note_digit(&mut self.digits, &mut self.digits_lost, digit);
        }
    }

    /// The call is over; what remains is to say so.
    pub(super) fn close(&mut self) {
        self.closing = true;
        self.room = None;
        self.analysis.end();
    }

    /// Takes RTCP that came to its own socket.
    pub(super) fn receive_rtcp(&mut self, batch: &mut Batch) {
        self.wire.receive_rtcp(batch);
        for d in batch.items.iter_mut().take(batch.len) {
            self.rtcp(d);
        }
    }

    fn datagram(&mut self, d: &mut Datagram) -> bool {
        // RFC 5761 §4: RTCP packet types 192 to 223 share the port.
        if d.len > 1 && d.bytes.get(1).is_some_and(|b| (192..=223).contains(b)) {
            self.rtcp(d);
            return false;
        }
        // Judged by its address before any work is done on it: a copy sent from elsewhere must not even be decrypted.
        if !self.lock.may_come_from(d.from) {
            self.lock.refuse();
            return false;
        }
        if let Some(crypt) = &mut self.crypt
            && !crypt.open(d)
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
        digit.into_iter().for_each(|d| note_digit(&mut self.digits, &mut self.digits_lost, d));
        if event && let Some(e) = Event::parse(p.payload) {
            let digits = self.sources.event(p.ssrc, arrival, p.timestamp, p.marker, e);
            digits.into_iter().flatten().for_each(|d| note_digit(&mut self.digits, &mut self.digits_lost, d));
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
        // Of an event the number is taken in the stream; it just holds no sound.
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
        let open = |crypt: &mut SrtpSession| crypt.open_rtcp(d);
        if !known || !self.crypt.as_mut().is_none_or(open) {
            return;
        }
        let (bytes, now_ns) = (d.bytes.get(..d.len).unwrap_or_default(), d.arrival_ns);
        let Some(report) = rtcp::parse(bytes, self.sender.ssrc()) else { return };
        if let Some(block) = report.about_us {
            self.rtt_ms = rtcp::round_trip_ms(&block, rtcp::ntp(now_ns)).or(self.rtt_ms);
            // A little more than is lost now: losses come in groups.
            let lost = u32::from(block.fraction_lost) * 100 / 256;
            self.loss = (lost * 3 / 2).min(30) as u8;
        }
        if let Some(sent) = report.sent {
            self.last_report = Some(((sent.ntp >> 16) as u32, now_ns));
        }
    }

    /// Counts ticks without packets, while the far end should be sending (not on hold).
    fn watch_silence(&mut self, heard: bool, timeout_ticks: u32) {
        let both = self.stream.direction.sends() && self.stream.direction.receives();
        if heard || !both || self.held {
            self.quiet_ticks = 0;
            return;
        }
        self.quiet_ticks += 1;
        if self.quiet_ticks == timeout_ticks {
            self.is_silent = true;
        }
    }

    /// True when there has been nothing but silence from the far end for a while.
    pub(super) fn is_quiet(&self) -> bool {
        self.coders.playout.is_quiet()
    }

    /// What our reports say of what we receive.
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

    /// Has all fetched that a tick needs of it.
    pub(super) fn touch(&self) -> i64 {
        let n = self.frame_len();
        let frames =
            touch(self.input.get(..n).unwrap_or_default()) ^ touch(self.output.get(..n).unwrap_or_default());
        let few = i64::from(self.quiet_ticks) ^ i64::from(self.loss) ^ self.digits_lost as i64;
        frames
            ^ few
            ^ self.coders.playout.touch()
            ^ self.sender.touch()
            ^ self.lock.foreign() as i64
            ^ self.reception.received() as i64
    }

    /// It has something to tell.
    pub(super) fn has_news(&self) -> bool {
        self.closing
            || self.is_silent
            || self.asked
            || !self.digits.is_empty()
            || self.analysis.verdict.is_some()
            || self.analysis.speaking.as_ref().is_some_and(|s| s.news().is_some())
    }

    /// What has been heard of it since it was asked last, and how well it travels if that was asked for: at most three.
    pub(super) fn news(&mut self, slot: Slot, late_ticks: u64) -> [Option<MediaEvent>; 3] {
        let speaking = self.analysis.speaking.as_mut().and_then(|s| {
            let on = s.news()?;
            s.tell();
            Some(MediaEvent::Speaking { slot, on })
        });
        let amd = self.analysis.verdict.take().map(|news| MediaEvent::Amd { slot, news });
        let asked = std::mem::take(&mut self.asked);
        let quality = asked.then(|| MediaEvent::Quality { slot, quality: self.quality(late_ticks) });
        [speaking, amd, quality]
    }

    /// How well its media travelled; `late_ticks` counts those of the engine so far.
    #[must_use]
    pub fn quality(&self, late_ticks: u64) -> Quality {
        let playout = &self.coders.playout;
        let clock = f64::from(playout.clock(self.stream.codec));
        let (received, lost) = (self.reception.received(), self.reception.lost());
        let late = self.late + playout.counts().late;
        // What the far end did not send is not lost: only gaps in its numbers are, and what came too late.
        let (missing, expected) = (lost + late, received + lost);
        let loss = missing as f64 * 100.0 / expected.max(1) as f64;
        let (rtt, playing_ms) = (self.rtt_ms.unwrap_or(0.0), playout.delay_ms());
        let mos = emodel::mos(playout.codec(), loss, rtt, playing_ms);
        Quality {
            received,
            lost,
            rtt_ms: self.rtt_ms,
            playing_ms,
            drift_ppm: playout.drift_ppm(),
            mos: if received == 0 { 0.0 } else { mos },
            jitter_ms: self.reception.jitter() * 1000.0 / clock,
            foreign: self.lock.foreign(),
            late,
            concealed: self.concealed + playout.concealed(),
            late_ticks: late_ticks - self.late_before,
            digits_dropped: self.digits_lost + self.sender.digits_dropped(),
        }
    }
}

/// Keeps a digit until it is told. 64 wait already where one is lost: nobody types that fast.
fn note_digit(digits: &mut Pending, lost: &mut u64, digit: char) {
    if digits.push_back(digit).is_err() {
        *lost += 1;
    }
}
