//! Our end of a call's session (RFC 3264): offers, answers, negotiated result, and sockets.

use std::convert::Infallible;
use std::net::IpAddr;

use super::described::Described;
use super::peer::Peer;
use crate::base::rng::Rng;
use crate::codec::{Codec, opus};
use crate::gateway::context::Context;
use crate::gateway::resources::ports::Port;
use crate::gateway::sip_messages::bodies::answer_of;
use crate::gateway::sip_messages::offers::able_to_begin;
use crate::sdp::{self, Able, Description, Direction, Format, Frame, Keyed, Local, Negotiated, SdpError};
use crate::sip::flow::{Flow, Transport};
use crate::wire::crypto::{OurKeys, Srtp};
use crate::wire::message::Common;

/// Our end of a call's session.
#[derive(Debug)]
pub(super) struct Session {
    /// Codecs it may use, best first.
    codecs: Vec<Codec>,
    /// Our description.
    local: Option<Local>,
    /// Descriptions sent to the far end.
    described: Described,
    /// The negotiated session.
    stream: Option<Negotiated>,
    /// Sockets, until the media is opened on them.
    port: Option<Port>,
    /// Sampling rate with which the media was opened, Hz; 0 before.
    rate: u32,
    /// It counts as a leg with Opus.
    has_opus_place: bool,
}

impl Session {
    /// A session with these codecs, not yet offered.
    pub(super) fn new(codecs: Vec<Codec>) -> Self {
        Self {
            codecs,
            local: None,
            described: Described::default(),
            stream: None,
            port: None,
            rate: 0,
            has_opus_place: false,
        }
    }

    /// The negotiated session.
    pub(super) fn stream(&self) -> Option<Negotiated> {
        self.stream
    }

    /// Codecs it may use, best first.
    pub(super) fn codecs(&self) -> &[Codec] {
        &self.codecs
    }

    /// True if the far end receives our media, and with it digits: it does not hold us.
    pub(super) fn sends(&self) -> bool {
        self.stream.is_some_and(|s| s.direction.sends())
    }

    /// True if it has sockets on which no media was opened yet.
    pub(super) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Takes its sockets for opening the media.
    pub(super) fn open(&mut self) -> Option<Port> {
        let (port, stream) = (self.port?, self.stream?);
        self.port = None;
        self.rate = stream.codec.sample_rate();
        Some(port)
    }

    /// Returns unused sockets.
    pub(super) fn release_port(&mut self, ctx: &mut Context) {
        ctx.ports.give_back(self.port.take());
    }

    /// The next target may need another address of ours.
    pub(super) fn begin_again(&mut self, ctx: &mut Context) {
        self.local = None;
        self.release_port(ctx);
    }

    /// Whether the negotiated session uses Opus. A session started with Opus keeps its sampling rate and thus
    /// counts until the call ends.
    pub(super) fn uses_opus(&self) -> Option<bool> {
        let agreed = self.stream.as_ref()?;
        Some(self.rate == opus::RATE || agreed.formats.codecs().any(|c| c == Codec::Opus))
    }

    /// Updates its use of Opus capacity.
    pub(super) fn settle_opus(&mut self, ctx: &mut Context, holds: bool) {
        ctx.opus.settle(&mut self.has_opus_place, holds);
    }

    /// Codecs that it may use now.
    fn affordable(&self, ctx: &Context) -> Vec<Codec> {
        ctx.opus.affordable(self.has_opus_place, &self.codecs)
    }

    /// Codecs for an offer within the call: without Opus unless in use, since the last place may be taken
    /// before the answer arrives.
    fn codecs_to_offer_again(&self, holds_opus: bool) -> Vec<Codec> {
        self.codecs.iter().filter(|c| holds_opus || **c != Codec::Opus).copied().collect()
    }

    /// Capabilities for an offer within the call: as at its start, at the address of its media.
    pub(super) fn able<'a>(&'a self, ctx: &'a Context, peer: &Peer) -> Able<'a> {
        let begin = able_to_begin(ctx, self.local.as_ref().map_or(peer.terms.srtp, |l| l.srtp));
        Able {
            codecs: &self.codecs,
            v4: self.local.as_ref().map_or(begin.v4, |l| l.address.is_ipv4()),
            v6: self.local.as_ref().map_or(begin.v6, |l| l.address.is_ipv6()),
            ..begin
        }
    }

    /// Takes sockets and creates our description, unless that has been done.
    ///
    /// # Errors
    /// No sockets left.
    pub(super) fn take_port(
        &mut self,
        ctx: &mut Context,
        peer: &Peer,
        towards: Option<IpAddr>,
    ) -> Result<(), SdpError> {
        if self.local.is_some() {
            return Ok(());
        }
        let port = ctx.ports.take(towards).ok_or(SdpError::NoPort)?;
        let far_end = peer.ip().or(towards);
        let address = far_end.map_or(port.address, |ip| ctx.sip.locals().seen_by(port.address, ip));
        let srtp = peer.terms.srtp;
        self.local = Some(Local {
            session_id: ctx.rng.u64() >> 2,
            frame: Frame::to_offer(srtp),
            srtp,
            keys: (srtp != Srtp::Off).then(|| Box::new(OurKeys::random(&mut ctx.rng))),
            ..Local::at(address, port.port)
        });
        self.port = Some(port);
        if let Some(flow) = peer.flow {
            self.fit_to(ctx, peer, flow);
        }
        Ok(())
    }

    /// Adapts the description to the far end at `target`: visible address, and SRTP keys only if allowed.
    pub(super) fn fit_to(&mut self, ctx: &Context, peer: &Peer, target: Flow) {
        let (srtp, home) = (peer.terms.srtp, peer.terms.home);
        let told = target.transport == Transport::Tls || ctx.config.sip.srtp_keys_in_clear;
        let (Some(local), Some(port)) = (self.local.as_mut(), self.port) else { return };
        local.address = home.unwrap_or_else(|| ctx.sip.locals().seen_by(port.address, target.addr.ip()));
        local.offers_keys = srtp == Srtp::Required || (srtp == Srtp::Optional && told);
    }

    /// The offer of our INVITE.
    pub(super) fn offer(&mut self) -> Option<String> {
        let local = self.local.as_mut()?;
        let text = sdp::offer(local, &self.codecs, Direction::SendRecv);
        self.described.begin(&text);
        Some(text)
    }

    /// Our offer in a 200 to an INVITE without offer.
    ///
    /// # Errors
    /// No sockets or no codec left.
    pub(super) fn offer_in_answer(&mut self, ctx: &mut Context, peer: &Peer) -> Result<String, SdpError> {
        self.take_port(ctx, peer, peer.ip())?;
        let codecs = self.affordable(ctx);
        if codecs.is_empty() {
            // Opus is the only codec, and no place is left.
            return Err(SdpError::NoPort);
        }
        self.codecs = codecs;
        self.offer().ok_or(SdpError::NoPort)
    }

    /// Our answer to the offer of an INVITE; stores the negotiated session.
    ///
    /// # Errors
    /// No sockets left, or the offer contains nothing usable.
    pub(super) fn answer(
        &mut self,
        ctx: &mut Context,
        peer: &Peer,
        offer: &Description,
    ) -> Result<String, SdpError> {
        let stated = offer.address.filter(|ip| !ip.is_unspecified());
        self.take_port(ctx, peer, stated.or_else(|| peer.ip()))?;
        let codecs = self.affordable(ctx);
        let local = self.local.as_ref().ok_or(SdpError::NoPort)?;
        let fallback = peer.ip().unwrap_or(local.address);
        let (text, stream) = sdp::answer(offer, local, &codecs, Direction::SendRecv, fallback)?;
        self.stream = Some(stream);
        self.described.begin(&text);
        self.local.iter_mut().for_each(|l| l.follow(offer));
        Ok(text)
    }

    /// Our last description as sent.
    pub(super) fn last_description(&self) -> String {
        self.described.last().to_owned()
    }

    /// Our answer to an offer within the call; stores the negotiated session.
    ///
    /// # Errors
    /// The offer contains nothing usable; the state is unchanged.
    pub(super) fn answer_again(
        &mut self,
        ctx: &mut Context,
        peer: &Peer,
        offer: &Description,
        wanted: Direction,
    ) -> Result<String, SdpError> {
        let codecs = self.affordable(ctx);
        let local = self.local.as_mut().ok_or(SdpError::Malformed)?;
        let fallback = peer.ip().unwrap_or(local.address);
        let mut next = local.clone();
        self.stream.iter().for_each(|s| next.remember(s));
        next.follow(offer);
        renew_keys(&mut next, self.stream.and_then(|s| s.srtp), &mut ctx.rng);
        let (text, stream) =
            self.described.next(&mut next, |l| sdp::answer(offer, l, &codecs, wanted, fallback))?;
        self.described.agree();
        *local = next;
        self.stream = Some(stream);
        Ok(text)
    }

    /// Our offer in a 200 to a re-INVITE without offer.
    ///
    /// # Errors
    /// The call has no media.
    pub(super) fn offer_again(
        &mut self,
        ctx: &mut Context,
        wanted: Direction,
        holds_opus: bool,
    ) -> Result<String, SdpError> {
        let codecs = self.codecs_to_offer_again(holds_opus);
        let local = self.local.as_mut().ok_or(SdpError::Malformed)?;
        let keyed = self.stream.and_then(|s| s.srtp);
        renew_keys(local, keyed, &mut ctx.rng);
        // Encrypted media stays encrypted.
        let offers = local.offers_keys || keyed.is_some();
        self.stream.iter().for_each(|s| local.remember(s));
        let offer = |l: &mut Local| {
            let as_before = std::mem::replace(&mut l.offers_keys, offers);
            let text = sdp::offer(l, &codecs, wanted);
            l.offers_keys = as_before;
            text
        };
        self.described.next(local, |l| Ok((offer(l), ()))).map(|(text, ())| text)
    }

    /// The offer of our re-INVITE, with our end as described in it. `repeats`: repeat the description in
    /// force, to signal that nothing has changed (RFC 4028 §7.4). `None`: the call has no media.
    pub(super) fn reoffer(
        &mut self,
        ctx: &Context,
        direction: Direction,
        repeats: bool,
        holds_opus: bool,
    ) -> Option<(String, Local)> {
        let (mut local, stream) = (self.local.clone()?, self.stream?);
        // The initial offer may contain codecs for which there is no capacity now.
        let too_much = !holds_opus && ctx.opus.is_full() && self.described.last().contains("opus/");
        let same = if repeats && !too_much { self.described.again(&mut local) } else { None };
        let text = same.unwrap_or_else(|| {
            let again = |l: &mut Local| (sdp::offer_again(l, &stream, direction), ());
            let Ok((text, ())) = self.described.next(&mut local, |l| Ok::<_, Infallible>(again(l)));
            text
        });
        self.local.iter_mut().for_each(|l| l.version = local.version);
        Some((text, local))
    }

    /// Our description.
    pub(super) fn local(&self) -> Option<Local> {
        self.local.clone()
    }

    /// True if there is a description to repeat.
    pub(super) fn is_described(&self) -> bool {
        self.local.is_some() && self.stream.is_some()
    }

    /// Parses the answer to the offer of our INVITE; `None` without a session description.
    ///
    /// # Errors
    /// The reason for ending the call.
    pub(super) fn read_answer(
        &self,
        peer: &Peer,
        message: &Common,
    ) -> Result<Option<Negotiated>, &'static str> {
        let Some(answer) = answer_of(message).map_err(|_| "invite_failed")? else { return Ok(None) };
        let fallback = peer.ip().unwrap_or(IpAddr::from([0, 0, 0, 0]));
        let local = self.local.as_ref().ok_or("invite_failed")?;
        sdp::accept(&answer, local, &self.codecs, true, fallback).map(Some).map_err(|_| "connect_failed")
    }

    /// Stores a negotiated session.
    pub(super) fn agree(&mut self, stream: Negotiated) {
        self.stream = Some(stream);
    }

    /// Removes and returns the negotiated session.
    pub(super) fn disagree(&mut self) -> Option<Negotiated> {
        self.stream.take()
    }

    /// Applies the answer in the ACK to our 2xx.
    ///
    /// # Errors
    /// Missing or unusable answer.
    pub(super) fn accept_in_ack(
        &mut self,
        peer: &Peer,
        message: &Common,
        holds_opus: bool,
    ) -> Result<(), SdpError> {
        let answer = answer_of(message)?.ok_or(SdpError::Malformed)?;
        let local = self.local.as_ref().ok_or(SdpError::Malformed)?;
        let fallback = peer.ip().unwrap_or(local.address);
        let codecs = self.codecs_to_offer_again(holds_opus);
        self.stream = Some(sdp::accept(&answer, local, &codecs, true, fallback)?);
        self.described.agree();
        Ok(())
    }

    /// Applies the answer to our re-INVITE that described our end as `local`.
    ///
    /// # Errors
    /// Missing or unusable answer.
    pub(super) fn accept_again(
        &mut self,
        peer: &Peer,
        message: &Common,
        local: Local,
    ) -> Result<(), SdpError> {
        let answer = answer_of(message)?.ok_or(SdpError::Malformed)?;
        let fallback = peer.ip().unwrap_or(local.address);
        // A refresh repeats the initial offer, which may contain more than was negotiated.
        let offer = Description::parse(self.described.last().as_bytes())?;
        let offered: Vec<Codec> = offer.formats.iter().filter_map(Format::codec).collect();
        self.stream = Some(sdp::accept(&answer, &local, &offered, offer.rtcp_mux, fallback)?);
        self.local = Some(local);
        self.described.agree();
        Ok(())
    }

    /// 488 to SRTP keys in a plain RTP profile: some phones accept them in the secure profile only. True if
    /// that is worth trying.
    pub(super) fn insist_on_encryption(&mut self) -> bool {
        let Some(local) = &mut self.local else { return false };
        let may = local.offers_keys && local.frame.proto == "RTP/AVP" && local.srtp == Srtp::Optional;
        if may {
            local.frame.proto = "RTP/SAVP".to_owned();
        }
        may
    }
}

/// Generates new keys for suites not in use, so that no key is used for two streams from the start.
fn renew_keys(local: &mut Local, in_use: Option<Keyed>, rng: &mut Rng) {
    if let Some(keys) = &mut local.keys {
        **keys = OurKeys::renewed(rng, in_use.map(|k| k.ours));
    }
}
