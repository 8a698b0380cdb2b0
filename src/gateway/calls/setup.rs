//! Call setup: inbound INVITEs, and calls requested by the API or a transfer.

use super::calls::Calls;
use super::surroundings::Surroundings;
use super::x_headers::captured;
use crate::base::pool::Standing;
use crate::codec::Codec;
use crate::delivery::share::Origin;
use crate::gateway::admission::Sources;
use crate::gateway::context::Context;
use crate::gateway::events::{EventBody, LegRinging, Text};
use crate::gateway::interface::command::Originate;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::legs::Leg;
use crate::gateway::legs::leg_id::{Kind, LegId};
use crate::gateway::legs::leg_view::LegView;
use crate::gateway::registrar::Caller;
use crate::gateway::requests::{ClientAuth, without_headers};
use crate::gateway::self_test::bound_address;
use crate::gateway::sip_call::{Inviting, OutRequest, Peer, SipCall};
use crate::gateway::sip_messages::bodies::{offer_of, other_bodies, refusal_of_body};
use crate::gateway::sip_messages::expiry::{inbound_limit, outbound_limit};
use crate::gateway::sip_messages::offers::able_to_begin;
use crate::gateway::sip_messages::refusal;
use crate::gateway::transfers::{Predecessor, Referral};
use crate::gateway::trunks::{CallTerms, TrunkId};
use crate::sip::dialog::Dialog;
use crate::sip::flow::{Flow, next_hop};
use crate::sip::session_timer;
use crate::sip::transactions::ServerId;
use crate::wire::crypto::Srtp;
use crate::wire::{Request, Uri};

impl Calls {
    /// Handles an INVITE outside a dialog.
    pub fn handle_invite(
        &mut self,
        env: &mut Surroundings<'_>,
        tx: ServerId,
        request: &Request,
        source: Flow,
    ) {
        let now = env.now;
        if let Some((code, reason)) = refusal_of_body(request) {
            return refusal::refuse_body(env.ctx, now, tx, code, reason);
        }
        let Some(caller) = env.accounts.registrar_mut().caller_of(env.ctx, now, request, source) else {
            return refusal::refuse(env.ctx, now, tx, 403, "Forbidden: From is another user");
        };
        let trunk = env.accounts.trunks().sender_of(source, request);
        let test = self.self_tests.is_call(request);
        let terms = self.terms(env, trunk, test);
        let offer = match offer_of(request, &able_to_begin(env.ctx, terms.srtp)) {
            Ok(offer) => offer,
            Err(e) => return refusal::refuse_sdp(env.ctx, now, tx, &e),
        };
        let standing = Sources::new(env.ctx, env.accounts, &self.legs).standing(source);
        let admitted = !self.is_full(env.ctx) && self.admits_call(env, source, standing);
        if !admitted {
            return refusal::refuse(env.ctx, now, tx, 503, "Service Unavailable");
        }
        let reachable = |d: &Dialog| d.next_hop().sip().is_some_and(|u| next_hop(u).is_ok());
        if !Dialog::uas(request, "probe").is_ok_and(|d| reachable(&d)) {
            let why = "Bad Request: no usable Contact or Record-Route";
            return refusal::refuse(env.ctx, now, tx, 400, why);
        }
        if let Err(least) = session_timer::answer(&request.common.headers) {
            return refusal::refuse_short_session(env.ctx, now, tx, least);
        }
        let replaces = match self.replacements.wanted_by(request, &self.legs, env.rooms) {
            Ok(replaces) => replaces,
            Err((code, reason)) => return refusal::refuse(env.ctx, now, tx, code, reason),
        };
        let name = env.ctx.rng.uuid();
        if test {
            self.self_tests.add(name.clone());
        }
        let (sip_headers, truncated) = captured(request);
        let codecs = env.ctx.config.sip.codecs.clone();
        let until = now.mono + inbound_limit(env.ctx.config.sip.ring_timeout_s, request).0;
        let credentials = trunk.and_then(|t| env.accounts.trunks().credentials_of(t));
        let auth = credentials.map(|c| ClientAuth::for_server(c, source.addr.ip()));
        let webhook = env.accounts.trunks().trusted_webhook(trunk, source, request);
        let origin = Sources::new(env.ctx, env.accounts, &self.legs).origin_of(source, trunk);
        let make = |id| {
            let peer = Peer::caller(id, source, terms, auth, caller.user.clone());
            let call = SipCall::inbound(peer, tx, offer, codecs, until);
            Leg::new(name, call, now).with_caller(standing, sip_headers)
        };
        let Some(id) = self.legs.adopt(env.ctx, webhook, origin, make) else {
            return refusal::refuse(env.ctx, now, tx, 503, "Service Unavailable");
        };
        if let Some(tag) = env.ctx.sip.tag_of(tx) {
            self.legs.add_dialog((request.common.call_id.clone(), tag.to_owned()), id);
        }
        if env.ctx.config.sip.auto_ringing && replaces.is_none() {
            let rung = self.legs.with_call(env.ctx, id, |call, ctx| call.ring(ctx, now));
            debug_assert!(matches!(rung, Some(Ok(()))), "a call that has just come rings");
        }
        self.publish_ringing(env, id, request, caller, replaces.as_ref(), truncated);
        let at_once = replaces.is_some() || test;
        if let Some(place) = replaces {
            self.replacements.add(id, place);
        }
        if at_once && let Err(e) = self.answer(env, id) {
            log::info!(leg = self.legs.name_of(id), error:% = e; "the call that was to be answered at once cannot be");
        }
    }

    /// Call settings for this trunk; self-tests have their own.
    fn terms(&self, env: &Surroundings<'_>, trunk: Option<TrunkId>, test: bool) -> CallTerms {
        let terms = env.accounts.trunks().terms_of(env.ctx, trunk);
        if test {
            return CallTerms { srtp: Srtp::Required, home: bound_address(&env.ctx.config), ..terms };
        }
        terms
    }

    fn admits_call(&self, env: &mut Surroundings<'_>, source: Flow, standing: Standing) -> bool {
        let admits = Sources::new(env.ctx, env.accounts, &self.legs).admits_call(source.addr.ip(), standing);
        env.ctx.counters.signalling.calls_over_share += u64::from(!admits);
        admits
    }

    fn publish_ringing(
        &self,
        env: &mut Surroundings<'_>,
        id: LegId,
        request: &Request,
        caller: Caller,
        replaces: Option<&Predecessor>,
        sip_headers_truncated: bool,
    ) {
        // An authenticated user name takes precedence over From.
        let proved = caller.user.filter(|_| caller.proved);
        let from = proved.clone().unwrap_or_else(|| request.common.from.uri.user());
        let Some(leg) = self.legs.get(id) else { return };
        let body = LegRinging {
            from: Some(from.into()),
            to: Some(request.common.to.uri.user().into()),
            authenticated: Some(proved.is_some()),
            auth_username: proved.map(Text::from),
            trunk_id: env.accounts.trunks().name_of(leg.call().terms().trunk),
            replaces_leg_id: replaces.map(|p| self.legs.name_of(p.leg)),
            sip_headers: leg.sip_headers().iter().cloned().collect(),
            sip_headers_truncated,
            bodies: other_bodies(request),
            ..LegRinging::of(Kind::SipInbound)
        };
        env.ctx.events.publish(env.now, id, EventBody::LegRinging(body));
    }

    /// Places a call, possibly for a transfer.
    pub fn place(
        &mut self,
        env: &mut Surroundings<'_>,
        wanted: Originate,
        referral: Option<&Referral>,
    ) -> Result<(LegId, LegView), GatewayError> {
        let now = env.now;
        let codecs = self.may_place(env.ctx, &wanted)?;
        let phones = env.accounts.registrar().bindings_of(env.ctx, &wanted.uri);
        let pays = referral.is_none_or(Referral::may_use_accounts);
        let way =
            env.accounts.trunks().route_for(&wanted.from, &wanted.uri).filter(|_| phones.is_none() && pays);
        let trunk = way.as_ref().map(|w| w.trunk);
        let credentials = wanted.auth.or_else(|| trunk.and_then(|t| env.accounts.trunks().credentials_of(t)));
        let request = OutRequest {
            to: wanted.uri.clone(),
            target: without_headers(&wanted.uri),
            from: wanted.from.clone(),
            way: way.clone(),
            tag: env.ctx.rng.token(),
            call_id: env.ctx.rng.uuid(),
            privacy: wanted.privacy,
            session: env.ctx.config.sip.session_expires_s,
            headers: wanted.headers.clone(),
        };
        let key = (request.call_id.clone(), request.tag.clone());
        let cseq = env.ctx.rng.below(1 << 15);
        let name = env.ctx.rng.uuid();
        let test = self.self_tests.calls(&wanted.uri);
        if test {
            self.self_tests.add(name.clone());
        }
        let until = outbound_limit(wanted.ring_timeout, &wanted.headers).map(|limit| now.mono + limit);
        // A call placed for a transfer is attributed to the referrer.
        let origin = referral.and_then(|r| env.ctx.events.origin_of(r.referrer())).unwrap_or(Origin::Own);
        let terms = self.terms(env, trunk, test);
        let make = |id| {
            let peer = Peer::called(id, terms, credentials.map(ClientAuth::new));
            let inviting = Inviting::new(request, cseq, until);
            let call = SipCall::outbound(peer, inviting, codecs, wanted.max_duration);
            Leg::new(name, call, now).with_options(wanted.accept_dtmf, wanted.amd)
        };
        let Some(id) = self.legs.adopt(env.ctx, wanted.webhook, origin, make) else {
            return Err(all_legs_in_use(env.ctx));
        };
        self.legs.add_dialog(key, id);
        self.publish_calling(env, id, (&wanted.uri, &wanted.from), &wanted.headers);
        let shown = self.legs.get(id).map(|l| l.view(None)).ok_or(GatewayError::NO_LEG)?;
        self.legs.with_call(env.ctx, id, |call, ctx| match phones {
            Some(phones) => call.call_phones(ctx, now, &phones),
            None => call.call(ctx, way.as_ref().map_or(&wanted.uri, |w| &w.hop)),
        });
        Ok((id, shown))
    }

    /// Checks whether this call can be placed now; returns the codecs to offer.
    ///
    /// # Errors
    /// An unusable URI (400); no leg, port or Opus capacity left, or the gateway is stopping (503).
    pub fn may_place(&self, ctx: &Context, wanted: &Originate) -> Result<Vec<Codec>, GatewayError> {
        let invalid = |why: String| GatewayError::Invalid(format!("uri: {why}"));
        let uri = wanted.uri.sip().ok_or_else(|| invalid("only sip: URIs can be called".to_owned()))?;
        next_hop(uri).map_err(|e| invalid(e.to_string()))?;
        if ctx.stopping {
            return Err(GatewayError::Unavailable("the gateway is stopping".to_owned()));
        }
        if self.is_full(ctx) {
            return Err(all_legs_in_use(ctx));
        }
        if ctx.ports.is_empty() {
            let why = "no RTP port is free (rtp.port_min, rtp.port_max)";
            return Err(GatewayError::Unavailable(why.to_owned()));
        }
        ctx.opus.to_offer(&wanted.codecs)
    }

    fn publish_calling(
        &self,
        env: &mut Surroundings<'_>,
        id: LegId,
        (uri, from): (&Uri, &str),
        headers: &[(String, String)],
    ) {
        let shown = headers.iter().filter(|(n, _)| n != "Replaces" && n != "Referred-By");
        let body = LegRinging {
            uri: Some(uri.to_string().into()),
            trunk_id: env.accounts.trunks().name_of(self.legs.get(id).and_then(|l| l.call().terms().trunk)),
            from: Some(from).filter(|f| !f.is_empty()).map(Text::from),
            sip_headers: shown.cloned().collect(),
            ..LegRinging::of(Kind::SipOutbound)
        };
        env.ctx.events.publish(env.now, id, EventBody::LegRinging(body));
    }
}

fn all_legs_in_use(ctx: &Context) -> GatewayError {
    let max = ctx.config.limits.legs;
    GatewayError::Unavailable(format!("all {max} legs are in use (limits.legs)"))
}
