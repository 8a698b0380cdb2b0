//! A leg: identity, signalling and media.

use std::collections::BTreeMap;
use std::time::Instant;

use super::digits_taken::check_taken;
use super::dtmf::{Path, ReceivedDigits, check_digits};
use super::media::{FarEnd, LegMedia};
use crate::base::pool::Standing;
use crate::base::time::Now;
use crate::config::DtmfMode;
use crate::gateway::context::Context;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::legs::leg_id::{Kind, LegId};
use crate::gateway::legs::leg_view::LegView;
use crate::gateway::sip_call::SipCall;
use crate::media::amd::Parameters;
use crate::media::command::Slot;

/// Signalling of a leg: new kinds of legs are added as variants, and the compiler lists all places to extend.
#[derive(Debug)]
pub enum Signalling {
    /// A SIP call.
    Sip(Box<SipCall>),
}

/// A leg.
#[derive(Debug)]
pub struct Leg {
    /// UUID, as used by API and events.
    name: String,
    /// Time of creation.
    created: Now,
    /// Class of its source, for quotas.
    standing: Standing,
    signalling: Signalling,
    media: LegMedia,
    /// It receives digits sent by other members of its room.
    accept_dtmf: bool,
    digits: ReceivedDigits,
    /// Answering-machine detection to start when connected.
    amd: Option<Parameters>,
    /// X- headers of the INVITE.
    sip_headers: Vec<(String, String)>,
}

impl Leg {
    /// A leg for a new call.
    #[must_use]
    pub fn new(name: String, call: SipCall, now: Now) -> Self {
        Self {
            name,
            created: now,
            standing: Standing::Own,
            signalling: Signalling::Sip(Box::new(call)),
            media: LegMedia::default(),
            accept_dtmf: true,
            digits: ReceivedDigits::default(),
            amd: None,
            sip_headers: Vec::new(),
        }
    }

    /// Sets the class of its source, and the X- headers of its INVITE.
    #[must_use]
    pub fn with_caller(self, standing: Standing, sip_headers: Vec<(String, String)>) -> Self {
        Self { standing, sip_headers, ..self }
    }

    /// Sets digit forwarding, and answering-machine detection to start when answered.
    #[must_use]
    pub fn with_options(self, accept_dtmf: bool, amd: Option<Parameters>) -> Self {
        Self { accept_dtmf, amd, ..self }
    }

    /// UUID, as used by API and events.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Time of creation.
    #[must_use]
    pub fn created(&self) -> Now {
        self.created
    }

    /// Class of its source, for quotas.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Its call.
    #[must_use]
    pub fn call(&self) -> &SipCall {
        let Signalling::Sip(call) = &self.signalling;
        call
    }

    /// Its call, mutable.
    pub(super) fn call_mut(&mut self) -> &mut SipCall {
        let Signalling::Sip(call) = &mut self.signalling;
        call
    }

    /// Call direction.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.call().kind()
    }

    /// Its media.
    #[must_use]
    pub fn media(&self) -> &LegMedia {
        &self.media
    }

    /// Its media, mutable.
    pub fn media_mut(&mut self) -> &mut LegMedia {
        &mut self.media
    }

    /// X- headers of the INVITE.
    #[must_use]
    pub fn sip_headers(&self) -> &[(String, String)] {
        &self.sip_headers
    }

    /// True if it receives digits sent by other members of its room.
    #[must_use]
    pub fn accepts_dtmf(&self) -> bool {
        self.accept_dtmf
    }

    /// Enables or disables digits from other members of its room.
    pub fn set_accepts_dtmf(&mut self, on: bool) {
        self.accept_dtmf = on;
    }

    /// The call has ended; the terminal event may be pending.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.call().is_ending()
    }

    /// The next time something is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.call().deadline()
    }

    /// True if it holds sockets, whether opened or not.
    #[must_use]
    pub fn holds_port(&self) -> bool {
        self.call().has_port() || self.media.slot().is_some()
    }

    /// Starts analysing its audio once connected (speech activity, answering machine).
    pub fn listen(&self, ctx: &mut Context) {
        self.media.listen(ctx, self.amd.filter(|_| self.kind() == Kind::SipOutbound));
    }

    /// Representation in the API, with its room.
    #[must_use]
    pub fn view(&self, room: Option<&str>) -> LegView {
        LegView {
            id: self.name.clone(),
            kind: self.kind().as_str(),
            state: self.call().state(),
            room_id: room.map(str::to_owned),
            muted: self.media.is_muted(),
            deaf: self.media.is_deaf(),
            accept_dtmf: self.accept_dtmf,
            held: self.call().is_held(),
            sip_headers: match self.kind() {
                Kind::SipInbound => self.sip_headers.iter().cloned().collect(),
                Kind::SipOutbound => BTreeMap::new(),
            },
        }
    }

    /// Handles a digit received on `path`; true if it was published, so that it may be forwarded to the room.
    pub fn handle_digit(&mut self, ctx: &mut Context, now: Now, id: LegId, path: Path, digit: char) -> bool {
        let news = self.digits.is_news(now.mono, path, digit) && !self.is_ending();
        if news {
            self.digits.publish(ctx, now, id, digit);
        }
        news
    }

    /// True if digits of other members may be sent to it: a leg on hold would get them late and all at once.
    #[must_use]
    pub fn hears_digits(&self) -> bool {
        self.accept_dtmf && !self.call().is_held_by_us() && self.call().takes_digits()
    }

    /// Validates digits of an API request; returns them normalized.
    ///
    /// # Errors
    /// An invalid character, or too many digits (400); no media (500); the far end holds the call, does not
    /// accept the only allowed mode, or not these digits (409).
    pub fn check_digits(&self, digits: &str) -> Result<String, GatewayError> {
        let digits = check_digits(digits)?;
        let agreed = self.call().agreement().filter(|_| self.media.slot().is_some());
        let Some((stream, _)) = agreed else {
            return Err(GatewayError::Failed("the leg has no media to send digits on".to_owned()));
        };
        let conflict = |why: &str| Err(GatewayError::Conflict(why.to_owned()));
        if !self.call().takes_digits() {
            return conflict("the far end holds the call and takes no digits: try again when it has resumed");
        }
        let mode = self.call().dtmf_mode();
        if let (DtmfMode::Auto | DtmfMode::Rfc4733, Some(events)) = (mode, &stream.dtmf) {
            check_taken(events, &digits)?;
        }
        if mode == DtmfMode::Rfc4733 && stream.dtmf.is_none() {
            return conflict(
                "the far end takes no telephone-events, and dtmf = \"rfc4733\" allows nothing else",
            );
        }
        Ok(digits)
    }

    /// Sends digits in the configured mode: as events or tones in the media, or by INFO.
    pub(super) fn send_digits(&mut self, ctx: &mut Context, now: Now, digits: &str) {
        let mode = self.call().dtmf_mode();
        if mode == DtmfMode::Info {
            return self.call_mut().send_digits(ctx, now, digits);
        }
        let no_events = self.call().agreement().is_some_and(|(s, _)| s.dtmf.is_none());
        if mode != DtmfMode::Rfc4733 || !no_events {
            self.media.send_digits(ctx, mode == DtmfMode::Inband, digits);
        }
    }

    /// Applies the negotiated session to its open media. True if the media must be opened first.
    pub(super) fn follow_session(&mut self, ctx: &mut Context) -> bool {
        let Some((stream, signalling)) = self.call().agreement() else { return false };
        !self.is_ending() && !self.media.update(ctx, stream, signalling) && self.call().has_port()
    }

    /// Opens its media in this slot of the engine.
    pub(super) fn open_media(&mut self, ctx: &mut Context, slot: Slot) {
        let beside = self.call().terms().rtp_source.clone();
        let Some((stream, signalling)) = self.call().agreement() else { return };
        let Some(port) = self.call_mut().open_port() else { return };
        let ssrc = ctx.rng.u32();
        self.media.open(ctx, slot, port, ssrc, FarEnd { stream, signalling, beside });
    }
}
