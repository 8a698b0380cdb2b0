//! A leg's RTP side: from datagrams to one frame a tick. What it sends is in [`super::send`].

use std::net::{IpAddr, SocketAddr};

use super::command::{Quality, RoomSlot};
use super::order::Converters;
use super::send::Sending;
use super::wire::{Batch, Datagram, Wire};
use crate::codec::{Codec, g711};
use crate::dsp::conceal::Concealer;
use crate::dsp::{MAX_FRAME, frame_len};
use crate::rtp::jitter::{JitterBuffer, Next};
use crate::rtp::lock::{SourceLock, Verdict};
use crate::rtp::packet::Packet;
use crate::rtp::reception::Reception;
use crate::rtp::rtcp;
use crate::rtp::telephone_event::{self, Receiver};
use crate::sdp::Negotiated;

/// Facts that wait until the report queue has room.
pub(super) type Pending = heapless::Deque<char, 64>;

/// Samples decoded ahead of a frame: a 60 ms packet and most of a frame.
const FIFO: usize = 4 * MAX_FRAME;
/// Reads of the jitter buffer in one tick at most.
const MAX_READS: usize = 40;
/// Frames in a row that are made up; after that it is silence, and no longer counted.
const MAX_CONCEALED: u32 = 5;

/// A leg on the media thread.
#[derive(Debug)]
pub struct Leg<W> {
    pub(super) wire: W,
    pub(super) stream: Negotiated,
    pub(super) sending: Sending,
    pub(super) muted: bool,
    pub(super) deaf: bool,
    /// On hold by our side: neither hears its room nor is heard there.
    pub(super) held: bool,
    pub(super) room: Option<RoomSlot>,
    pub(super) converters: Box<Converters>,
    /// This tick's frame from the far end, before mute.
    pub(super) input: [i16; MAX_FRAME],
    /// The same at the room's rate, if it takes part in the mix.
    pub(super) in_room: [i16; MAX_FRAME],
    pub(super) in_mix: bool,
    /// What only this leg hears.
    pub(super) private: [i32; MAX_FRAME],
    pub(super) has_private: bool,
    /// What was sent, or would have been.
    pub(super) output: [i16; MAX_FRAME],
    pub(super) digits: Pending,
    pub(super) silent_fact: bool,
    pub(super) closing: bool,
    pub(super) last_report: Option<(u32, u64)>,
    lock: SourceLock,
    reception: Reception,
    jitter: JitterBuffer,
    concealer: Concealer,
    events: Receiver,
    fifo: [i16; FIFO],
    fifo_len: usize,
    run: u32,
    concealed: u64,
    digits_lost: u64,
    quiet_ticks: u32,
    packet_samples: usize,
}

impl<W: Wire> Leg<W> {
    /// A leg that sends with `ssrc`. Allocates all it will ever need.
    #[must_use]
    pub fn new(
        wire: W,
        stream: Negotiated,
        signalling: Option<IpAddr>,
        ssrc: u32,
        muted: bool,
        deaf: bool,
    ) -> Self {
        let rate = stream.codec.sample_rate();
        Self {
            wire,
            stream,
            sending: Sending::new(ssrc),
            muted,
            deaf,
            held: false,
            room: None,
            converters: Box::default(),
            input: [0; MAX_FRAME],
            in_room: [0; MAX_FRAME],
            in_mix: false,
            private: [0; MAX_FRAME],
            has_private: false,
            output: [0; MAX_FRAME],
            digits: Pending::new(),
            silent_fact: false,
            closing: false,
            last_report: None,
            lock: SourceLock::new(stream.rtp, signalling),
            reception: Reception::default(),
            jitter: JitterBuffer::new(),
            concealer: Concealer::new(rate),
            events: Receiver::default(),
            fifo: [0; FIFO],
            fifo_len: 0,
            run: MAX_CONCEALED,
            concealed: 0,
            digits_lost: 0,
            quiet_ticks: 0,
            packet_samples: frame_len(rate),
        }
    }

    /// Sampling rate of its frames, Hz.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.stream.codec.sample_rate()
    }

    /// Samples of a frame.
    pub(super) fn frame_len(&self) -> usize {
        frame_len(self.rate())
    }

    /// The far end agreed to something else.
    pub(super) fn update(&mut self, stream: Negotiated, signalling: Option<IpAddr>) {
        self.lock.redescribe(stream.rtp, signalling);
        if self.stream.codec != stream.codec {
            self.jitter.clear();
        }
        self.stream = stream;
        self.quiet_ticks = 0;
        self.sending.restart();
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
    pub(super) fn receive(&mut self, batch: &mut Batch, timeout_ticks: u32) {
        self.wire.receive(batch);
        let mut heard = false;
        for d in batch.items.iter().take(batch.len) {
            heard |= self.datagram(d);
        }
        self.watch_silence(heard, timeout_ticks);
        if let Some(digit) = self.events.tick() {
            self.note_digit(digit);
        }
        self.next_frame();
    }

    /// Takes RTCP that came to its own socket.
    pub(super) fn receive_rtcp(&mut self, batch: &mut Batch) {
        self.wire.receive_rtcp(batch);
        for d in batch.items.iter().take(batch.len) {
            let bytes = d.bytes.get(..d.len).unwrap_or_default();
            self.rtcp(bytes, d.from, d.arrival_ns);
        }
    }

    fn datagram(&mut self, d: &Datagram) -> bool {
        let bytes = d.bytes.get(..d.len).unwrap_or_default();
        // RFC 5761 §4: RTCP packet types 192 to 223 share the port.
        if bytes.get(1).is_some_and(|b| (192..=223).contains(b)) {
            self.rtcp(bytes, d.from, d.arrival_ns);
            return false;
        }
        let Ok(p) = Packet::parse(bytes) else { return false };
        let audio = p.payload_type == self.stream.payload_in || p.payload_type == self.stream.payload_out;
        let event = self.stream.dtmf.is_some_and(|e| e.payload_type == p.payload_type);
        match self.lock.judge(d.from, p.ssrc, audio || event) {
            Verdict::Refuse => return false,
            Verdict::NewStream => {
                self.reception.new_stream();
                self.sending.set_peer_ssrc(p.ssrc);
                self.jitter.clear();
                if let Some(digit) = self.events.finish() {
                    self.note_digit(digit);
                }
                self.last_report = None;
            }
            Verdict::Take => {}
        }
        let clock = self.stream.codec.clock();
        let sequence = self.reception.note(p.sequence, p.timestamp, d.arrival_ns, clock, audio);
        if audio {
            self.jitter.insert(sequence, p.timestamp, p.payload);
            return true;
        }
        // Its number is taken in the stream; it just holds no sound.
        self.jitter.insert(sequence, p.timestamp, &[]);
        if event && let Some(e) = telephone_event::Event::parse(p.payload) {
            for digit in self.events.packet(p.timestamp, e).into_iter().flatten() {
                self.note_digit(digit);
            }
        }
        true
    }

    fn note_digit(&mut self, digit: char) {
        // 64 digits wait already: nobody types that fast.
        if self.digits.push_back(digit).is_err() {
            self.digits_lost += 1;
        }
    }

    fn rtcp(&mut self, bytes: &[u8], from: SocketAddr, now_ns: u64) {
        let known = self.rtcp_target().is_some_and(|t| t.ip() == from.ip());
        if !known {
            return;
        }
        let Some(report) = rtcp::parse(bytes, self.sending.ssrc()) else { return };
        if let Some(sent) = report.sent {
            self.last_report = Some(((sent.ntp >> 16) as u32, now_ns));
        }
    }

    /// Counts ticks without packets, while the far end should be sending (not on hold).
    fn watch_silence(&mut self, heard: bool, timeout_ticks: u32) {
        let both = self.stream.direction.sends() && self.stream.direction.receives();
        if heard || !both {
            self.quiet_ticks = 0;
            return;
        }
        self.quiet_ticks += 1;
        if self.quiet_ticks == timeout_ticks {
            self.silent_fact = true;
        }
    }

    /// Decodes, conceals or waits until `input` holds a frame.
    fn next_frame(&mut self) {
        let n = self.frame_len();
        let mut reads = 0;
        while self.fifo_len < n && reads < MAX_READS {
            reads += 1;
            match self.jitter.read() {
                Next::Packet([]) => {}
                Next::Packet(payload) => {
                    let len = payload.len().min(FIFO - self.fifo_len);
                    let Some(to) = self.fifo.get_mut(self.fifo_len..self.fifo_len + len) else { break };
                    decode(self.stream.codec, payload, to);
                    self.concealer.good(to);
                    self.fifo_len += len;
                    self.packet_samples = len.max(n / 2);
                    self.run = 0;
                }
                Next::Lost => self.conceal(self.packet_samples),
                Next::Empty => break,
            }
        }
        if self.fifo_len < n {
            self.conceal(n - self.fifo_len);
        }
        for (i, f) in self.input.iter_mut().zip(&self.fifo).take(n) {
            *i = *f;
        }
        self.fifo.copy_within(n..self.fifo_len.max(n), 0);
        self.fifo_len -= n.min(self.fifo_len);
    }

    /// Makes up some samples; after a while, silence.
    fn conceal(&mut self, samples: usize) {
        let len = samples.min(FIFO - self.fifo_len);
        let Some(to) = self.fifo.get_mut(self.fifo_len..self.fifo_len + len) else { return };
        if self.run >= MAX_CONCEALED || self.events.in_progress() {
            to.fill(0);
        } else {
            self.concealer.missing(to);
            self.concealed += 1;
            self.run += 1;
        }
        self.fifo_len += len;
    }

    /// True when there has been nothing but silence from the far end for a while.
    pub(super) fn is_quiet(&self) -> bool {
        self.run >= MAX_CONCEALED && self.fifo_len == 0
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
            ssrc: self.sending.peer_ssrc(),
            fraction_lost: self.reception.fraction_lost(),
            lost: u32::try_from(self.reception.stream_lost()).unwrap_or(u32::MAX).min(0x007f_ffff),
            highest: self.reception.highest(),
            jitter: self.reception.jitter() as u32,
            last_sr,
            delay,
        })
    }

    /// How well its media travelled.
    #[must_use]
    pub fn quality(&self) -> Quality {
        let clock = f64::from(self.stream.codec.clock());
        Quality {
            received: self.reception.received(),
            lost: self.reception.lost(),
            jitter_ms: self.reception.jitter() * 1000.0 / clock,
            foreign: self.lock.foreign(),
            late: self.jitter.counts().late,
            concealed: self.concealed,
            digits_dropped: self.digits_lost + self.sending.digits_dropped(),
        }
    }
}

fn decode(codec: Codec, payload: &[u8], out: &mut [i16]) {
    let table = match codec {
        Codec::Pcmu => g711::ulaw_decode,
        Codec::Pcma => g711::alaw_decode,
    };
    for (o, b) in out.iter_mut().zip(payload) {
        *o = table(*b);
    }
}
