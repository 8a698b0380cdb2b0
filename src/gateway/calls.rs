//! Calls as they begin: INVITEs to us, calls that the API or a transfer asks for; and messages on their way to the call that
//! they belong to.

use serde_json::Value;

use super::bodies::{offer_of, other_bodies, refusal_of_body};
use super::capabilities::SUPPORTED;
use super::command::Originate;
use super::core::Gateway;
use super::error::GatewayError;
use super::events::{EventBody, LegRinging, Text};
use super::expiry::{inbound_limit, outbound_limit};
use super::leg_id::{Kind, LegId};
use super::leg_view::LegView;
use super::legs::Leg;
use super::offers::able_to_begin;
use super::refusal;
use super::registrar::Caller;
use super::requests::{self, ClientAuth, OutboundRequest, RequestContext, without_headers};
use super::self_test::bound_address;
use super::sip_call::{Handled, Inviting, OutRequest, Peer, SipCall};
use super::transfers::{Predecessor, Referral};
use super::trunks::{CallTerms, TrunkId};
use crate::base::pool::Standing;
use crate::base::time::Now;
use crate::deliver::share::Origin;
use crate::sip::dialog::Dialog;
use crate::sip::session_timer;
use crate::sip::target::{Target, next_hop};
use crate::sip::transactions::{ClientId, Failure, ServerId};
use crate::wire::crypto::Srtp;
use crate::wire::{Method, Request, Response, Uri};

/// Most X- headers of one INVITE that are kept.
const MAX_X_HEADERS: usize = 32;
/// Bytes of them that are kept: they go into an event, of which many may have to wait.
const MAX_X_BYTES: usize = 8192;

impl Gateway {
    /// A new request.
    pub(super) fn request(&mut self, now: Now, tx: ServerId, request: &Request, source: Target) {
        if matches!(request.uri, Uri::Other(_)) {
            return refusal::refuse(&mut self.ctx, now, tx, 416, "Unsupported URI Scheme");
        }
        let known = |option: &&str| SUPPORTED.split(", ").any(|s| s.eq_ignore_ascii_case(option));
        let needed: Vec<&str> = request.common.headers.tokens("Require").filter(|o| !known(o)).collect();
        if !needed.is_empty() {
            return refusal::bad_extension(&mut self.ctx, now, tx, &needed.join(", "));
        }
        if request.common.to.tag().is_some() {
            return self.in_dialog(now, tx, request, source);
        }
        match &request.method {
            Method::Invite => match refusal_of_body(request) {
                Some((code, reason)) => refusal::refuse_body(&mut self.ctx, now, tx, code, reason),
                None => self.invited(now, tx, request, source),
            },
            Method::Options if self.is_stopping() => {
                refusal::refuse(&mut self.ctx, now, tx, 503, "Service Unavailable")
            }
            Method::Options => refusal::answer_options(&mut self.ctx, now, tx),
            Method::Bye | Method::Info | Method::Update | Method::Prack | Method::Notify => {
                refusal::respond(&mut self.ctx, now, tx, 481, "Call/Transaction Does Not Exist");
            }
            Method::Register => self.registrar.handle_register(&mut self.ctx, now, tx, request, source),
            Method::Refer | Method::Subscribe | Method::Message | Method::Publish => {
                refusal::not_allowed(&mut self.ctx, now, tx, 405, "Method Not Allowed");
            }
            Method::Ack | Method::Cancel => {}
            Method::Other(_) => refusal::not_allowed(&mut self.ctx, now, tx, 501, "Not Implemented"),
        }
    }

    /// A request with a To tag.
    fn in_dialog(&mut self, now: Now, tx: ServerId, request: &Request, source: Target) {
        let Some(id) = self.legs.of_request(request) else {
            if request.method == Method::Bye
                && let Some(invite) = self.ctx.requests.owes_bye_to(request)
            {
                // Both hang up at once: no BYE of ours is needed any more.
                self.ctx.sip.confirm(invite);
                self.ctx.requests.take_owed_bye(invite);
                return refusal::respond(&mut self.ctx, now, tx, 200, "OK");
            }
            return refusal::respond(&mut self.ctx, now, tx, 481, "Call/Transaction Does Not Exist");
        };
        let handled = self
            .legs
            .with_call(&mut self.ctx, id, |call, ctx| call.handle_request(ctx, now, tx, request, source));
        match handled {
            Some(Handled::Refer) => self.referred(now, tx, id, request),
            Some(Handled::Subscribe) => {
                self.referrals.handle_subscribe(&mut self.ctx, &mut self.legs, now, (tx, request), id)
            }
            Some(Handled::Done) | None => {}
        }
    }

    /// An ACK to a 2xx of ours.
    pub(super) fn ack_received(&mut self, now: Now, request: &Request) {
        if let Some(id) = self.legs.of_request(request) {
            self.legs.with_call(&mut self.ctx, id, |call, ctx| call.handle_ack(ctx, now, request));
        } else if let Some(invite) = self.ctx.requests.owes_bye_to(request)
            && self.ctx.sip.cseq_of(invite) == Some(request.common.cseq)
        {
            // Its leg has ended: now the far end may get its BYE.
            self.ctx.sip.confirm(invite);
            requests::send_owed_bye(&mut self.ctx, invite);
        }
    }

    /// No ACK came in 32 s.
    pub(super) fn ack_missing(&mut self, now: Now, tx: ServerId, why: Failure) {
        requests::send_owed_bye(&mut self.ctx, tx);
        if let Some(id) = self.legs.of_unacknowledged(tx) {
            self.legs.with_call(&mut self.ctx, id, |call, ctx| call.handle_ack_missing(ctx, now, tx, why));
        }
    }

    /// The caller gave up.
    pub(super) fn cancelled(&mut self, now: Now, tx: ServerId) {
        let id = self.legs.of_incoming(tx);
        refusal::respond(&mut self.ctx, now, tx, 487, "Request Terminated");
        if let Some(id) = id {
            self.legs.with_call(&mut self.ctx, id, |call, ctx| call.handle_cancel(ctx, now));
        }
    }

    /// A response to a request of ours that somebody waits for.
    pub(super) fn response(&mut self, now: Now, tx: ClientId, response: &Response) {
        requests::bye_answered(&mut self.ctx, tx, response);
        let Some(context) = self.ctx.requests.context_of(tx) else { return };
        match context {
            RequestContext::Invite(id)
            | RequestContext::Change(id)
            | RequestContext::Refer(id)
            | RequestContext::Info(id)
            | RequestContext::Prack(id) => {
                self.legs.with_call(&mut self.ctx, id, |call, ctx| {
                    call.handle_response(ctx, now, context, tx, response);
                });
            }
            RequestContext::AbandonedInvite | RequestContext::AbandonedChange => {
                requests::handle_abandoned(&mut self.ctx, tx, context, response);
            }
            RequestContext::Register(id) => {
                if response.code >= 200 {
                    self.ctx.requests.forget(tx);
                }
                self.trunks.register_answered(&mut self.ctx, now, id, tx, Some(response));
            }
            RequestContext::Notify(id, notice) => {
                if response.code >= 200 {
                    self.ctx.requests.forget(tx);
                    let told = self.referrals.handle_notified(id, notice, Ok(response.code));
                    self.referrer_told(now, told);
                }
            }
        }
    }

    /// No response will come to a request of ours.
    pub(super) fn request_failed(&mut self, now: Now, tx: ClientId, failure: Failure) {
        self.ctx.requests.take_bye(tx);
        match self.ctx.requests.forget(tx) {
            Some(
                context @ (RequestContext::Invite(id)
                | RequestContext::Change(id)
                | RequestContext::Refer(id)
                | RequestContext::Info(id)
                | RequestContext::Prack(id)),
            ) => {
                self.legs.with_call(&mut self.ctx, id, |call, ctx| {
                    call.handle_failure(ctx, now, context, tx, failure);
                });
            }
            Some(RequestContext::Register(id)) => {
                self.trunks.register_answered(&mut self.ctx, now, id, tx, None)
            }
            Some(RequestContext::Notify(id, notice)) => {
                let told = self.referrals.handle_notified(id, notice, Err(failure));
                self.referrer_told(now, told);
            }
            Some(RequestContext::AbandonedInvite | RequestContext::AbandonedChange) | None => {}
        }
    }

    /// Sends a request to the best of the addresses that were found.
    pub(super) fn transmit(&mut self, now: Now, request: OutboundRequest, mut targets: Vec<Target>) {
        let first = targets.first().copied();
        match request {
            OutboundRequest::Register(id) => self.trunks.register_at(&mut self.ctx, now, id, targets),
            OutboundRequest::LookUp(id) => self.trunks.note_addresses(now, id, &targets),
            OutboundRequest::Invite(id) => {
                // The call of a transfer that may cost nothing does not get to a trunk by another name of it.
                let barred = |t: &Target| self.trunks.has_server(t.addr.ip());
                let most = if self.referrals.may_use_accounts(id) {
                    targets.len()
                } else {
                    targets.iter().position(barred).unwrap_or(targets.len())
                };
                targets.truncate(most);
                let declined = first.is_some() && targets.is_empty();
                self.legs.with_call(&mut self.ctx, id, |call, ctx| {
                    if declined { call.decline(ctx, now) } else { call.call_servers(ctx, now, targets) }
                });
            }
            OutboundRequest::Notify(id, notice, draft) => {
                let told = self.referrals.transmit(&mut self.ctx, now, (id, notice, draft), first);
                self.referrer_told(now, told);
            }
            OutboundRequest::Ack(tx, tag, draft) => {
                if let Some(target) = first.filter(|t| requests::can_reach(&self.ctx, *t)) {
                    self.ctx.sip.ack(tx, &tag, &draft, target);
                }
            }
            OutboundRequest::Bye(draft, bye) => {
                if let Some(target) = first.filter(|t| requests::can_reach(&self.ctx, *t)) {
                    requests::transmit_bye(&mut self.ctx, now, target, draft, bye);
                }
            }
            OutboundRequest::Change(id, ..)
            | OutboundRequest::Refer(id, _)
            | OutboundRequest::Info(id, _)
            | OutboundRequest::Subscribe(id, _)
            | OutboundRequest::Prack(id, _) => {
                self.legs.with_call(&mut self.ctx, id, |call, ctx| call.transmit(ctx, now, request, first));
            }
        }
    }

    /// An INVITE outside any dialog.
    fn invited(&mut self, now: Now, tx: ServerId, request: &Request, source: Target) {
        let Some(caller) = self.registrar.caller_of(&mut self.ctx, now, request, source) else {
            return refusal::refuse(&mut self.ctx, now, tx, 403, "Forbidden: From is another user");
        };
        let trunk = self.trunks.sender_of(source, request);
        let test = self.self_tests.is_call(request);
        let terms = self.terms(trunk, test);
        let offer = match offer_of(request, &able_to_begin(&self.ctx, terms.srtp)) {
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
            let why = "Bad Request: no usable Contact or Record-Route";
            return refusal::refuse(&mut self.ctx, now, tx, 400, why);
        }
        if let Err(least) = session_timer::answer(&request.common.headers) {
            return refusal::refuse_short_session(&mut self.ctx, now, tx, least);
        }
        let replaces = match self.replacements.wanted_by(request, &self.legs, &self.rooms) {
            Ok(replaces) => replaces,
            Err((code, reason)) => return refusal::refuse(&mut self.ctx, now, tx, code, reason),
        };
        let name = self.ctx.rng.uuid();
        if test {
            self.self_tests.add(name.clone());
        }
        let (sip_headers, truncated) = captured(request);
        let codecs = self.ctx.config.sip.codecs.clone();
        let until = now.mono + inbound_limit(self.ctx.config.sip.ring_timeout_s, request).0;
        let credentials = trunk.and_then(|t| self.trunks.credentials_of(t));
        let auth = credentials.map(|c| ClientAuth::for_server(c, source.addr.ip()));
        let webhook = self.trunks.trusted_webhook(trunk, source, request);
        let origin = self.sources().origin_of(source, trunk);
        let make = |id| {
            let peer = Peer::caller(id, source, terms, auth, caller.user.clone());
            let call = SipCall::inbound(peer, tx, offer, codecs, until);
            Leg::new(name, call, now).with_caller(standing, sip_headers)
        };
        let Some(id) = self.legs.adopt(&mut self.ctx, webhook, origin, make) else {
            return refusal::refuse(&mut self.ctx, now, tx, 503, "Service Unavailable");
        };
        if let Some(tag) = self.ctx.sip.tag_of(tx) {
            self.legs.add_dialog((request.common.call_id.clone(), tag.to_owned()), id);
        }
        if self.ctx.config.sip.auto_ringing && replaces.is_none() {
            let rung = self.legs.with_call(&mut self.ctx, id, |call, ctx| call.ring(ctx, now));
            debug_assert!(matches!(rung, Some(Ok(()))), "a call that has just come rings");
        }
        self.publish_ringing(now, id, request, caller, replaces.as_ref(), truncated);
        let at_once = replaces.is_some() || test;
        if let Some(place) = replaces {
            self.replacements.add(id, place);
        }
        if at_once && let Err(e) = self.answer_call(now, id) {
            log::info!(leg = self.legs.name_of(id), error:% = e; "the call that was to be answered at once cannot be");
        }
    }

    /// The terms of a call through this trunk; those of a self-test are its own.
    fn terms(&self, trunk: Option<TrunkId>, test: bool) -> CallTerms {
        let terms = self.trunks.terms_of(&self.ctx, trunk);
        if test {
            return CallTerms { srtp: Srtp::Required, home: bound_address(&self.ctx.config), ..terms };
        }
        terms
    }

    fn admits_call(&mut self, source: Target, standing: Standing) -> bool {
        let admits = self.sources().admits_call(source.addr.ip(), standing);
        self.ctx.counters.calls_over_share += u64::from(!admits);
        admits
    }

    fn publish_ringing(
        &mut self,
        now: Now,
        id: LegId,
        request: &Request,
        caller: Caller,
        replaces: Option<&Predecessor>,
        sip_headers_truncated: bool,
    ) {
        // Who has proved to be somebody is that, whatever From says.
        let proved = caller.user.filter(|_| caller.proved);
        let from = proved.clone().unwrap_or_else(|| request.common.from.uri.user());
        let Some(leg) = self.legs.get(id) else { return };
        let body = LegRinging {
            from: Some(from.into()),
            to: Some(request.common.to.uri.user().into()),
            authenticated: Some(proved.is_some()),
            auth_username: proved.map(Text::from),
            trunk_id: self.trunks.name_of(leg.call().terms().trunk),
            replaces_leg_id: replaces.map(|p| self.legs.name_of(p.leg)),
            sip_headers: leg.sip_headers().iter().cloned().collect(),
            sip_headers_truncated,
            bodies: other_bodies(request),
            ..LegRinging::of(Kind::SipInbound)
        };
        self.ctx.events.publish(now, id, EventBody::LegRinging(body));
    }

    /// Answers a call; its caller may be a phone of ours, reached along the way that it registered.
    pub(super) fn answer_call(&mut self, now: Now, id: LegId) -> Result<(), GatewayError> {
        let flow = self.legs.get(id).and_then(|l| l.call().flow());
        let pin = flow.filter(|flow| {
            self.registrar.has_along(|f: &Target| (f.transport, f.addr) == (flow.transport, flow.addr))
        });
        let pin = pin.and_then(Target::uri);
        let answered = self.legs.with_call(&mut self.ctx, id, |call, ctx| call.answer(ctx, now, pin));
        answered.unwrap_or(Err(GatewayError::NO_LEG))
    }

    /// Places a call, perhaps one that a transfer asks for.
    pub(super) fn place(
        &mut self,
        now: Now,
        wanted: Originate,
        referral: Option<&Referral>,
    ) -> Result<LegView, GatewayError> {
        let uri =
            wanted.uri.sip().ok_or(GatewayError::Invalid("uri: only sip: URIs can be called".to_owned()))?;
        next_hop(uri).map_err(|e| GatewayError::Invalid(format!("uri: {e}")))?;
        self.room_for_one_call()?;
        let codecs = self.ctx.opus.to_offer(&wanted.codecs)?;
        if !wanted.room_id.is_empty() {
            self.rooms.admits_one_more(&self.ctx, &wanted.room_id)?;
            self.rooms.create_missing(&mut self.ctx, now, &wanted.room_id)?;
        }
        let phones = self.registrar.bindings_of(&self.ctx, &wanted.uri);
        let pays = referral.is_none_or(Referral::may_use_accounts);
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
        let name = self.ctx.rng.uuid();
        let test = self.self_tests.calls(&wanted.uri);
        if test {
            self.self_tests.add(name.clone());
        }
        let until = outbound_limit(wanted.ring_timeout, &wanted.headers).map(|limit| now.mono + limit);
        // Whose doing a call of ours is: who asks for a transfer asks for its call, too.
        let origin = referral.and_then(|r| self.ctx.events.origin_of(r.referrer())).unwrap_or(Origin::Own);
        let terms = self.terms(trunk, test);
        let make = |id| {
            let peer = Peer::called(id, terms, credentials.map(ClientAuth::new));
            let inviting = Inviting::new(request, cseq, until);
            let call = SipCall::outbound(peer, inviting, codecs, wanted.max_duration);
            Leg::new(name, call, now).with_options(wanted.accept_dtmf, wanted.amd)
        };
        let Some(id) = self.legs.adopt(&mut self.ctx, wanted.webhook, origin, make) else {
            return Err(self.all_legs_in_use());
        };
        if !wanted.room_id.is_empty() {
            self.rooms.join_later(id, wanted.room_id, None);
        }
        self.legs.add_dialog(key, id);
        self.publish_calling(now, id, &wanted.uri, &wanted.from, &wanted.headers);
        let shown = self.legs.get(id).map(|l| l.view(None)).ok_or(GatewayError::NO_LEG)?;
        self.legs.with_call(&mut self.ctx, id, |call, ctx| match phones {
            Some(phones) => call.call_phones(ctx, now, &phones),
            None => call.call(ctx, way.as_ref().map_or(&wanted.uri, |w| &w.hop)),
        });
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
            trunk_id: self.trunks.name_of(self.legs.get(id).and_then(|l| l.call().terms().trunk)),
            from: Some(from).filter(|f| !f.is_empty()).map(Text::from),
            sip_headers: shown.cloned().collect(),
            ..LegRinging::of(Kind::SipOutbound)
        };
        self.ctx.events.publish(now, id, EventBody::LegRinging(body));
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
