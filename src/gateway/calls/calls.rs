//! All calls: the legs, the transfers that far ends ask for, and messages on their way to the call that they belong to.

use std::time::Instant;

use super::surroundings::Surroundings;
use crate::base::time::Now;
use crate::gateway::amd;
use crate::gateway::context::Context;
use crate::gateway::error::GatewayError;
use crate::gateway::events::{Empty, EventBody};
use crate::gateway::leg_id::LegId;
use crate::gateway::legs::{Legs, Path};
use crate::gateway::member::Member;
use crate::gateway::refusal;
use crate::gateway::requests::{self, OutboundRequest, RequestContext, can_reach};
use crate::gateway::self_test::SelfTests;
use crate::gateway::sip_call::Handled;
use crate::gateway::transfers::{Referrals, Replacements};
use crate::media::command::MediaEvent;
use crate::sip::target::{ConnId, Target};
use crate::sip::transactions::{ClientId, Failure, ServerId};
use crate::wire::{Method, Request, Response};

/// All calls, at most `limits.legs`.
#[derive(Debug)]
pub struct Calls {
    pub(super) legs: Legs,
    pub(super) referrals: Referrals,
    pub(super) replacements: Replacements,
    pub(super) self_tests: SelfTests,
}

impl Calls {
    /// Place for `most` calls.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self {
            legs: Legs::new(most),
            referrals: Referrals::default(),
            replacements: Replacements::default(),
            self_tests: SelfTests::default(),
        }
    }

    /// The legs.
    #[must_use]
    pub fn legs(&self) -> &Legs {
        &self.legs
    }

    /// The same, to change them.
    pub fn legs_mut(&mut self) -> &mut Legs {
        &mut self.legs
    }

    /// The self-test that runs, and the last ones.
    #[must_use]
    pub fn self_tests(&self) -> &SelfTests {
        &self.self_tests
    }

    /// The same, to change them.
    pub fn self_tests_mut(&mut self) -> &mut SelfTests {
        &mut self.self_tests
    }

    /// True when no new leg can be taken: all places are in use (legs that are just ending included), or the gateway stops.
    #[must_use]
    pub fn is_full(&self, ctx: &Context) -> bool {
        ctx.stopping || self.legs.are_full_for(1)
    }

    /// A leg that has media, as rooms see it.
    #[must_use]
    pub fn member(&self, id: LegId) -> Option<Member> {
        let leg = self.legs.get(id)?;
        let (slot, rate) = (leg.media().slot()?, leg.media().rate());
        Some(Member { leg: id, name: leg.name().to_owned(), slot, rate })
    }

    /// Ends a leg from our side: CANCEL, a final response (`code`, 480 unless given), or BYE.
    pub fn hang_up(&mut self, ctx: &mut Context, now: Now, id: LegId, reason: &str, code: Option<u16>) {
        self.legs.with_call(ctx, id, |call, ctx| call.hang_up(ctx, now, reason, code));
    }

    /// Answers a call; its caller may be a phone of ours, reached along the way that it registered.
    ///
    /// # Errors
    /// As those of `SipCall::answer`.
    pub fn answer(&mut self, env: &mut Surroundings<'_>, id: LegId) -> Result<(), GatewayError> {
        let flow = self.legs.get(id).and_then(|l| l.call().flow());
        let pin = flow.and_then(|flow| env.accounts.registered_along(&flow));
        let answered = self.legs.with_call(env.ctx, id, |call, ctx| call.answer(ctx, env.now, pin));
        answered.unwrap_or(Err(GatewayError::NO_LEG))
    }

    /// A request with a To tag.
    pub fn handle_in_dialog(
        &mut self,
        env: &mut Surroundings<'_>,
        tx: ServerId,
        request: &Request,
        source: Target,
    ) {
        let now = env.now;
        let Some(id) = self.legs.of_request(request) else {
            if request.method == Method::Bye
                && let Some(invite) = env.ctx.requests.owes_bye_to(request)
            {
                // Both hang up at once: no BYE of ours is needed any more.
                env.ctx.sip.confirm(invite);
                env.ctx.requests.take_owed_bye(invite);
                return refusal::respond(env.ctx, now, tx, 200, "OK");
            }
            return refusal::respond(env.ctx, now, tx, 481, "Call/Transaction Does Not Exist");
        };
        let handled =
            self.legs.with_call(env.ctx, id, |call, ctx| call.handle_request(ctx, now, tx, request, source));
        match handled {
            Some(Handled::Refer) => self.referred(env, tx, id, request),
            Some(Handled::Subscribe) => {
                self.referrals.handle_subscribe(env.ctx, &mut self.legs, now, (tx, request), id)
            }
            Some(Handled::Done) | None => {}
        }
    }

    /// An ACK to a 2xx of ours.
    pub fn handle_ack(&mut self, ctx: &mut Context, now: Now, request: &Request) {
        if let Some(id) = self.legs.of_request(request) {
            self.legs.with_call(ctx, id, |call, ctx| call.handle_ack(ctx, now, request));
        } else if let Some(invite) = ctx.requests.owes_bye_to(request)
            && ctx.sip.cseq_of(invite) == Some(request.common.cseq)
        {
            // Its leg has ended: now the far end may get its BYE.
            ctx.sip.confirm(invite);
            requests::send_owed_bye(ctx, invite);
        }
    }

    /// No ACK came in 32 s.
    pub fn handle_ack_missing(&mut self, ctx: &mut Context, now: Now, tx: ServerId, why: Failure) {
        requests::send_owed_bye(ctx, tx);
        if let Some(id) = self.legs.of_unacknowledged(tx) {
            self.legs.with_call(ctx, id, |call, ctx| call.handle_ack_missing(ctx, now, tx, why));
        }
    }

    /// The caller gave up.
    pub fn handle_cancel(&mut self, ctx: &mut Context, now: Now, tx: ServerId) {
        let id = self.legs.of_incoming(tx);
        refusal::respond(ctx, now, tx, 487, "Request Terminated");
        if let Some(id) = id {
            self.legs.with_call(ctx, id, |call, ctx| call.handle_cancel(ctx, now));
        }
    }

    /// A response to a request of a call.
    pub fn handle_response(
        &mut self,
        ctx: &mut Context,
        now: Now,
        context: RequestContext,
        tx: ClientId,
        response: &Response,
    ) {
        match context {
            RequestContext::Invite(id)
            | RequestContext::Change(id)
            | RequestContext::Refer(id)
            | RequestContext::Info(id)
            | RequestContext::Prack(id) => {
                self.legs.with_call(ctx, id, |call, ctx| {
                    call.handle_response(ctx, now, context, tx, response);
                });
            }
            RequestContext::AbandonedInvite | RequestContext::AbandonedChange => {
                requests::handle_abandoned(ctx, tx, context, response);
            }
            RequestContext::Notify(id, notice) => {
                if response.code >= 200 {
                    ctx.requests.forget(tx);
                    let told = self.referrals.handle_notified(id, notice, Ok(response.code));
                    self.referrer_told(ctx, now, told);
                }
            }
            RequestContext::Register(_) => {}
        }
    }

    /// No response will come to a request of a call.
    pub fn handle_failure(
        &mut self,
        ctx: &mut Context,
        now: Now,
        context: RequestContext,
        tx: ClientId,
        failure: Failure,
    ) {
        match context {
            RequestContext::Invite(id)
            | RequestContext::Change(id)
            | RequestContext::Refer(id)
            | RequestContext::Info(id)
            | RequestContext::Prack(id) => {
                self.legs.with_call(ctx, id, |call, ctx| {
                    call.handle_failure(ctx, now, context, tx, failure);
                });
            }
            RequestContext::Notify(id, notice) => {
                let told = self.referrals.handle_notified(id, notice, Err(failure));
                self.referrer_told(ctx, now, told);
            }
            RequestContext::AbandonedInvite
            | RequestContext::AbandonedChange
            | RequestContext::Register(_) => {}
        }
    }

    /// Sends a request of a call to the best of the addresses that were found.
    pub fn transmit(
        &mut self,
        env: &mut Surroundings<'_>,
        request: OutboundRequest,
        mut targets: Vec<Target>,
    ) {
        let (now, first) = (env.now, targets.first().copied());
        let reachable = first.filter(|t| can_reach(env.ctx, *t));
        match request {
            OutboundRequest::Invite(id) => {
                // The call of a transfer that may cost nothing does not get to a trunk by another name of it.
                let barred = |t: &Target| env.accounts.trunks().has_server(t.addr.ip());
                let most = if self.referrals.may_use_accounts(id) {
                    targets.len()
                } else {
                    targets.iter().position(barred).unwrap_or(targets.len())
                };
                targets.truncate(most);
                let declined = first.is_some() && targets.is_empty();
                self.legs.with_call(env.ctx, id, |call, ctx| {
                    if declined { call.decline(ctx, now) } else { call.call_servers(ctx, now, targets) }
                });
            }
            OutboundRequest::Notify(id, notice, draft) => {
                let told = self.referrals.transmit(env.ctx, now, (id, notice, draft), first);
                self.referrer_told(env.ctx, now, told);
            }
            OutboundRequest::Ack(tx, tag, draft) => {
                if let Some(target) = reachable {
                    env.ctx.sip.ack(tx, &tag, &draft, target);
                }
            }
            OutboundRequest::Bye(draft, bye) => {
                if let Some(target) = reachable {
                    requests::transmit_bye(env.ctx, now, target, draft, bye);
                }
            }
            OutboundRequest::Change(id, ..)
            | OutboundRequest::Refer(id, _)
            | OutboundRequest::Info(id, _)
            | OutboundRequest::Subscribe(id, _)
            | OutboundRequest::Prack(id, _) => {
                self.legs.with_call(env.ctx, id, |call, ctx| call.transmit(ctx, now, request, first));
            }
            OutboundRequest::Register(_) | OutboundRequest::LookUp(_) => {}
        }
    }

    /// Takes what the media engine says of a leg while its media is open.
    pub fn handle_media(&mut self, env: &mut Surroundings<'_>, event: MediaEvent) {
        let now = env.now;
        match event {
            MediaEvent::Digit { slot, digit } => {
                if let Some(id) = self.legs.at(slot) {
                    self.digit_received(env, id, Path::Media, digit);
                }
            }
            MediaEvent::Silent { slot } => {
                if let Some(id) = self.legs.at(slot) {
                    self.hang_up(env.ctx, now, id, "rtp_timeout", None);
                }
            }
            MediaEvent::Speaking { slot, on } => {
                if let Some(id) = self.legs.at(slot) {
                    let started = EventBody::SpeakingStarted(Empty {});
                    let body = if on { started } else { EventBody::SpeakingStopped(Empty {}) };
                    env.ctx.events.publish_with_room(now, id, body);
                }
            }
            MediaEvent::Amd { slot, news } => {
                if let Some(id) = self.legs.at(slot) {
                    env.ctx.events.publish(now, id, amd::event_of(news));
                }
            }
            MediaEvent::Quality { slot, quality } => {
                if let Some(leg) = self.legs.at(slot).and_then(|id| self.legs.get_mut(id)) {
                    leg.media_mut().handle_quality(env.ctx, &quality);
                }
            }
            MediaEvent::Closed { .. } | MediaEvent::Played { .. } => {}
        }
    }

    /// A connection that is gone, and does not lead there again, must not stand for another server's, whose name its
    /// certificate has to carry.
    pub fn forget_connection(&mut self, ctx: &mut Context, gone: ConnId) {
        self.legs.forget_connection(ctx, gone);
    }

    /// The next leg whose time has come, until `None`.
    pub fn pop_due(&mut self, now: Instant) -> Option<LegId> {
        self.legs.pop_due(now)
    }

    /// Fires what is due of transfers, and forgets dialogs that ended long ago.
    pub fn handle_timeout(&mut self, ctx: &mut Context, now: Now) {
        self.referrals.handle_timeout(ctx, &mut self.legs, now);
        self.legs.forget_recent(now.mono);
    }

    /// When [`Self::pop_due`] or [`Self::handle_timeout`] have something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.legs.next_deadline(), self.referrals.poll_timeout()].into_iter().flatten().min()
    }

    /// True when nothing is left of any call.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.legs.is_idle() && self.referrals.is_idle() && self.replacements.is_empty()
    }
}
