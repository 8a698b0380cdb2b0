//! The kinds of far ends of a party. A new kind is a new variant here; the compiler reports all places to
//! extend.

use super::command::Quality;
use super::digit_queue::DigitQueue;
use super::rtp_endpoint::endpoint::RtpEndpoint;
use super::rtp_endpoint::receive::ReceiveTick;
use super::rtp_endpoint::transport::{Batch, MediaTransport};

/// A party's far end.
#[derive(Debug)]
pub enum Endpoint<W> {
    /// Over RTP.
    Rtp(RtpEndpoint<W>),
}

impl<W: MediaTransport> Endpoint<W> {
    /// Sampling rate of its frames, Hz.
    #[must_use]
    pub fn rate(&self) -> u32 {
        let Self::Rtp(rtp) = self;
        rtp.rate()
    }

    /// Fills this tick's frame with the audio of the far end; digits are added to `digits`.
    pub(super) fn receive(
        &mut self,
        batch: &mut Batch,
        tick: ReceiveTick,
        digits: &mut DigitQueue,
        frame: &mut [i16],
    ) {
        let Self::Rtp(rtp) = self;
        rtp.receive(batch, tick, digits, frame);
    }

    /// Sends a frame. The frame is modified: DTMF tones replace its audio.
    pub(super) fn transmit(&mut self, frame: &mut [i16]) {
        let Self::Rtp(rtp) = self;
        rtp.transmit(frame);
    }

    /// Skips `ticks` lost to a system stall.
    pub(super) fn skip(&mut self, ticks: u32) {
        let Self::Rtp(rtp) = self;
        rtp.skip(ticks);
    }

    /// True while the negotiated direction lets the far end send.
    pub(super) fn receives(&self) -> bool {
        let Self::Rtp(rtp) = self;
        rtp.receives()
    }

    /// True if DTMF is expected in-band.
    pub(super) fn has_digits_in_band(&self) -> bool {
        let Self::Rtp(rtp) = self;
        rtp.has_digits_in_band()
    }

    /// True if there has been only silence from the far end for a while.
    pub(super) fn is_quiet(&self) -> bool {
        let Self::Rtp(rtp) = self;
        rtp.is_quiet()
    }

    /// True if no packet was received for the configured time and this was not yet reported.
    pub(super) fn is_silent(&self) -> bool {
        let Self::Rtp(rtp) = self;
        rtp.is_silent()
    }

    /// Marks the silence as reported.
    pub(super) fn silence_reported(&mut self) {
        let Self::Rtp(rtp) = self;
        rtp.silence_reported();
    }

    /// Prefetches the memory needed in a tick into the cache.
    pub(super) fn touch(&self) -> i64 {
        let Self::Rtp(rtp) = self;
        rtp.touch()
    }

    /// Media quality, without the engine's counters.
    pub(super) fn quality(&self) -> Quality {
        let Self::Rtp(rtp) = self;
        rtp.quality()
    }
}
