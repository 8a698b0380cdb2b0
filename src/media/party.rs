//! A party of the mixer: its endpoint, room membership, mute state, analysis and private playbacks.

use super::analysis::InputAnalysis;
use super::command::{MediaEvent, Quality, RoomSlot, Slot};
use super::converters::Converters;
use super::digit_queue::DigitQueue;
use super::endpoint::Endpoint;
use super::mute_state::MuteState;
use super::rtp_endpoint::receive::ReceiveTick;
use super::rtp_endpoint::transport::{Batch, MediaTransport};
use crate::dsp::prefetch::touch;
use crate::dsp::{MAX_FRAME, frame_len, limiter};

/// A party's membership in a room.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) room: Option<RoomSlot>,
    pub(super) converters: Box<Converters>,
    /// Its contribution at the room's rate, if that differs from its input (`converted`).
    pub(super) frame: [i16; MAX_FRAME],
    pub(super) converted: bool,
    /// It contributes to the room in this tick.
    pub(super) in_mix: bool,
    /// Rates at which it last contributed to its room, and heard it, Hz.
    pub(super) mixed_at: u32,
    pub(super) heard_at: u32,
    /// It heard its room in the last tick.
    pub(super) hears: bool,
}

/// Sum of the playbacks for one party only.
#[derive(Debug)]
pub(super) struct PrivateMix {
    sum: [i32; MAX_FRAME],
    any: bool,
}

impl PrivateMix {
    /// Adds a frame of this tick.
    pub(super) fn add(&mut self, frame: &[i16]) {
        if !std::mem::replace(&mut self.any, true) {
            self.sum = [0; MAX_FRAME];
        }
        crate::dsp::add(&mut self.sum, frame);
    }

    /// True if something is played to the party in this tick.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// Adds it to a frame.
    pub(super) fn add_to(&self, frame: &mut [i16]) {
        if !self.any {
            return;
        }
        for (o, p) in frame.iter_mut().zip(&self.sum) {
            *o = limiter::soft(i32::from(*o) + *p);
        }
    }

    /// Resets it for the next tick.
    pub(super) fn clear(&mut self) {
        self.any = false;
    }
}

/// A leg on the media thread.
#[derive(Debug)]
pub struct Party<W> {
    pub(super) endpoint: Endpoint<W>,
    pub(super) mute: MuteState,
    pub(super) membership: Membership,
    /// This tick's frame from the far end, before mute.
    pub(super) input: [i16; MAX_FRAME],
    /// The frame sent, or that would have been sent.
    pub(super) output: [i16; MAX_FRAME],
    pub(super) private: PrivateMix,
    pub(super) digits: DigitQueue,
    pub(super) analysis: InputAnalysis,
    /// Media quality was requested.
    pub(super) quality_asked: bool,
    /// The call has ended; only the final report remains.
    pub(super) closing: bool,
    /// Late ticks of the engine before the leg was added.
    late_before: u64,
}

impl<W: MediaTransport> Party<W> {
    /// A party without a room. Allocates all memory it will need.
    #[must_use]
    pub fn new(endpoint: Endpoint<W>, muted: bool, deaf: bool) -> Self {
        let rate = endpoint.rate();
        Self {
            endpoint,
            mute: MuteState::new(muted, deaf),
            membership: Membership {
                room: None,
                converters: Box::default(),
                frame: [0; MAX_FRAME],
                converted: false,
                in_mix: false,
                mixed_at: 0,
                heard_at: 0,
                hears: false,
            },
            input: [0; MAX_FRAME],
            output: [0; MAX_FRAME],
            private: PrivateMix { sum: [0; MAX_FRAME], any: false },
            digits: DigitQueue::default(),
            analysis: InputAnalysis::new(rate),
            quality_asked: false,
            closing: false,
            late_before: 0,
        }
    }

    /// Sampling rate of its frames, Hz.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.endpoint.rate()
    }

    /// Samples of a frame.
    pub(super) fn frame_len(&self) -> usize {
        frame_len(self.rate())
    }

    /// Called when added to the engine, with the engine's number of late ticks so far.
    pub(super) fn begin(&mut self, late_ticks: u64) {
        self.late_before = late_ticks;
    }

    /// Joins a room; the previous converters are returned in `converters`.
    pub(super) fn join(&mut self, room: RoomSlot, converters: &mut Box<Converters>) {
        self.membership.room = Some(room);
        self.mute.enter_room();
        std::mem::swap(&mut self.membership.converters, converters);
    }

    /// Its room, if it hears it.
    pub(super) fn heard_room(&self) -> Option<RoomSlot> {
        self.membership.room.filter(|_| self.mute.hears_room())
    }

    /// Its contribution to a room with frames of `n` samples.
    pub(super) fn said(&self, n: usize) -> &[i16] {
        let frame = if self.membership.converted { &self.membership.frame } else { &self.input };
        frame.get(..n).unwrap_or_default()
    }

    /// Prepares this tick's frame in `input`, and analyses it.
    pub(super) fn receive(&mut self, batch: &mut Batch, timeout_ticks: u32, now_ns: u64) {
        let n = self.frame_len();
        let tick = ReceiveTick { timeout_ticks, now_ns, held: self.mute.held };
        let frame = self.input.get_mut(..n).unwrap_or_default();
        self.endpoint.receive(batch, tick, &mut self.digits, frame);
        if self.closing {
            return;
        }
        let held = self.mute.held || !self.endpoint.receives();
        let in_band = self.endpoint.has_digits_in_band();
        if let Some(digit) = self.analysis.frame(frame, self.mute.muted, held, in_band) {
            self.digits.push(digit);
        }
    }

    /// Sends this tick's `output`.
    pub(super) fn transmit(&mut self) {
        let n = self.frame_len();
        self.endpoint.transmit(self.output.get_mut(..n).unwrap_or_default());
    }

    /// Ends the call; only the final report remains.
    pub(super) fn close(&mut self) {
        self.closing = true;
        self.membership.room = None;
        self.analysis.end();
    }

    /// Prefetches the memory needed in a tick into the cache.
    pub(super) fn touch(&self) -> i64 {
        let n = self.frame_len();
        let frames =
            touch(self.input.get(..n).unwrap_or_default()) ^ touch(self.output.get(..n).unwrap_or_default());
        frames ^ self.digits.dropped() as i64 ^ self.endpoint.touch()
    }

    /// True if it has something to report.
    pub(super) fn has_news(&self) -> bool {
        self.closing
            || self.endpoint.is_silent()
            || self.quality_asked
            || !self.digits.is_empty()
            || self.analysis.verdict.is_some()
            || self.analysis.speaking.as_ref().is_some_and(|s| s.news().is_some())
    }

    /// Analysis results since the last call, and media quality if requested: at most three events.
    pub(super) fn news(&mut self, slot: Slot, late_ticks: u64) -> [Option<MediaEvent>; 3] {
        let speaking = self.analysis.speaking.as_mut().and_then(|s| {
            let on = s.news()?;
            s.tell();
            Some(MediaEvent::Speaking { slot, on })
        });
        let amd = self.analysis.verdict.take().map(|news| MediaEvent::Amd { slot, news });
        let asked = std::mem::take(&mut self.quality_asked);
        let quality = asked.then(|| MediaEvent::Quality { slot, quality: self.quality(late_ticks) });
        [speaking, amd, quality]
    }

    /// Its media quality; `late_ticks`: late ticks of the engine so far.
    #[must_use]
    pub fn quality(&self, late_ticks: u64) -> Quality {
        let mut quality = self.endpoint.quality();
        quality.late_ticks = late_ticks - self.late_before;
        quality.digits_dropped += self.digits.dropped();
        quality
    }
}
