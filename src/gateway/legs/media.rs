//! Media of a leg: its slot in the engine, flags, and quality figures.

use std::net::IpAddr;

use crate::gateway::context::Context;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::replies::{Handle, Reply};
use crate::gateway::resources::ports::Port;
use crate::media::amd::Parameters;
use crate::media::command::{Command, Quality, Slot};
use crate::rtp::lock::RtpSource;
use crate::sdp::Negotiated;

/// Most pending quality requests per leg.
const MAX_ASKERS: usize = 64;

/// The media of a leg.
#[derive(Debug, Default)]
pub struct LegMedia {
    /// Its slot in the engine, once open.
    slot: Option<Slot>,
    /// Sampling rate of its first codec, Hz; 0 before negotiation.
    rate: u32,
    /// Other members do not hear it.
    muted: bool,
    /// It does not hear other members.
    deaf: bool,
    /// Pending quality requests.
    askers: Vec<Handle>,
    /// Final figures, once the engine has closed it.
    closed: Option<Quality>,
}

/// Far-end parameters for the engine.
#[derive(Debug, Clone)]
pub struct FarEnd {
    /// Negotiated session.
    pub stream: Negotiated,
    /// Source address of its signalling.
    pub signalling: Option<IpAddr>,
    /// Further allowed sources of its RTP.
    pub beside: RtpSource,
}

impl LegMedia {
    /// Media that is open in this slot.
    #[cfg(test)]
    pub(super) fn in_slot(slot: Slot) -> Self {
        Self { slot: Some(slot), ..Self::default() }
    }

    /// Its slot in the engine, once open.
    #[must_use]
    pub fn slot(&self) -> Option<Slot> {
        self.slot
    }

    /// Sampling rate, Hz; 0 before it has been opened.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// True if other members do not hear it.
    #[must_use]
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// True if it does not hear other members.
    #[must_use]
    pub fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// Opens it on these sockets in this slot. `ssrc`: ours.
    pub fn open(&mut self, ctx: &mut Context, slot: Slot, port: Port, ssrc: u32, far_end: FarEnd) {
        let FarEnd { stream, signalling, beside } = far_end;
        self.slot = Some(slot);
        self.rate = stream.codec.sample_rate();
        let (muted, deaf, port) = (self.muted, self.deaf, port.id);
        ctx.media.push_back(Command::Open { slot, port, stream, signalling, beside, ssrc, muted, deaf });
    }

    /// Passes a changed negotiation to the engine; false if the media is not open.
    pub fn update(&self, ctx: &mut Context, stream: Negotiated, signalling: Option<IpAddr>) -> bool {
        ctx.media.extend(self.slot.map(|slot| Command::Update { slot, stream, signalling }));
        self.slot.is_some()
    }

    /// Disconnects it from its room while we hold the far end, or reconnects it.
    pub fn set_held(&self, ctx: &mut Context, on: bool) {
        ctx.media.extend(self.slot.map(|slot| Command::Hold { slot, on }));
    }

    /// Marks whether our answer to the far end still lacks its acknowledgement.
    pub fn set_unproven(&self, ctx: &mut Context, on: bool) {
        ctx.media.extend(self.slot.map(|slot| Command::Unproven { slot, on }));
    }

    /// Sends digits as events, or as in-band tones.
    pub fn send_digits(&self, ctx: &mut Context, in_band: bool, digits: &str) {
        let digits = digits.to_owned();
        ctx.media.extend(self.slot.map(|slot| Command::Digits { slot, in_band, digits }));
    }

    /// The engine has closed it.
    pub fn handle_closed(&mut self, quality: Quality) {
        self.closed = Some(quality);
    }

    /// True once the engine has closed it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Final figures, if enough was received.
    #[must_use]
    pub fn quality(&self) -> Option<Quality> {
        self.closed.filter(|q| q.received >= 2)
    }

    /// Mutes it for other members, or unmutes it.
    pub fn set_muted(&mut self, ctx: &mut Context, on: bool) {
        self.muted = on;
        ctx.media.extend(self.slot.map(|slot| Command::Mute { slot, on }));
    }

    /// Stops or resumes sending it the audio of other members.
    pub fn set_deaf(&mut self, ctx: &mut Context, on: bool) {
        self.deaf = on;
        ctx.media.extend(self.slot.map(|slot| Command::Deaf { slot, on }));
    }

    /// The call is connected: starts speech detection, and answering-machine detection if requested.
    pub fn listen(&self, ctx: &mut Context, amd: Option<Parameters>) {
        if let Some(slot) = self.slot.filter(|_| ctx.config.events.speaking) {
            ctx.media.push_back(Command::Speaking { slot });
        }
        amd.into_iter().for_each(|parameters| self.detect_machine(ctx, parameters));
    }

    /// Starts answering-machine detection; the result is reported once.
    pub fn detect_machine(&self, ctx: &mut Context, parameters: Parameters) {
        ctx.media.extend(self.slot.map(|slot| Command::Amd { slot, parameters }));
    }

    /// Requests its quality figures. The reply is sent at the next tick of the media thread.
    ///
    /// # Errors
    /// Not open yet (409), too many pending requests (503).
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

    /// The figures have arrived.
    pub fn handle_quality(&mut self, ctx: &mut Context, quality: &Quality) {
        for asker in std::mem::take(&mut self.askers) {
            ctx.replies.send(asker, Ok(Reply::Quality(Box::new(*quality))));
        }
    }

    /// The leg has ended: fails pending requests.
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
