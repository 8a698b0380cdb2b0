//! Outbound calls: originate, provisional and final responses, redirections, forks.

use std::net::{IpAddr, SocketAddr};

use super::bodies::answer_of;
use super::command::Originate;
use super::core::Gateway;
use super::early::EarlyDialogs;
use super::error::GatewayError;
use super::events::{EventBody, LegRinging, Text};
use super::expiry::outbound_limit;
use super::failover::Others;
use super::leg::{Inviting, Kind, Leg, LegId, Phase};
use super::leg_view::LegView;
use super::redirections::{Redirections, without_headers};
use super::referred::Referral;
use super::refusal;
use super::reliable::last_number;
use super::requests::{ClientAuth, RequestContext};
use super::trunks::{TrunkRoute, Trunks};
use crate::base::time::Now;
use crate::sdp::{self, Direction, Negotiated};
use crate::sip::dialog::Dialog;
use crate::sip::target::{Target, Transport, next_hop};
use crate::sip::transactions::ClientId;
use crate::wire::crypto::Srtp;
use crate::wire::headers::same;
use crate::wire::{Draft, Host, Method, NameAddr, Response, Uri};

/// Who calls, for those who may know (RFC 3325).
const ASSERTED: &str = "P-Asserted-Identity";

/// What every INVITE of an outbound leg has in common.
#[derive(Debug, Clone)]
pub struct OutRequest {
    /// Whom the API named.
    pub to: Uri,
    /// Where this attempt goes.
    pub target: Uri,
    /// From: a user, or a whole SIP URI; empty: our own name.
    pub from: String,
    /// The trunk it goes through, and how.
    pub way: Option<TrunkRoute>,
    /// Our tag.
    pub tag: String,
    /// Call-ID.
    pub call_id: String,
    /// `Privacy`, if not empty.
    pub privacy: String,
    /// Session interval to ask for, seconds; 0: none.
    pub session: u32,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

impl Gateway {
    /// `POST /legs`.
    ///
    /// # Errors
    /// No leg or port is left (503), a URI that cannot be called (400).
    pub fn originate(&mut self, now: Now, wanted: Originate) -> Result<LegView, GatewayError> {
        let placed = self.place(now, wanted, None);
        self.drain(now);
        placed
    }

    /// Places a call, perhaps one that a transfer asks for.
    pub(super) fn place(
        &mut self,
        now: Now,
        wanted: Originate,
        referral: Option<Referral>,
    ) -> Result<LegView, GatewayError> {
        let uri =
            wanted.uri.sip().ok_or(GatewayError::Invalid("uri: only sip: URIs can be called".to_owned()))?;
        next_hop(uri).map_err(|e| GatewayError::Invalid(format!("uri: {e}")))?;
        self.room_for_one_call()?;
        let codecs = self.opus_places().to_offer(&wanted.codecs)?;
        if !wanted.room_id.is_empty() {
            self.rooms.admits_one_more(&self.ctx, &wanted.room_id)?;
            self.rooms.create_missing(&mut self.ctx, now, &wanted.room_id)?;
        }
        let phones = self.registrar.bindings_of(&self.ctx, &wanted.uri);
        let pays = referral.as_ref().is_none_or(|r| r.may_use_accounts);
        let way = self.trunks.route_for(&wanted.from, &wanted.uri).filter(|_| phones.is_none() && pays);
        let trunk = way.as_ref().map(|w| w.trunk);
        let credentials = wanted.auth.or_else(|| trunk.and_then(|t| self.trunks.credentials_of(t)));
        let request = OutRequest {
            to: wanted.uri.clone(),
            target: without_headers(&wanted.uri),
            from: wanted.from.clone(),
            way: way.clone(),
            tag: self.ctx.rng.token(),
            call_id: self.ctx.rng.uuid(),
            privacy: wanted.privacy,
            session: self.ctx.config.sip.session_expires_s,
            headers: wanted.headers.clone(),
        };
        let key = (request.call_id.clone(), request.tag.clone());
        let cseq = self.ctx.rng.below(1 << 15);
        let (redirections, early) = (Redirections::of(&request.target), Vec::new());
        let others = Others::default();
        let inviting = Inviting {
            tx: None,
            branches: Vec::new(),
            pinned: false,
            redirections,
            lengthened: 0,
            others,
            request,
            cseq,
            early,
            dialogs: EarlyDialogs::default(),
        };
        let id = self.ctx.rng.uuid();
        if self.self_tests.calls(&wanted.uri) {
            self.self_tests.add(id.clone());
        }
        let ring = outbound_limit(wanted.ring_timeout, &wanted.headers);
        let origin = self.origin_of_transfer(referral.as_ref());
        let leg = Leg {
            codecs,
            amd: wanted.amd,
            referral,
            auth: credentials.map(|c| Box::new(ClientAuth::new(c))),
            trunk,
            accept_dtmf: wanted.accept_dtmf,
            ring_until: ring.map(|limit| now.mono + limit),
            max_duration: wanted.max_duration,
            ..Leg::new(id, Kind::SipOutbound, Phase::Inviting(Box::new(inviting)), now)
        };
        let Some(id) = self.legs.adopt(&mut self.ctx, leg, wanted.webhook, origin) else {
            return Err(self.all_legs_in_use());
        };
        if !wanted.room_id.is_empty() {
            self.rooms.join_later(id, wanted.room_id, None);
        }
        self.legs.add_dialog(key, id);
        self.legs.reschedule(id);
        self.publish_calling(now, id, &wanted.uri, &wanted.from, &wanted.headers);
        let shown = self.legs.get(id).map(|l| l.view(None)).ok_or(GatewayError::NO_LEG)?;
        match phones {
            Some(phones) => self.invite_phones(now, id, &phones),
            None => self.start_invite(id, way.as_ref().map_or(&wanted.uri, |w| &w.hop)),
        }
        Ok(shown)
    }

    /// Whether another call of ours can be placed.
    fn room_for_one_call(&self) -> Result<(), GatewayError> {
        if self.ctx.stopping {
            return Err(GatewayError::Unavailable("the gateway is stopping".to_owned()));
        }
        if self.is_full() {
            return Err(self.all_legs_in_use());
        }
        if self.ctx.ports.is_empty() {
            return Err(GatewayError::Unavailable(
                "no RTP port is free (rtp.port_min, rtp.port_max)".to_owned(),
            ));
        }
        Ok(())
    }

    fn all_legs_in_use(&self) -> GatewayError {
        let max = self.ctx.config.limits.legs;
        GatewayError::Unavailable(format!("all {max} legs are in use (limits.legs)"))
    }

    fn publish_calling(&mut self, now: Now, id: LegId, uri: &Uri, from: &str, headers: &[(String, String)]) {
        let shown = headers.iter().filter(|(n, _)| n != "Replaces" && n != "Referred-By");
        let body = LegRinging {
            uri: Some(uri.to_string().into()),
            trunk_id: self.trunks.name_of(self.legs.get(id).and_then(|l| l.trunk)),
            from: Some(from).filter(|f| !f.is_empty()).map(Text::from),
            sip_headers: shown.cloned().collect(),
            ..LegRinging::of(Kind::SipOutbound)
        };
        self.ctx.events.publish(now, id, EventBody::LegRinging(body));
    }

    /// Sends the INVITE of a leg to an address.
    pub(super) fn invite(&mut self, now: Now, id: LegId, target: Target) {
        if self.barred_from(now, id, |gateway| gateway.trunks.has_server(target.addr.ip())) {
            return;
        }
        if let Some(leg) = self.legs.get_mut(id) {
            leg.flow = Some(target);
        }
        if self.take_port(id, Some(target.addr.ip())).is_err() {
            return self.end(now, id, "invite_failed");
        }
        self.fit_to(id, target);
        let Some(leg) = self.legs.get_mut(id) else { return };
        let Phase::Inviting(inviting) = &mut leg.phase else { return };
        let pinned = inviting.pinned;
        inviting.cseq += 1;
        let (request, cseq) = (inviting.request.clone(), inviting.cseq);
        let Some(local) = &mut leg.local else { return };
        let body = sdp::offer(local, &leg.codecs, Direction::SendRecv);
        leg.described.begin(&body);
        let mut draft = self.invite_draft(&request, cseq, target, body);
        self.authorize(id, &Method::Invite, &mut draft, target);
        match self.ctx.sip.request(now.mono, &Method::Invite, draft, target) {
            Ok(tx) => {
                self.ctx.requests.sent(tx, RequestContext::Invite(id));
                if pinned {
                    self.ctx.requests.forks_mut().pin(tx);
                }
                if let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get_mut(id) {
                    inviting.tx = Some(tx);
                }
            }
            Err(_) => self.end(now, id, "invite_failed"),
        }
    }

    fn invite_draft(&self, r: &OutRequest, cseq: u32, target: Target, body: String) -> Draft {
        let host = self.ctx.sip.locals().for_peer(target.addr.ip()).unwrap_or(target.addr);
        let ours = host_and_port(host);
        let name = &self.ctx.config.sip.host;
        let mut draft = Draft::request(&Method::Invite, &r.target);
        if let Some(way) = r.way.as_ref().filter(|w| w.route) {
            Trunks::push_route(&mut draft, &way.hop);
        }
        draft.push("Max-Forwards", "70");
        let identity = r.identity(&ours);
        match &identity {
            Some(_) if r.hides_identity() => {
                draft.push("From", format!("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag={}", r.tag));
            }
            Some(uri) => draft.push("From", format!("<{uri}>;tag={}", r.tag)),
            None => draft.push("From", format!("\"{name}\" <sip:{name}@{ours}>;tag={}", r.tag)),
        }
        draft.push("To", NameAddr::new(without_headers(&r.to)).to_string());
        draft.push("Call-ID", r.call_id.as_str());
        draft.push("CSeq", format!("{cseq} INVITE"));
        let routed = r.way.as_ref().is_some_and(|w| w.route && w.hop.is_secure());
        draft.push("Contact", refusal::contact(&self.ctx, target, routed || r.target.is_secure()));
        draft.push("Allow", super::capabilities::ALLOW);
        draft.push("Supported", super::capabilities::SUPPORTED);
        let given = |name: &str| r.headers.iter().any(|(n, _)| same(n, name));
        let trusted = r.way.is_some() || !r.hides_identity();
        if !given("User-Agent") {
            draft.push("User-Agent", name.as_str());
        }
        // Nobody but a trunk is trusted with what is to be hidden (RFC 3325 §7).
        if let Some(uri) = identity.filter(|_| !given(ASSERTED) && trusted) {
            draft.push(ASSERTED, format!("<{uri}>"));
        }
        if !r.privacy.is_empty() {
            draft.push("Privacy", r.privacy.as_str());
        }
        if r.session > 0 {
            draft.push("Session-Expires", r.session.to_string());
            if r.session > self.ctx.config.sip.session_expires_s {
                // A 422 has told us so (RFC 4028 §7.3).
                draft.push("Min-SE", r.session.to_string());
            }
        }
        for (name, value) in r.headers.iter().filter(|(n, _)| trusted || !same(n, ASSERTED)) {
            draft.push(name.as_str(), value.as_str());
        }
        draft.set_body("application/sdp", body.into_bytes());
        draft
    }

    /// A response to the INVITE of a leg.
    pub(super) fn invite_response(&mut self, now: Now, tx: ClientId, id: LegId, response: &Response) {
        let calling = self.legs.get(id).is_some_and(|l| matches!(&l.phase, Phase::Inviting(i) if i.has(tx)));
        if calling {
            self.server_lives(id);
            if response.code != 199 {
                self.heard_from(id, tx);
            }
            self.note_early(id, tx, response);
        }
        match response.code {
            101..=199 if calling && !self.acknowledge_progress(id, response) => {}
            199 if calling => self.early_dialog_over(id, tx, response),
            100..=199 if calling => {
                self.referral_progressed(now, id, response.code, &response.reason);
                self.progress(now, id, tx, response);
            }
            200..=299 if calling => self.accepted(now, tx, id, response),
            // A copy of the answer that is in force: its ACK is on the way, or waits for an address.
            200..=299 if self.is_answer_of(id, response) => {}
            // A fork that was not the first to answer.
            200..=299 => self.end_fork(tx, response),
            401 | 407 | 422 | 488
                if calling && !self.is_forked(id) && self.may_try_again(id, tx, response) =>
            {
                self.ctx.requests.forget(tx);
                if let Some(flow) = self.legs.get(id).and_then(|l| l.flow) {
                    self.invite(now, id, flow);
                }
            }
            300..=699 if calling && self.others_ring(now, id, tx, Ok(response)) => {}
            503 if calling && self.try_next_server(now, id) => {}
            300..=399 if calling => self.redirected(now, tx, id, response),
            300..=699 if calling => {
                self.ctx.requests.forget(tx);
                self.end_refused(now, id, response);
            }
            _ => {}
        }
    }

    /// The way to whoever says something is the one that counts, where several phones ring.
    pub(super) fn heard_from(&mut self, id: LegId, tx: ClientId) {
        let target = self.ctx.sip.target_of(tx).filter(|_| self.is_forked(id));
        if let (Some(target), Some(leg)) = (target, self.legs.get_mut(id)) {
            leg.flow = Some(target);
            self.fit_to(id, target);
        }
    }

    fn is_forked(&self, id: LegId) -> bool {
        let phase = self.legs.get(id).map(|l| &l.phase);
        matches!(phase, Some(Phase::Inviting(i)) if !i.branches.is_empty())
    }

    fn end_refused(&mut self, now: Now, id: LegId, response: &Response) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        // What an earlier phone said may tell more.
        let said = leg.refusal.get_or_insert((response.code, response.reason.clone()));
        let reason = reason_of(said.0);
        self.end(now, id, &reason);
    }

    /// True when the same INVITE with more in it may succeed.
    fn may_try_again(&mut self, id: LegId, tx: ClientId, response: &Response) -> bool {
        match response.code {
            422 => self.session_too_short(id, response),
            488 => self.insist_on_encryption(id),
            _ => self.challenged(id, tx, response),
        }
    }

    /// 488 to keys beside a plain profile: some phones take them under the profile of encrypted media only.
    fn insist_on_encryption(&mut self, id: LegId) -> bool {
        let Some(local) = self.legs.get_mut(id).and_then(|l| l.local.as_mut()) else { return false };
        let may = local.offers_keys && local.frame.proto == "RTP/AVP" && local.srtp == Srtp::Optional;
        if may {
            local.frame.proto = "RTP/SAVP".to_owned();
        }
        may
    }

    fn is_answer_of(&self, id: LegId, response: &Response) -> bool {
        let dialog = self.legs.get(id).and_then(Leg::dialog);
        dialog.is_some_and(|d| d.remote.tag() == response.common.to.tag())
    }

    fn accepted(&mut self, now: Now, tx: ClientId, id: LegId, response: &Response) {
        let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get(id) else { return };
        let Ok(mut dialog) = Dialog::uac(response, &inviting.request.target) else {
            // A 2xx nobody can acknowledge: the far end ends it by its own timer.
            return self.end(now, id, "invite_failed");
        };
        dialog.local_seq = last_number(&inviting.early, &dialog);
        self.cancel_branches(now, id, tx);
        let flow = self.legs.get(id).and_then(|l| l.flow);
        dialog.pinned = self.pinned_to(id, flow);
        self.send_ack(tx, &dialog, response.common.cseq, flow);
        if let Err(reason) = self.take_answer(id, tx, response) {
            self.send_bye(&mut dialog, self.parting_of(id));
            return self.end(now, id, reason);
        }
        if let Some(leg) = self.legs.get_mut(id) {
            leg.phase = Phase::Up { dialog: Box::new(dialog) };
            leg.answered = Some(now.mono);
            leg.ring_until = None;
        }
        self.note_session(now.mono, id, response);
        self.open_media(id);
        self.connected(now, id);
        self.note_hold(now, id);
    }

    /// Notes what the answer in a 2xx agrees to, or the early one that it confirms; the reason to end the call when
    /// there is none. One that differs from the early one holds: proxies in the middle of a call make a new one.
    fn take_answer(&mut self, id: LegId, tx: ClientId, response: &Response) -> Result<(), &'static str> {
        let stream = self.answer_in(id, response)?.or_else(|| self.early_answer(id, tx, response));
        let leg = self.legs.get_mut(id).ok_or("invite_failed")?;
        leg.stream = Some(stream.ok_or("invite_failed")?);
        Ok(())
    }

    /// What the answer in a response agrees to; `None` when there is no session description in it.
    pub(super) fn answer_in(
        &self,
        id: LegId,
        response: &Response,
    ) -> Result<Option<Negotiated>, &'static str> {
        let Some(answer) = answer_of(&response.common).map_err(|_| "invite_failed")? else { return Ok(None) };
        let leg = self.legs.get(id).ok_or("invite_failed")?;
        let fallback = leg.flow.map_or(IpAddr::from([0, 0, 0, 0]), |f| f.addr.ip());
        let local = leg.local.as_ref().ok_or("invite_failed")?;
        sdp::accept(&answer, local, &leg.codecs, true, fallback).map(Some).map_err(|_| "connect_failed")
    }

    /// 3xx: the next target, if there is one that can be called and not too many were tried.
    fn redirected(&mut self, now: Now, tx: ClientId, id: LegId, response: &Response) {
        self.ctx.requests.forget(tx);
        let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get_mut(id) else { return };
        let Some(next) = inviting.redirections.next(response, |uri| Some(without_headers(uri))) else {
            if let Some(leg) = self.legs.get_mut(id) {
                leg.refusal.get_or_insert((response.code, response.reason.clone()));
            }
            return self.end(now, id, "invite_failed");
        };
        (inviting.tx, inviting.pinned, inviting.others) = (None, false, Others::default());
        inviting.request.target = next.clone();
        // Whoever is called now need not be the user whose phone said so.
        self.legs.get_mut(id).into_iter().for_each(|l| l.user = None);
        if let Some(leg) = self.legs.get_mut(id).filter(|l| !l.early) {
            // Whoever is called next may see us under another address.
            leg.local = None;
            leg.media.release_port(&mut self.ctx);
        }
        if let Some(phones) = self.registrar.bindings_of(&self.ctx, &next) {
            return self.invite_phones(now, id, &phones);
        }
        if self.barred_from(now, id, |gateway| gateway.is_served_by_trunk(&next)) {
            return;
        }
        let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get(id) else { return };
        let hop = inviting.request.way.as_ref().filter(|w| w.route).map_or(next, |w| w.hop.clone());
        self.start_invite(id, &hop);
    }
}

/// The disconnect reason of a final response to our INVITE.
#[must_use]
pub fn reason_of(code: u16) -> String {
    let word = match code {
        486 => "busy",
        480 => "unavailable",
        404 => "not_found",
        403 => "forbidden",
        401 | 407 => "unauthorized",
        408 => "timeout",
        487 => "cancelled",
        488 => "not_acceptable",
        503 => "service_unavailable",
        603 => "declined",
        300..=399 => "invite_failed",
        other => return format!("sip_{other}"),
    };
    word.to_owned()
}

/// An address and port as they stand in a `sip:` URI, which means 5060 where it names none.
fn host_and_port(addr: SocketAddr) -> String {
    if addr.port() == Transport::Udp.default_port() {
        Host::Ip(addr.ip()).to_string()
    } else {
        addr.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_codes_become_reasons() {
        let got: Vec<String> = [486, 480, 407, 302, 500, 603].into_iter().map(reason_of).collect();
        assert_eq!(got, ["busy", "unavailable", "unauthorized", "invite_failed", "sip_500", "declined"]);
    }
}
