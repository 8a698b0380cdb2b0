//! All calls: legs, transfers requested by far ends, and dispatch of messages to calls.

use std::time::Instant;

use super::surroundings::Surroundings;
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::events::{Empty, EventBody};
use crate::gateway::interface::error::GatewayError;
use crate::gateway::legs::amd;
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::legs::member::Member;
use crate::gateway::legs::{Legs, Path};
use crate::gateway::requests::{self, OutboundRequest, RequestContext, can_reach};
use crate::gateway::self_test::SelfTests;
use crate::gateway::sip_call::Handled;
use crate::gateway::sip_messages::refusal;
use crate::gateway::transfers::{Referrals, Replacements};
use crate::media::command::MediaEvent;
use crate::sip::flow::{ConnId, Flow};
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
    /// Capacity for `most` calls.
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

    /// The legs, mutable.
    pub fn legs_mut(&mut self) -> &mut Legs {
        &mut self.legs
    }

    /// The running self-test, and recent ones.
    #[must_use]
    pub fn self_tests(&self) -> &SelfTests {
        &self.self_tests
    }

    /// The self-tests, mutable.
    pub fn self_tests_mut(&mut self) -> &mut SelfTests {
        &mut self.self_tests
    }

    /// True if no new leg can be accepted: all are in use (including legs that are ending), or the gateway is
    /// stopping.
    #[must_use]
    pub fn is_full(&self, ctx: &Context) -> bool {
        ctx.stopping || self.legs.are_full_for(1)
    }

    /// A leg with media as a room member.
    #[must_use]
    pub fn member(&self, id: LegId) -> Option<Member> {
        let leg = self.legs.get(id)?;
        let (slot, rate) = (leg.media().slot()?, leg.media().rate());
        Some(Member { leg: id, name: leg.name().to_owned(), slot, rate })
    }

    /// Ends a leg from our side: CANCEL, a final response (`code`, default 480), or BYE.
    pub fn hang_up(&mut self, ctx: &mut Context, now: Now, id: LegId, reason: &str, code: Option<u16>) {
        self.legs.with_call(ctx, id, |call, ctx| call.hang_up(ctx, now, reason, code));
    }

    /// Answers a call; a caller that is one of our phones is reached over its registered flow.
    ///
    /// # Errors
    /// As those of `SipCall::answer`.
    pub fn answer(&mut self, env: &mut Surroundings<'_>, id: LegId) -> Result<(), GatewayError> {
        let flow = self.legs.get(id).and_then(|l| l.call().flow());
        let pin = flow.and_then(|flow| env.accounts.registered_along(&flow));
        let answered = self.legs.with_call(env.ctx, id, |call, ctx| call.answer(ctx, env.now, pin));
        answered.unwrap_or(Err(GatewayError::NO_LEG))
    }

    /// Handles an in-dialog request.
    pub fn handle_in_dialog(
        &mut self,
        env: &mut Surroundings<'_>,
        tx: ServerId,
        request: &Request,
        source: Flow,
    ) {
        let now = env.now;
        let Some(id) = self.legs.of_request(request) else {
            if request.method == Method::Bye
                && let Some(invite) = env.ctx.requests.owes_bye_to(request)
            {
                // Both sides hang up at once: our BYE is no longer needed.
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

    /// Handles an ACK to one of our 2xx responses.
    pub fn handle_ack(&mut self, ctx: &mut Context, now: Now, request: &Request) {
        if let Some(id) = self.legs.of_request(request) {
            self.legs.with_call(ctx, id, |call, ctx| call.handle_ack(ctx, now, request));
        } else if let Some(invite) = ctx.requests.owes_bye_to(request)
            && ctx.sip.cseq_of(invite) == Some(request.common.cseq)
        {
            // Its leg has ended: now the BYE may be sent.
            ctx.sip.confirm(invite);
            requests::send_owed_bye(ctx, invite);
        }
    }

    /// No ACK was received within 32 s.
    pub fn handle_ack_missing(&mut self, ctx: &mut Context, now: Now, tx: ServerId, why: Failure) {
        requests::send_owed_bye(ctx, tx);
        if let Some(id) = self.legs.of_unacknowledged(tx) {
            self.legs.with_call(ctx, id, |call, ctx| call.handle_ack_missing(ctx, now, tx, why));
        }
    }

    /// The caller cancelled.
    pub fn handle_cancel(&mut self, ctx: &mut Context, now: Now, tx: ServerId) {
        let id = self.legs.of_incoming(tx);
        refusal::respond(ctx, now, tx, 487, "Request Terminated");
        if let Some(id) = id {
            self.legs.with_call(ctx, id, |call, ctx| call.handle_cancel(ctx, now));
        }
    }

    /// Handles a response to a request of a call.
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

    /// A request of a call failed without a final response.
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

    /// Sends a request of a call to the best located target.
    pub fn transmit(&mut self, env: &mut Surroundings<'_>, request: OutboundRequest, mut targets: Vec<Flow>) {
        let (now, first) = (env.now, targets.first().copied());
        let reachable = first.filter(|t| can_reach(env.ctx, *t));
        match request {
            OutboundRequest::Invite(id) => {
                // A transfer without permission to use accounts must not reach a trunk under another name.
                let barred = |t: &Flow| env.accounts.trunks().has_server(t.addr.ip());
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

    /// Handles an event of the media engine for a leg with open media.
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

    /// A connection was closed: its id must not be matched with a connection to another server, whose
    /// certificate carries another name.
    pub fn forget_connection(&mut self, ctx: &mut Context, gone: ConnId) {
        self.legs.forget_connection(ctx, gone);
    }

    /// The next leg whose deadline has passed; call until `None`.
    pub fn pop_due(&mut self, now: Instant) -> Option<LegId> {
        self.legs.pop_due(now)
    }

    /// Handles timeouts of transfers, and forgets dialogs that ended long ago.
    pub fn handle_timeout(&mut self, ctx: &mut Context, now: Now) {
        self.referrals.handle_timeout(ctx, &mut self.legs, now);
        self.legs.forget_recent(now.mono);
    }

    /// When [`Self::pop_due`] or [`Self::handle_timeout`] should be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.legs.next_deadline(), self.referrals.poll_timeout()].into_iter().flatten().min()
    }

    /// True if no state of any call is left.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.legs.is_idle() && self.referrals.is_idle() && self.replacements.is_empty()
    }
}
