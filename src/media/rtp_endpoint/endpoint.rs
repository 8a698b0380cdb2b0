//! The far end of a leg over RTP: its sockets, negotiated session, coders, keys and counters.

use std::net::{IpAddr, SocketAddr};

use super::coders::Coders;
use super::proof::Proof;
use super::renegotiation::Renegotiation;
use super::sender::{Digits, RtpSender};
use super::sharing::{Key, Share};
use super::srtp_session::SrtpSession;
use super::transport::MediaTransport;
use crate::media::command::{Quality, RoomSlot};
use crate::rtp::emodel;
use crate::rtp::lock::{RtpSource, SourceLock};
use crate::rtp::reception::Reception;
use crate::rtp::sources::Sources;
use crate::sdp::Negotiated;

/// Detects a far end that should send but does not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SilenceWatch {
    /// Consecutive ticks without a packet.
    pub(super) ticks: u32,
    /// It was silent for the configured time, and this was not yet reported.
    pub(super) is_unreported: bool,
}

/// Totals of the previous coders.
#[derive(Debug, Clone, Copy, Default)]
struct EarlierCoders {
    concealed: u64,
    late: u64,
}

/// A far end over RTP.
#[derive(Debug)]
pub struct RtpEndpoint<W> {
    pub(super) transport: W,
    pub(super) stream: Negotiated,
    pub(super) coders: Box<Coders>,
    /// Rate of its frames, Hz: that of its first codec, for the whole call.
    pub(super) rate: u32,
    pub(super) sender: RtpSender,
    pub(super) share: Share,
    /// Share of our packets lost at the far end, per cent.
    pub(super) loss: u8,
    pub(super) lock: SourceLock,
    pub(super) reception: Reception,
    pub(super) sources: Sources,
    earlier: EarlierCoders,
    pub(super) rtt_ms: Option<f64>,
    pub(super) silence: SilenceWatch,
    pub(super) proof: Proof,
    pub(super) srtp: Option<SrtpSession>,
    /// The far end's last sender report: middle 32 bits of its NTP time, and arrival time.
    pub(super) last_report: Option<(u32, u64)>,
}

impl<W: MediaTransport> RtpEndpoint<W> {
    /// An endpoint that sends with `ssrc`. Allocates all memory it will need.
    #[must_use]
    pub fn new(
        transport: W,
        stream: Negotiated,
        coders: Box<Coders>,
        signalling: Option<IpAddr>,
        ssrc: u32,
    ) -> Self {
        Self {
            transport,
            stream,
            coders,
            rate: stream.codec.sample_rate(),
            sender: RtpSender::new(ssrc),
            share: Share::default(),
            loss: 0,
            lock: SourceLock::new(stream.rtp, signalling),
            reception: Reception::default(),
            sources: Sources::default(),
            earlier: EarlierCoders::default(),
            rtt_ms: None,
            silence: SilenceWatch::default(),
            proof: Proof::default(),
            srtp: stream.srtp.and_then(|keyed| SrtpSession::new(keyed, None, false)),
            last_report: None,
        }
    }

    /// Accepts another port than the one in the SDP after probation: for far ends behind NAT.
    pub fn believe_other_ports(&mut self) {
        self.lock.believe_other_ports();
    }

    /// Accepts RTP from additional sources.
    pub fn allow_sources(&mut self, beside: RtpSource) {
        self.lock.allow(beside);
    }

    /// Sampling rate of its frames, Hz: that of its first codec.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Applies a renegotiated session; replaced objects are returned in `new`, to be freed on another thread.
    pub(in crate::media) fn update(&mut self, new: &mut Renegotiation) {
        let stream = new.stream;
        self.lock.redescribe(stream.rtp, new.signalling);
        if let Some(coders) = &mut new.coders {
            self.earlier.concealed += self.coders.playout.concealed();
            self.earlier.late += self.coders.playout.counts().late;
            std::mem::swap(&mut self.coders, coders);
        }
        let old = self.srtp.take();
        let moved = stream.rtp != self.stream.rtp;
        self.srtp = stream.srtp.and_then(|keyed| SrtpSession::new(keyed, old, moved));
        self.stream = stream;
        if !stream.direction.receives() {
            self.coders.playout.end_comfort();
        }
        if !self.stream.direction.sends() {
            // Also if it is resumed within this tick.
            self.sender.drop_digits();
        }
        self.silence.ticks = 0;
        self.restart_sending();
    }

    /// The call was answered and the ACK is missing (`on`), or has arrived.
    pub(in crate::media) fn await_proof(&mut self, on: bool) {
        self.proof.wait(on);
    }

    /// Queues digits to send.
    pub(in crate::media) fn add_digits(&mut self, digits: &Digits) {
        self.sender.add_digits(digits);
    }

    /// Restarts packetization, e.g. after a change of codec or packet length.
    pub(super) fn restart_sending(&mut self) {
        self.sender.restart();
        self.coders.encoder.abandon();
    }

    /// Destination of RTP: the locked source, or the address in the SDP.
    pub(super) fn rtp_target(&self) -> Option<SocketAddr> {
        let at = self.lock.locked().unwrap_or(self.stream.rtp);
        (at.port() != 0 && !at.ip().is_unspecified()).then_some(at)
    }

    /// Destination of RTCP.
    pub(super) fn rtcp_target(&self) -> Option<SocketAddr> {
        let rtp = self.rtp_target()?;
        if self.stream.rtcp_mux {
            return Some(rtp);
        }
        let moved = rtp.ip() != self.stream.rtp.ip();
        Some(if moved { SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1)) } else { self.stream.rtcp })
    }

    /// True while the negotiated direction lets the far end send.
    pub(in crate::media) fn receives(&self) -> bool {
        self.stream.direction.receives()
    }

    /// True if DTMF is expected in-band, as telephone events were not negotiated.
    pub(in crate::media) fn has_digits_in_band(&self) -> bool {
        self.stream.dtmf.is_none()
    }

    /// True if there has been only silence from the far end for a while.
    pub(in crate::media) fn is_quiet(&self) -> bool {
        self.coders.playout.is_quiet()
    }

    /// True if no packet was received for the configured time and this was not yet reported.
    pub(in crate::media) fn is_silent(&self) -> bool {
        self.silence.is_unreported
    }

    /// Marks the silence as reported.
    pub(in crate::media) fn silence_reported(&mut self) {
        self.silence.is_unreported = false;
    }

    /// Prefetches the memory needed in a tick into the cache.
    pub(in crate::media) fn touch(&self) -> i64 {
        i64::from(self.silence.ticks)
            ^ i64::from(self.loss)
            ^ self.coders.playout.touch()
            ^ self.sender.touch()
            ^ self.lock.foreign() as i64
            ^ self.reception.received() as i64
    }

    /// Media quality; dropped digits are those of the sender, late ticks are added by the engine.
    pub(in crate::media) fn quality(&self) -> Quality {
        let playout = &self.coders.playout;
        let clock = f64::from(playout.clock(self.stream.codec));
        let (received, lost) = (self.reception.received(), self.reception.lost());
        let late = self.earlier.late + playout.counts().late;
        // Packets the far end did not send are not lost: only sequence gaps and late packets count.
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
            concealed: self.earlier.concealed + playout.concealed(),
            late_ticks: 0,
            digits_dropped: self.sender.digits_dropped(),
        }
    }

    /// Its role in shared encoding.
    pub(in crate::media) fn share(&self) -> &Share {
        &self.share
    }

    /// Mutable access to it.
    pub(in crate::media) fn share_mut(&mut self) -> &mut Share {
        &mut self.share
    }

    /// Share of our packets lost at the far end, per cent.
    pub(in crate::media) fn loss(&self) -> u8 {
        self.loss
    }

    /// Sets the packet loss the encoder should be robust against, per cent.
    pub(in crate::media) fn expect_loss(&mut self, loss: u8) {
        self.coders.encoder.expect_loss(loss);
    }

    /// Its key for shared encoding in this tick, in which it hears `room` and nothing else if `only_listens`.
    pub(in crate::media) fn share_key(&mut self, room: Option<RoomSlot>, only_listens: bool) -> Option<Key> {
        let only_listens = only_listens
            && self.stream.direction.sends()
            && !self.proof.is_missing()
            && self.coders.converter.is_none()
            && self.sender.has_no_digits();
        self.share.settle(room, only_listens, self.sender.is_new()).then_some(Key {
            room,
            codec: self.stream.codec,
            wishes: self.stream.wishes,
            ptime: self.stream.ptime,
            samples: self.sender.samples(),
        })
    }

    /// Continues with the encoder state and the partial packet of `other`.
    pub(in crate::media) fn go_on_from(&mut self, other: &Self) {
        self.coders.encoder.copy_from(&other.coders.encoder);
        self.sender.go_on_from(&other.sender);
    }
}
