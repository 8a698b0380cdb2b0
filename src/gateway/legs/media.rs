//! The media of a leg: its place in the engine, how it is heard, and what is told of it.

use std::net::IpAddr;

use crate::gateway::context::Context;
use crate::gateway::error::GatewayError;
use crate::gateway::ports::Port;
use crate::gateway::replies::{Handle, Reply};
use crate::media::amd::Parameters;
use crate::media::command::{Command, Quality, Slot};
use crate::rtp::lock::RtpSource;
use crate::sdp::Negotiated;

/// Callers that may wait for one leg's figures.
const MAX_ASKERS: usize = 64;

/// The media of a leg.
#[derive(Debug, Default)]
pub struct LegMedia {
    /// Its place in the engine, once opened.
    slot: Option<Slot>,
    /// Sampling rate, Hz: that of its first codec. 0 before it has any.
    rate: u32,
    /// Others do not hear it.
    muted: bool,
    /// It hears nobody.
    deaf: bool,
    /// Who waits for its figures.
    askers: Vec<Handle>,
    /// What it reported at the end; the engine has let go of it.
    closed: Option<Quality>,
}

/// What the engine needs to know of the far end.
#[derive(Debug, Clone)]
pub struct FarEnd {
    /// What is agreed.
    pub stream: Negotiated,
    /// Address that its signalling comes from.
    pub signalling: Option<IpAddr>,
    /// Where its media may come from beside that.
    pub beside: RtpSource,
}

impl LegMedia {
    /// Media that is open in this place.
    #[cfg(test)]
    pub(super) fn in_slot(slot: Slot) -> Self {
        Self { slot: Some(slot), ..Self::default() }
    }

    /// Its place in the engine, once opened.
    #[must_use]
    pub fn slot(&self) -> Option<Slot> {
        self.slot
    }

    /// Sampling rate, Hz; 0 before it has been opened.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// True when others do not hear it.
    #[must_use]
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// True when it hears nobody.
    #[must_use]
    pub fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// Opens it on these sockets in this place of the engine. `ssrc`: ours.
    pub fn open(&mut self, ctx: &mut Context, slot: Slot, port: Port, ssrc: u32, far_end: FarEnd) {
        let FarEnd { stream, signalling, beside } = far_end;
        self.slot = Some(slot);
        self.rate = stream.codec.sample_rate();
        let (muted, deaf, port) = (self.muted, self.deaf, port.id);
        ctx.media.push_back(Command::Open { slot, port, stream, signalling, beside, ssrc, muted, deaf });
    }

    /// Tells the engine of another agreement; false when it is not open.
    pub fn update(&self, ctx: &mut Context, stream: Negotiated, signalling: Option<IpAddr>) -> bool {
        ctx.media.extend(self.slot.map(|slot| Command::Update { slot, stream, signalling }));
        self.slot.is_some()
    }

    /// Cut off from its room by our hold, or no more.
    pub fn set_held(&self, ctx: &mut Context, on: bool) {
        ctx.media.extend(self.slot.map(|slot| Command::Hold { slot, on }));
    }

    /// Our answer to the far end is not acknowledged, or now it is.
    pub fn set_unproven(&self, ctx: &mut Context, on: bool) {
        ctx.media.extend(self.slot.map(|slot| Command::Unproven { slot, on }));
    }

    /// Sends digits as events, or as tones `in_band`.
    pub fn send_digits(&self, ctx: &mut Context, in_band: bool, digits: &str) {
        let digits = digits.to_owned();
        ctx.media.extend(self.slot.map(|slot| Command::Digits { slot, in_band, digits }));
    }

    /// The engine has let go of it.
    pub fn handle_closed(&mut self, quality: Quality) {
        self.closed = Some(quality);
    }

    /// True once the engine has let go of it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// What it reported at the end, if enough came to say anything.
    #[must_use]
    pub fn quality(&self) -> Option<Quality> {
        self.closed.filter(|q| q.received >= 2)
    }

    /// Others hear it no more, or again.
    pub fn set_muted(&mut self, ctx: &mut Context, on: bool) {
        self.muted = on;
        ctx.media.extend(self.slot.map(|slot| Command::Mute { slot, on }));
    }

    /// It hears nobody any more, or again.
    pub fn set_deaf(&mut self, ctx: &mut Context, on: bool) {
        self.deaf = on;
        ctx.media.extend(self.slot.map(|slot| Command::Deaf { slot, on }));
    }

    /// The call is connected: from now on it is listened to, for an answering machine if that is wished.
    pub fn listen(&self, ctx: &mut Context, amd: Option<Parameters>) {
        if let Some(slot) = self.slot.filter(|_| ctx.config.events.speaking) {
            ctx.media.push_back(Command::Speaking { slot });
        }
        amd.into_iter().for_each(|parameters| self.detect_machine(ctx, parameters));
    }

    /// Listens for an answering machine; what is heard is told once.
    pub fn detect_machine(&self, ctx: &mut Context, parameters: Parameters) {
        ctx.media.extend(self.slot.map(|slot| Command::Amd { slot, parameters }));
    }

    /// Asks how well it travels. The reply comes with the next tick of the media thread.
    ///
    /// # Errors
    /// It is not open yet (409), too many ask at once (503).
    pub fn ask_quality(&mut self, ctx: &mut Context) -> Result<Handle, GatewayError> {
        let slot = self.slot.ok_or_else(|| GatewayError::Conflict("the leg has no media yet".to_owned()))?;
        if self.askers.len() >= MAX_ASKERS {
            return Err(GatewayError::Unavailable("too many ask for the figures of this leg".to_owned()));
        }
        let handle = ctx.replies.expect();
        self.askers.push(handle);
        ctx.media.push_back(Command::Quality { slot });
        Ok(handle)
    }

    /// Its figures are here.
    pub fn handle_quality(&mut self, ctx: &mut Context, quality: &Quality) {
        for asker in std::mem::take(&mut self.askers) {
            ctx.replies.send(asker, Ok(Reply::Quality(Box::new(*quality))));
        }
    }

    /// The leg ends: nobody will hear of its figures any more.
    pub fn leg_ended(&mut self, ctx: &mut Context) {
        for asker in std::mem::take(&mut self.askers) {
            ctx.replies.send(asker, Err(GatewayError::NO_LEG));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::context;

    fn open() -> (Context, LegMedia) {
        (context(|_| {}), LegMedia::in_slot(3))
    }

    #[test]
    fn what_is_set_before_it_is_open_is_kept_and_told_the_engine_afterwards() {
        let (mut ctx, mut media) = (context(|_| {}), LegMedia::default());
        media.set_muted(&mut ctx, true);
        assert!(media.is_muted() && !media.is_deaf() && ctx.media.is_empty());
        let (mut ctx, mut media) = open();
        media.set_muted(&mut ctx, true);
        media.set_deaf(&mut ctx, true);
        assert_eq!(ctx.media, [Command::Mute { slot: 3, on: true }, Command::Deaf { slot: 3, on: true }]);
    }

    #[test]
    fn all_who_ask_for_figures_get_them_and_there_are_so_many() {
        let (mut ctx, mut media) = open();
        let handles: Vec<Handle> = (0..MAX_ASKERS).map(|_| media.ask_quality(&mut ctx).unwrap()).collect();
        assert!(matches!(media.ask_quality(&mut ctx), Err(GatewayError::Unavailable(_))));
        media.handle_quality(&mut ctx, &Quality::default());
        let told: Vec<Handle> = std::iter::from_fn(|| ctx.replies.poll()).map(|(h, _)| h).collect();
        assert_eq!(told, handles);
        let last = media.ask_quality(&mut ctx).unwrap();
        media.leg_ended(&mut ctx);
        assert_eq!(ctx.replies.poll(), Some((last, Err(GatewayError::NotFound("leg not found")))));
    }

    #[test]
    fn figures_of_media_that_is_not_open_are_refused() {
        let (mut ctx, mut media) = (context(|_| {}), LegMedia::default());
        assert!(matches!(media.ask_quality(&mut ctx), Err(GatewayError::Conflict(_))));
        assert_eq!(ctx.replies.poll(), None);
    }

    #[test]
    fn too_little_media_says_nothing_of_its_quality() {
        let closed = |received| {
            let mut media = LegMedia::default();
            media.handle_closed(Quality { received, ..Quality::default() });
            (media.is_closed(), media.quality().is_some())
        };
        assert_eq!((closed(1), closed(2)), ((true, false), (true, true)));
    }
}
