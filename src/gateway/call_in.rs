//! Inbound calls: INVITE, ringing, early media, answer, CANCEL, ACK.

use std::net::IpAddr;

use serde_json::Value;

use super::bodies::{offer_of, other_bodies};
use super::core::Gateway;
use super::error::GatewayError;
use super::events::{EventBody, LegRinging, LegState, Text};
use super::expiry::inbound_limit;
use super::leg::{Kind, Leg, LegId, Phase};
use super::legs::FarEnd;
use super::offers::able_to_begin;
use super::refusal;
use super::registrar::Caller;
use super::requests::ClientAuth;
use super::self_test::bound_address;
use crate::base::pool::Standing;
use crate::base::time::Now;
use crate::codec::Codec;
use crate::sdp::{self, Description, Direction, Frame, Local, SdpError};
use crate::sip::dialog::Dialog;
use crate::sip::session_timer;
use crate::sip::target::{Target, Transport, next_hop};
use crate::sip::transactions::ServerId;
use crate::wire::Request;
use crate::wire::crypto::{OurKeys, Srtp};

/// Most X- headers of one INVITE that are kept.
const MAX_X_HEADERS: usize = 32;
/// Bytes of them that are kept: they go into an event, of which many may have to wait.
const MAX_X_BYTES: usize = 8192;

impl Gateway {
    /// An INVITE outside any dialog.
    pub(super) fn invited(&mut self, now: Now, tx: ServerId, request: &Request, source: Target) {
        let Some(caller) = self.registrar.caller_of(&mut self.ctx, now, request, source) else {
            return refusal::refuse(&mut self.ctx, now, tx, 403, "Forbidden: From is another user");
        };
        let trunk = self.trunks.sender_of(source, request);
        let test = self.self_tests.is_call(request);
        let srtp = if test { Srtp::Required } else { self.trunks.srtp_of(&self.ctx, trunk) };
        let offer = match offer_of(request, &able_to_begin(&self.ctx, srtp)) {
            Ok(offer) => offer,
            Err(e) => return refusal::refuse_sdp(&mut self.ctx, now, tx, &e),
        };
        let standing = self.sources().standing(source);
        let admitted = !self.is_full() && self.admits_call(source, standing);
        if !admitted {
            return refusal::refuse(&mut self.ctx, now, tx, 503, "Service Unavailable");
        }
        let reachable = |d: &Dialog| d.next_hop().sip().is_some_and(|u| next_hop(u).is_ok());
        if !Dialog::uas(request, "probe").is_ok_and(|d| reachable(&d)) {
            return refusal::refuse(
                &mut self.ctx,
                now,
                tx,
                400,
                "Bad Request: no usable Contact or Record-Route",
            );
        }
        if let Err(least) = session_timer::answer(&request.common.headers) {
            return refusal::refuse_short_session(&mut self.ctx, now, tx, least);
        }
        let replaces = match self.replaced_by(request) {
            Ok(replaces) => replaces,
            Err((code, reason)) => return refusal::refuse(&mut self.ctx, now, tx, code, reason),
        };
        let takes_over = replaces.is_some();
        let credentials = trunk.and_then(|t| self.trunks.credentials_of(t));
        let name = self.ctx.rng.uuid();
        if test {
            self.self_tests.add(name.clone());
        }
        let (sip_headers, sip_headers_truncated) = captured(request);
        let leg = Leg {
            standing,
            trunk,
            user: caller.user.clone(),
            auth: credentials.map(|c| Box::new(ClientAuth::for_server(c, source.addr.ip()))),
            replaces,
            sip_headers,
            sip_headers_truncated,
            codecs: self.ctx.config.sip.codecs.clone(),
            flow: Some(source),
            ring_until: Some(now.mono + inbound_limit(self.ctx.config.sip.ring_timeout_s, request).0),
            ..Leg::new(name.clone(), Kind::SipInbound, Phase::Ringing { tx, offer: offer.map(Box::new) }, now)
        };
        let webhook = self.trunks.trusted_webhook(trunk, source, request);
        let origin = self.sources().origin_of(source, trunk);
        let Some(id) = self.legs.adopt(&mut self.ctx, leg, webhook, origin) else {
            return refusal::refuse(&mut self.ctx, now, tx, 503, "Service Unavailable");
        };
        self.legs.add_incoming(tx, id);
        if let Some(tag) = self.ctx.sip.tag_of(tx) {
            self.legs.add_dialog((request.common.call_id.clone(), tag.to_owned()), id);
        }
        self.legs.reschedule(id);
        if self.ctx.config.sip.auto_ringing && !takes_over {
            self.send_ringing(now, id, tx);
        }
        self.publish_ringing(now, id, request, caller);
        if (takes_over || test)
            && let Err(e) = self.answer(now, &name)
        {
            log::info!(leg = name, error:% = e; "the call that was to be answered at once cannot be");
        }
    }

    fn admits_call(&mut self, source: Target, standing: Standing) -> bool {
        let admits = self.sources().admits_call(source.addr.ip(), standing);
        self.ctx.counters.calls_over_share += u64::from(!admits);
        admits
    }

    fn publish_ringing(&mut self, now: Now, id: LegId, request: &Request, caller: Caller) {
        // Who has proved to be somebody is that, whatever From says.
        let proved = caller.user.filter(|_| caller.proved);
        let from = proved.clone().unwrap_or_else(|| request.common.from.uri.user());
        let Some(leg) = self.legs.get(id) else { return };
        let body = LegRinging {
            from: Some(from.into()),
            to: Some(request.common.to.uri.user().into()),
            authenticated: Some(proved.is_some()),
            auth_username: proved.map(Text::from),
            trunk_id: self.trunks.name_of(leg.trunk),
            replaces_leg_id: leg.replaces.as_ref().map(|p| self.legs.name_of(p.leg)),
            sip_headers: leg.sip_headers.iter().cloned().collect(),
            sip_headers_truncated: leg.sip_headers_truncated,
            bodies: other_bodies(request),
            ..LegRinging::of(Kind::SipInbound)
        };
        self.ctx.events.publish(now, id, EventBody::LegRinging(body));
    }

    /// `POST /legs/{id}/ring`: 180, where it is not sent by itself.
    ///
    /// # Errors
    /// Not inbound (400), not ringing (409).
    pub fn ring(&mut self, now: Now, name: &str) -> Result<(), GatewayError> {
        let (id, leg) = self.inbound(name)?;
        let Leg { phase: Phase::Ringing { tx, .. }, early: false, .. } = leg else {
            return Err(GatewayError::Conflict("the leg is not ringing".to_owned()));
        };
        let tx = *tx;
        self.send_ringing(now, id, tx);
        Ok(())
    }

    fn send_ringing(&mut self, now: Now, id: LegId, tx: ServerId) {
        let Some(mut draft) = self.ctx.sip.draft(tx, 180, "Ringing") else { return };
        refusal::add_contact(&self.ctx, &mut draft, tx);
        self.send_provisional(now, id, tx, 180, draft);
    }

    /// `POST /legs/{id}/early-media`: 183 with our answer, media at once.
    ///
    /// # Errors
    /// Not inbound (400), not ringing (409), no offer or codec or port (500).
    pub fn early_media(&mut self, now: Now, name: &str) -> Result<(), GatewayError> {
        let (id, leg) = self.inbound(name)?;
        let Phase::Ringing { tx, offer } = &leg.phase else {
            return Err(GatewayError::Conflict("the leg is not ringing".to_owned()));
        };
        if leg.early {
            return Err(GatewayError::Conflict("early media is on already".to_owned()));
        }
        let tx = *tx;
        let Some(offer) = offer.as_deref().cloned() else {
            return Err(GatewayError::Failed("the caller offered no media to send early".to_owned()));
        };
        let body = self.answer_offer(id, &offer).map_err(|e| GatewayError::Failed(e.to_string()))?;
        let Some(mut draft) = self.ctx.sip.draft(tx, 183, "Session Progress") else {
            return Err(GatewayError::Conflict("the leg is not ringing".to_owned()));
        };
        refusal::add_contact(&self.ctx, &mut draft, tx);
        draft.set_body("application/sdp", body.into_bytes());
        self.send_provisional(now, id, tx, 183, draft);
        if let Some(leg) = self.legs.get_mut(id) {
            leg.early = true;
        }
        self.open_media(id);
        self.ctx.events.publish(now, id, EventBody::LegEarlyMedia(LegState { leg_type: Kind::SipInbound }));
        Ok(())
    }

    /// `POST /legs/{id}/answer`. A leg that cannot be answered after all ends with the right response.
    ///
    /// # Errors
    /// Not inbound (400), answered already (409).
    pub fn answer(&mut self, now: Now, name: &str) -> Result<(), GatewayError> {
        let (id, leg) = self.inbound(name)?;
        let Phase::Ringing { tx, offer } = &leg.phase else {
            return Err(GatewayError::Conflict("the leg is not ringing or in early media".to_owned()));
        };
        let (tx, offer, early) = (*tx, offer.as_deref().cloned(), leg.early);
        if self.answer_waits(id) {
            return Ok(());
        }
        let body = match (&offer, early) {
            (Some(_), true) => Ok(self.repeat_answer(id)),
            (Some(offer), false) => self.answer_offer(id, offer),
            (None, _) => self.make_offer(id),
        };
        match body {
            Ok(body) => self.send_answer(now, id, tx, body, offer.is_none()),
            Err(SdpError::Malformed | SdpError::NoPort | SdpError::NotAnAnswer) => {
                refusal::refuse(&mut self.ctx, now, tx, 503, "Service Unavailable");
                self.end(now, id, "service_unavailable");
            }
            Err(e) => {
                refusal::refuse_sdp(&mut self.ctx, now, tx, &e);
                self.end(now, id, "not_acceptable");
            }
        }
        self.drain(now);
        Ok(())
    }

    fn send_answer(&mut self, now: Now, id: LegId, tx: ServerId, body: String, offerless: bool) {
        let Some(mut draft) = self.ctx.sip.draft(tx, 200, "OK") else { return };
        refusal::add_contact(&self.ctx, &mut draft, tx);
        draft.set_body("application/sdp", body.into_bytes());
        let (Some(request), Some(tag)) = (self.ctx.sip.request_of(tx), self.ctx.sip.tag_of(tx)) else {
            return;
        };
        let (cseq, headers) = (request.common.cseq, request.common.headers.clone());
        let Ok(mut dialog) = Dialog::uas(request, tag) else { return };
        dialog.pinned = self.legs.get(id).and_then(|l| l.flow).and_then(|flow| self.pin_to_phone(flow));
        self.grant_session(now, id, &headers, &mut draft);
        self.ctx.sip.respond(now.mono, tx, 200, &draft);
        self.legs.remove_incoming(tx);
        if let Some(leg) = self.legs.get_mut(id) {
            leg.phase = Phase::Answered { tx, dialog: Box::new(dialog) };
            leg.reliable.iter_mut().for_each(|r| r.stop());
            leg.answered = Some(now.mono);
            leg.ring_until = None;
            leg.offer_in_ack = offerless.then_some(cseq);
        }
        self.legs.reschedule(id);
        if !offerless {
            self.open_media(id);
            if let Some(leg) = self.legs.get(id) {
                leg.media.set_unproven(&mut self.ctx, true);
            }
        }
    }

    /// Our answer to an offer, from a port of ours; notes what is agreed.
    pub(super) fn answer_offer(&mut self, id: LegId, offer: &Description) -> Result<String, SdpError> {
        let stated = offer.address.filter(|ip| !ip.is_unspecified());
        let peer = stated.or_else(|| self.legs.get(id)?.flow.map(|f| f.addr.ip()));
        self.take_port(id, peer)?;
        let codecs = self.opus_places().codecs_of(id);
        let leg = self.legs.get_mut(id).ok_or(SdpError::Malformed)?;
        let local = leg.local.as_ref().ok_or(SdpError::NoPort)?;
        let fallback = leg.flow.map_or(local.address, |f| f.addr.ip());
        let (text, stream) = sdp::answer(offer, local, &codecs, Direction::SendRecv, fallback)?;
        leg.stream = Some(stream);
        leg.described.begin(&text);
        leg.local.iter_mut().for_each(|l| l.follow(offer));
        Ok(text)
    }

    /// Our last description again, for the 200: that of the 183, or of what PRACK or UPDATE have made of it.
    fn repeat_answer(&self, id: LegId) -> String {
        self.legs.get(id).map(|l| l.described.last().to_owned()).unwrap_or_default()
    }

    /// An offer of ours, for a 200 to an INVITE that had none.
    pub(super) fn make_offer(&mut self, id: LegId) -> Result<String, SdpError> {
        let peer = self.legs.get(id).and_then(|l| l.flow).map(|f| f.addr.ip());
        self.take_port(id, peer)?;
        let codecs = self.opus_places().codecs_of(id);
        if codecs.is_empty() {
            // All places of the only codec are taken.
            return Err(SdpError::NoPort);
        }
        let leg = self.legs.get_mut(id).ok_or(SdpError::Malformed)?;
        leg.codecs = codecs;
        let local = leg.local.as_mut().ok_or(SdpError::NoPort)?;
        let text = sdp::offer(local, &leg.codecs, Direction::SendRecv);
        leg.described.begin(&text);
        Ok(text)
    }

    /// Gives a leg sockets and a session description of its own, unless it has them.
    pub(super) fn take_port(&mut self, id: LegId, peer: Option<IpAddr>) -> Result<(), SdpError> {
        let session_id = self.ctx.rng.u64() >> 2;
        let srtp = self.srtp_of_leg(id);
        let leg = self.legs.get_mut(id).ok_or(SdpError::Malformed)?;
        if leg.local.is_some() {
            return Ok(());
        }
        let port = self.ctx.ports.take(peer).ok_or(SdpError::NoPort)?;
        let far_end = leg.flow.map(|f| f.addr.ip()).or(peer);
        let address = far_end.map_or(port.address, |ip| self.ctx.sip.locals().seen_by(port.address, ip));
        leg.local = Some(Local {
            session_id,
            frame: Frame::to_offer(srtp),
            srtp,
            keys: (srtp != Srtp::Off).then(|| Box::new(OurKeys::random(&mut self.ctx.rng))),
            ..Local::at(address, port.port)
        });
        leg.media.set_port(port);
        let flow = leg.flow;
        if let Some(flow) = flow {
            self.fit_to(id, flow);
        }
        Ok(())
    }

    /// How the media of a leg are encrypted.
    fn srtp_of_leg(&self, id: LegId) -> Srtp {
        let leg = self.legs.get(id);
        if leg.is_some_and(|l| self.self_tests.covers(&l.id)) {
            return Srtp::Required;
        }
        self.trunks.srtp_of(&self.ctx, leg.and_then(|l| l.trunk))
    }

    /// Where a leg of a test has its media, if it is not where others have it.
    fn home_of_leg(&self, id: LegId) -> Option<IpAddr> {
        let leg = self.legs.get(id).filter(|l| self.self_tests.covers(&l.id));
        leg.and_then(|_| bound_address(&self.ctx.config))
    }

    /// Fits a leg's description to the far end at `target`: the address that it sees, and keys only where they may be
    /// told.
    pub(super) fn fit_to(&mut self, id: LegId, target: Target) {
        let (srtp, home) = (self.srtp_of_leg(id), self.home_of_leg(id));
        let told = target.transport == Transport::Tls || self.ctx.config.sip.srtp_keys_in_clear;
        let locals = self.ctx.sip.locals();
        let Some(leg) = self.legs.get_mut(id) else { return };
        let (Some(local), Some(port)) = (leg.local.as_mut(), leg.media.port()) else { return };
        local.address = home.unwrap_or_else(|| locals.seen_by(port.address, target.addr.ip()));
        local.offers_keys = srtp == Srtp::Required || (srtp == Srtp::Optional && told);
    }

    /// Opens the media of a leg on its port, or updates it when it is open.
    pub(super) fn open_media(&mut self, id: LegId) {
        let ssrc = self.ctx.rng.u32();
        let beside = self.trunks.rtp_source_of(self.legs.get(id).and_then(|l| l.trunk));
        let Some(leg) = self.legs.get_mut(id) else { return };
        let Some(stream) = leg.stream else { return };
        let signalling = leg.flow.map(|f| f.addr.ip());
        // There are as many places as legs; one without port keeps none.
        if leg.media.update(&mut self.ctx, stream, signalling) || leg.media.port().is_none() {
            return;
        }
        let Some(slot) = self.legs.take_slot(id) else { return };
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.media.open(&mut self.ctx, slot, ssrc, FarEnd { stream, signalling, beside });
    }

    /// The caller gave up.
    pub(super) fn cancelled(&mut self, now: Now, tx: ServerId) {
        refusal::respond(&mut self.ctx, now, tx, 487, "Request Terminated");
        if let Some(id) = self.legs.of_incoming(tx) {
            self.end(now, id, "caller_cancel");
        }
    }

    fn inbound(&self, name: &str) -> Result<(LegId, &Leg), GatewayError> {
        let (id, leg) = self.legs.by_name(name)?;
        match leg.kind {
            Kind::SipInbound => Ok((id, leg)),
            Kind::SipOutbound => Err(GatewayError::Invalid("the leg is not an inbound SIP leg".to_owned())),
        }
    }
}

/// X- headers with their spelling, the last of each name; never those that name a webhook. And whether some are left out, as
/// there are too many or they are too long.
fn captured(request: &Request) -> (Vec<(String, String)>, bool) {
    let mut out: Vec<(String, String)> = Vec::new();
    let mut truncated = false;
    // As they stand in an event.
    let size = |(n, v): &(String, String)| {
        Value::from(n.as_str()).to_string().len() + Value::from(v.as_str()).to_string().len() + 2
    };
    for (name, value) in request.common.headers.iter() {
        let lower = name.to_ascii_lowercase();
        if !lower.starts_with("x-") || lower == "x-webhook-url" || lower == "x-webhook-secret" {
            continue;
        }
        out.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        let header = (name.to_owned(), value.to_owned());
        let taken: usize = out.iter().map(size).sum();
        if out.len() < MAX_X_HEADERS && taken + size(&header) <= MAX_X_BYTES {
            out.push(header);
        } else {
            truncated = true;
        }
    }
    (out, truncated)
}

/// Codecs by name, those built in, in the order given.
#[must_use]
pub fn codecs_by_name(names: &[String]) -> Vec<Codec> {
    let mut out = Vec::new();
    for codec in names.iter().filter_map(|n| Codec::by_name(n)) {
        if !out.contains(&codec) {
            out.push(codec);
        }
    }
    out
}
