//! The kinds of far ends that a party has. A new kind is a variant here, and the compiler names the places that must decide.

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

    /// Fills this tick's frame with what came from the far end; digits go into `digits`.
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

    /// Sends a frame, which may be changed: the tones of digits are laid over it.
    pub(super) fn transmit(&mut self, frame: &mut [i16]) {
        let Self::Rtp(rtp) = self;
        rtp.transmit(frame);
    }

    /// Passes over `ticks` that a standstill of the machine took.
    pub(super) fn skip(&mut self, ticks: u32) {
        let Self::Rtp(rtp) = self;
        rtp.skip(ticks);
    }

    /// True while the far end sends sound by the agreement.
    pub(super) fn receives(&self) -> bool {
        let Self::Rtp(rtp) = self;
        rtp.receives()
    }

    /// True when digits come in the sound.
    pub(super) fn has_digits_in_band(&self) -> bool {
        let Self::Rtp(rtp) = self;
        rtp.has_digits_in_band()
    }

    /// True when there has been nothing but silence from the far end for a while.
    pub(super) fn is_quiet(&self) -> bool {
        let Self::Rtp(rtp) = self;
        rtp.is_quiet()
    }

    /// The far end has sent nothing for the configured time, which was not reported yet.
    pub(super) fn is_silent(&self) -> bool {
        let Self::Rtp(rtp) = self;
        rtp.is_silent()
    }

    /// The silence was reported.
    pub(super) fn silence_reported(&mut self) {
        let Self::Rtp(rtp) = self;
        rtp.silence_reported();
    }

    /// Fetches into the cache all that a tick needs of it.
    pub(super) fn touch(&self) -> i64 {
        let Self::Rtp(rtp) = self;
        rtp.touch()
    }

    /// How well its media travelled, without what the engine counts.
    pub(super) fn quality(&self) -> Quality {
        let Self::Rtp(rtp) = self;
        rtp.quality()
    }
}
