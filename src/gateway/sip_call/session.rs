//! Our end of a call's session (RFC 3264): what we offer and answer, what is agreed, and the sockets it is agreed for.

use std::convert::Infallible;
use std::net::IpAddr;

use super::described::Described;
use super::peer::Peer;
use crate::base::rng::Rng;
use crate::codec::{Codec, opus};
use crate::gateway::bodies::answer_of;
use crate::gateway::context::Context;
use crate::gateway::offers::able_to_begin;
use crate::gateway::ports::Port;
use crate::sdp::{self, Able, Description, Direction, Format, Frame, Keyed, Local, Negotiated, SdpError};
use crate::sip::target::{Target, Transport};
use crate::wire::crypto::{OurKeys, Srtp};
use crate::wire::message::Common;

/// Our end of a call's session.
#[derive(Debug)]
pub(super) struct Session {
    /// Codecs it may use, best first.
    codecs: Vec<Codec>,
    /// Our side of its description.
    local: Option<Local>,
    /// What the far end has been told of our side.
    described: Described,
    /// What is agreed.
    stream: Option<Negotiated>,
    /// Sockets, until the media is opened on them.
    port: Option<Port>,
    /// Sampling rate that the media was opened with, Hz; 0 before that.
    rate: u32,
    /// It is counted among those that use Opus.
    has_opus_place: bool,
}

impl Session {
    /// Nothing has been offered yet of these codecs.
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

    /// What is agreed.
    pub(super) fn stream(&self) -> Option<Negotiated> {
        self.stream
    }

    /// Codecs it may use, best first.
    pub(super) fn codecs(&self) -> &[Codec] {
        &self.codecs
    }

    /// True while the far end wants media of ours, and with it digits: it has not put us on hold.
    pub(super) fn sends(&self) -> bool {
        self.stream.is_some_and(|s| s.direction.sends())
    }

    /// True when it has sockets that no media was opened on.
    pub(super) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// The sockets for media that is opened now.
    pub(super) fn open(&mut self) -> Option<Port> {
        let (port, stream) = (self.port?, self.stream?);
        self.port = None;
        self.rate = stream.codec.sample_rate();
        Some(port)
    }

    /// Gives back sockets that nothing was opened on.
    pub(super) fn release_port(&mut self, ctx: &mut Context) {
        ctx.ports.give_back(self.port.take());
    }

    /// Whoever is called next may see us under another address.
    pub(super) fn begin_again(&mut self, ctx: &mut Context) {
        self.local = None;
        self.release_port(ctx);
    }

    /// Whether what is agreed uses Opus. Who began with Opus keeps its sampling rate, and with it the place, until the call
    /// ends.
    pub(super) fn uses_opus(&self) -> Option<bool> {
        let agreed = self.stream.as_ref()?;
        Some(self.rate == opus::RATE || agreed.formats.codecs().any(|c| c == Codec::Opus))
    }

    /// Takes or gives back the place among those that use Opus.
    pub(super) fn settle_opus(&mut self, ctx: &mut Context, holds: bool) {
        ctx.opus.settle(&mut self.has_opus_place, holds);
    }

    /// Codecs that it may use now.
    fn affordable(&self, ctx: &Context) -> Vec<Codec> {
        ctx.opus.affordable(self.has_opus_place, &self.codecs)
    }

    /// What an offer of ours inside the call may have in it: no Opus where it is not in use, as another may take the last
    /// place before the answer comes.
    fn codecs_to_offer_again(&self, holds_opus: bool) -> Vec<Codec> {
        self.codecs.iter().filter(|c| holds_opus || **c != Codec::Opus).copied().collect()
    }

    /// What we can do with an offer inside the call: as when it began, at the address that its media has.
    pub(super) fn able<'a>(&'a self, ctx: &'a Context, peer: &Peer) -> Able<'a> {
        let begin = able_to_begin(ctx, self.local.as_ref().map_or(peer.terms.srtp, |l| l.srtp));
        Able {
            codecs: &self.codecs,
            v4: self.local.as_ref().map_or(begin.v4, |l| l.address.is_ipv4()),
            v6: self.local.as_ref().map_or(begin.v6, |l| l.address.is_ipv6()),
            ..begin
        }
    }

    /// Takes sockets and makes a description of our own, unless there are any.
    ///
    /// # Errors
    /// No sockets are left.
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

    /// Fits the description to the far end at `target`: the address that it sees, and keys only where they may be told.
    pub(super) fn fit_to(&mut self, ctx: &Context, peer: &Peer, target: Target) {
        let (srtp, home) = (peer.terms.srtp, peer.terms.home);
        let told = target.transport == Transport::Tls || ctx.config.sip.srtp_keys_in_clear;
        let (Some(local), Some(port)) = (self.local.as_mut(), self.port) else { return };
        local.address = home.unwrap_or_else(|| ctx.sip.locals().seen_by(port.address, target.addr.ip()));
        local.offers_keys = srtp == Srtp::Required || (srtp == Srtp::Optional && told);
    }

    /// The offer of an INVITE of ours.
    pub(super) fn offer(&mut self) -> Option<String> {
        let local = self.local.as_mut()?;
        let text = sdp::offer(local, &self.codecs, Direction::SendRecv);
        self.described.begin(&text);
        Some(text)
    }

    /// An offer of ours, for a 200 to an INVITE that had none.
    ///
    /// # Errors
    /// No sockets are left, or no codec.
    pub(super) fn offer_in_answer(&mut self, ctx: &mut Context, peer: &Peer) -> Result<String, SdpError> {
        self.take_port(ctx, peer, peer.ip())?;
        let codecs = self.affordable(ctx);
        if codecs.is_empty() {
            // All places of the only codec are taken.
            return Err(SdpError::NoPort);
        }
        self.codecs = codecs;
        self.offer().ok_or(SdpError::NoPort)
    }

    /// Our answer to the offer of an INVITE, from sockets of ours; notes what is agreed.
    ///
    /// # Errors
    /// No sockets are left, or the offer has nothing that can be used.
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

    /// Our description as it was sent last.
    pub(super) fn last_description(&self) -> String {
        self.described.last().to_owned()
    }

    /// Our answer to an offer inside the call; notes what is agreed.
    ///
    /// # Errors
    /// The offer has nothing that can be used; all stays as it was.
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

    /// An offer of ours, for a 200 to a re-INVITE that had none.
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
        // What is encrypted stays so.
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

    /// The offer of a re-INVITE of ours, and our end as it describes it. `repeats`: what is in force once more, so that it
    /// says that nothing has changed (RFC 4028 §7.4). `None`: the call has no media.
    pub(super) fn reoffer(
        &mut self,
        ctx: &Context,
        direction: Direction,
        repeats: bool,
        holds_opus: bool,
    ) -> Option<(String, Local)> {
        let (mut local, stream) = (self.local.clone()?, self.stream?);
        // What was offered first may have more in it than there is room for now.
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

    /// Our side of its description.
    pub(super) fn local(&self) -> Option<Local> {
        self.local.clone()
    }

    /// True when there is something to describe again.
    pub(super) fn is_described(&self) -> bool {
        self.local.is_some() && self.stream.is_some()
    }

    /// What the answer to the offer of our INVITE agrees to; `None` when there is no session description in the message.
    ///
    /// # Errors
    /// The reason for which the call ends.
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

    /// This is agreed now.
    pub(super) fn agree(&mut self, stream: Negotiated) {
        self.stream = Some(stream);
    }

    /// Nothing is agreed any more; what was.
    pub(super) fn disagree(&mut self) -> Option<Negotiated> {
        self.stream.take()
    }

    /// Takes the answer in the ACK to our 2xx.
    ///
    /// # Errors
    /// There is none, or none that can be used.
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

    /// Takes the answer to a re-INVITE of ours that described our end as `local`.
    ///
    /// # Errors
    /// There is none, or none that can be used.
    pub(super) fn accept_again(
        &mut self,
        peer: &Peer,
        message: &Common,
        local: Local,
    ) -> Result<(), SdpError> {
        let answer = answer_of(message)?.ok_or(SdpError::Malformed)?;
        let fallback = peer.ip().unwrap_or(local.address);
        // A refresh offers again what was offered first, which may be more than was agreed.
        let offer = Description::parse(self.described.last().as_bytes())?;
        let offered: Vec<Codec> = offer.formats.iter().filter_map(Format::codec).collect();
        self.stream = Some(sdp::accept(&answer, &local, &offered, offer.rtcp_mux, fallback)?);
        self.local = Some(local);
        self.described.agree();
        Ok(())
    }

    /// 488 to keys beside a plain profile: some phones take them under the profile of encrypted media only. True when that
    /// is worth trying.
    pub(super) fn insist_on_encryption(&mut self) -> bool {
        let Some(local) = &mut self.local else { return false };
        let may = local.offers_keys && local.frame.proto == "RTP/AVP" && local.srtp == Srtp::Optional;
        if may {
            local.frame.proto = "RTP/SAVP".to_owned();
        }
        may
    }
}

/// Keys of suites that are not in use are new at every description, lest one is used twice from the start.
fn renew_keys(local: &mut Local, in_use: Option<Keyed>, rng: &mut Rng) {
    if let Some(keys) = &mut local.keys {
        **keys = OurKeys::renewed(rng, in_use.map(|k| k.ours));
    }
}
