//! Transfers requested by far ends: which call belongs to which transfer, and the NOTIFYs about its progress
//! (RFC 3515, RFC 6665).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::subscription::{ReferProgress, Subscription, asked_for};
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::events::{EventBody, TransferOutcome};
use crate::gateway::legs::Legs;
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::requests::{self, Notice, OutboundRequest, RequestContext, can_reach};
use crate::gateway::sip_call::{OpenDialog, Outlived, event_of};
use crate::gateway::sip_messages::refusal;
use crate::sip::flow::Flow;
use crate::sip::transactions::{Failure, ServerId};
use crate::wire::{Draft, Method, Request};

/// The subscription to a transfer outlasts the ringing time limit by this much, so that the outcome is always
/// reported.
const BEYOND_RINGING: Duration = Duration::from_secs(60);

/// A call placed because another leg is being transferred.
#[derive(Debug)]
pub struct Referral {
    /// The leg whose far end requested it.
    referrer: LegId,
    /// The referrer's room.
    room: Option<String>,
    /// The call may use a trunk.
    may_use_accounts: bool,
    /// The far end's subscription to its progress.
    subscription: Subscription,
}

impl Referral {
    /// For the REFER with this CSeq number; `named` if it is not the first of its dialog. Its call may ring
    /// for `ring_timeout` seconds.
    #[must_use]
    pub fn new(
        now: Instant,
        (referrer, room): (LegId, Option<String>),
        may_use_accounts: bool,
        (number, named): (u32, bool),
        ring_timeout: u32,
    ) -> Self {
        let life = Duration::from_secs(ring_timeout.into()) + BEYOND_RINGING;
        let subscription = Subscription::new(number, named, now + life);
        Self { referrer, room, may_use_accounts, subscription }
    }

    /// The leg whose far end requested it.
    #[must_use]
    pub fn referrer(&self) -> LegId {
        self.referrer
    }

    /// The call may use a trunk.
    #[must_use]
    pub fn may_use_accounts(&self) -> bool {
        self.may_use_accounts
    }

    /// The referrer's room.
    #[must_use]
    pub fn into_room(self) -> Option<String> {
        self.room
    }

    fn news(&self, now: Now, over: Option<&str>) -> ReferProgress {
        self.subscription.news(now.mono, over)
    }
}

/// Transfers requested by far ends with unknown outcome.
#[derive(Debug, Default)]
pub struct Referrals {
    /// By the leg called for it.
    calls: BTreeMap<LegId, Referral>,
    /// Dialogs of ended calls in which the outcome still has to be reported.
    outlived: BTreeMap<LegId, Outlived>,
}

impl Referrals {
    /// `called` is the call for this transfer.
    pub fn add(&mut self, called: LegId, referral: Referral) {
        self.calls.insert(called, referral);
    }

    /// False for the call of a transfer that may not use accounts.
    #[must_use]
    pub fn may_use_accounts(&self, called: LegId) -> bool {
        self.calls.get(&called).is_none_or(|r| r.may_use_accounts)
    }

    /// True while a call for this leg's far end is being placed.
    #[must_use]
    pub fn is_referring(&self, legs: &Legs, referrer: LegId) -> bool {
        let inviting = |id: LegId| legs.get(id).is_some_and(|l| l.call().is_inviting());
        self.calls.iter().any(|(called, r)| r.referrer == referrer && inviting(*called))
    }

    /// The call of a transfer was picked up by another leg.
    pub fn hand_over(&mut self, from: LegId, to: LegId) {
        if let Some(referral) = self.calls.remove(&from) {
            self.calls.insert(to, referral);
        }
    }

    /// The referrer's leg ends while its call is being placed, which will join the given room. A subscription
    /// of the far end stays alive in the dialog until the outcome is reported: BYE only ends the call (RFC
    /// 5057 §3.2).
    pub fn referrer_ended(&mut self, referrer: LegId, room: Option<&str>, dialog: Option<Outlived>) {
        let own = |r: &&mut Referral| r.referrer == referrer;
        if let Some(referral) = self.calls.values_mut().find(own) {
            referral.room = room.map(str::to_owned);
        }
        let subscribed = self.calls.values().any(|r| r.referrer == referrer && !r.subscription.is_over());
        self.outlived.extend(dialog.filter(|_| subscribed).map(|dialog| (referrer, dialog)));
    }

    /// Sends the first NOTIFY of an accepted transfer.
    pub fn begin(&mut self, ctx: &mut Context, legs: &mut Legs, now: Now, referral: &Referral) {
        self.notify(ctx, legs, referral.referrer, &referral.news(now, None));
    }

    /// A provisional response to the call of a transfer.
    pub fn progressed(
        &mut self,
        ctx: &mut Context,
        legs: &mut Legs,
        now: Now,
        called: LegId,
        (code, reason): (u16, &str),
    ) {
        let Some(referral) = self.calls.get_mut(&called) else { return };
        if code <= referral.subscription.status() || referral.subscription.is_over() {
            return;
        }
        referral.subscription.note(code, reason);
        let (referrer, news) = (referral.referrer, referral.news(now, None));
        self.notify(ctx, legs, referrer, &news);
    }

    /// The call of a transfer was answered; returns it, and whether the referrer is notified.
    pub fn answered(
        &mut self,
        ctx: &mut Context,
        legs: &mut Legs,
        now: Now,
        called: LegId,
    ) -> Option<(Referral, bool)> {
        let mut referral = self.calls.remove(&called)?;
        referral.subscription.note(200, "OK");
        let news = referral.news(now, Some("noresource"));
        let told = !referral.subscription.is_over() && self.notify(ctx, legs, referral.referrer, &news);
        Some((referral, told))
    }

    /// The call of a transfer has ended unanswered, with this `refusal` or `reason`.
    pub fn over(
        &mut self,
        ctx: &mut Context,
        legs: &mut Legs,
        now: Now,
        called: LegId,
        (refusal, reason): (Option<(u16, String)>, &str),
    ) {
        let Some(referral) = self.calls.remove(&called) else { return };
        let (code, phrase) = match (refusal, reason) {
            (Some((code, phrase)), _) => (code, phrase),
            (None, "invite_failed") => (503, "Service Unavailable".to_owned()),
            (None, "connect_failed" | "not_acceptable") => (488, "Not Acceptable Here".to_owned()),
            (None, _) => (487, "Request Terminated".to_owned()),
        };
        self.failed(ctx, legs, now, referral, (code, &phrase));
    }

    /// A transfer has failed.
    pub fn failed(
        &mut self,
        ctx: &mut Context,
        legs: &mut Legs,
        now: Now,
        mut referral: Referral,
        (code, reason): (u16, &str),
    ) {
        referral.subscription.note(code, reason);
        let referrer = referral.referrer;
        if !referral.subscription.is_over() {
            let news = referral.news(now, Some("noresource"));
            self.notify(ctx, legs, referrer, &news);
        }
        if legs.get(referrer).is_some_and(|l| !l.is_ending()) {
            let (status_code, reason) = (Some(code), Some(reason.into()));
            let outcome = TransferOutcome { status_code, reason, error: None };
            ctx.events.publish(now, referrer, EventBody::LegTransferFailed(outcome));
        }
    }

    /// Sends a NOTIFY in the referrer's dialog; false if there is none any more.
    fn notify(&mut self, ctx: &mut Context, legs: &mut Legs, referrer: LegId, news: &ReferProgress) -> bool {
        let in_call = legs.with_call(ctx, referrer, |call, ctx| {
            let open = call.open_dialog(ctx);
            open.map(|open| send_notify(ctx, referrer, open, news)).is_some()
        });
        if in_call != Some(true) {
            let Some(outlived) = self.outlived.get_mut(&referrer) else { return false };
            send_notify(ctx, referrer, outlived.open(), news);
        }
        if news.last {
            self.outlived.remove(&referrer);
        }
        true
    }

    /// Sends a NOTIFY to its target. Returns the referrer once a successful outcome was reported or cannot
    /// be.
    pub fn transmit(
        &mut self,
        ctx: &mut Context,
        now: Now,
        (referrer, notice, draft): (LegId, Notice, Draft),
        target: Option<Flow>,
    ) -> Option<LegId> {
        let target = target.filter(|t| can_reach(ctx, *t));
        let sent = target.map(|target| ctx.sip.request(now.mono, &Method::Notify, draft, target));
        match sent {
            Some(Ok(tx)) => {
                ctx.requests.sent(tx, RequestContext::Notify(referrer, notice));
                None
            }
            Some(Err(_)) | None => self.handle_notified(referrer, notice, Err(Failure::Transport)),
        }
    }

    /// Result of a NOTIFY: final response, or none. Returns the referrer once a successful outcome was
    /// reported: its call ends. A 481 or a timeout terminates the subscription (RFC 6665 §4.2.2).
    pub fn handle_notified(
        &mut self,
        referrer: LegId,
        notice: Notice,
        outcome: Result<u16, Failure>,
    ) -> Option<LegId> {
        match (notice.outcome, outcome) {
            (Some(200..=299), _) => return Some(referrer),
            (None, Ok(408 | 481) | Err(Failure::Timeout)) => {
                if let Some(referral) = self.subscribed(referrer, Some(notice.number)) {
                    referral.subscription.end();
                    self.outlived.remove(&referrer);
                }
            }
            (Some(_) | None, _) => {}
        }
        None
    }

    /// The transfer of a referrer whose subscription has this id.
    fn subscribed(&mut self, referrer: LegId, id: Option<u32>) -> Option<&mut Referral> {
        self.calls.values_mut().find(|r| r.referrer == referrer && r.subscription.is(id))
    }

    /// Handles SUBSCRIBE in a call: extends or ends the subscription created by a REFER.
    pub fn handle_subscribe(
        &mut self,
        ctx: &mut Context,
        legs: &mut Legs,
        now: Now,
        (tx, request): (ServerId, &Request),
        referrer: LegId,
    ) {
        let Some(about) = event_of(request) else { return refusal::bad_event(ctx, now, tx) };
        let Some(referral) = self.subscribed(referrer, about) else {
            return refusal::respond(ctx, now, tx, 481, "Subscription Does Not Exist");
        };
        let Ok(asked) = asked_for(request) else {
            let why = "Bad Request: Expires is a number of seconds";
            return refusal::respond(ctx, now, tx, 400, why);
        };
        let granted = referral.subscription.extend(now.mono, about.is_some(), asked);
        let Some(mut draft) = ctx.sip.draft(tx, 200, "OK") else { return };
        refusal::add_contact(ctx, &mut draft, tx);
        draft.push("Expires", granted.as_secs().to_string());
        ctx.sip.respond(now.mono, tx, 200, &draft);
        let over = granted.is_zero();
        let news = referral.news(now, over.then_some("timeout"));
        if over {
            referral.subscription.end();
        }
        self.notify(ctx, legs, referrer, &news);
    }

    /// The next expiry of a subscription.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.calls.values().filter_map(|r| r.subscription.deadline()).min()
    }

    /// Ends expired subscriptions.
    pub fn handle_timeout(&mut self, ctx: &mut Context, legs: &mut Legs, now: Now) {
        let due = |r: &Referral| r.subscription.deadline().is_some_and(|at| at <= now.mono);
        while let Some(referral) = self.calls.values_mut().find(|r| due(r)) {
            let (referrer, news) = (referral.referrer, referral.news(now, Some("timeout")));
            referral.subscription.end();
            self.notify(ctx, legs, referrer, &news);
        }
    }

    /// True if no outcome remains to be reported.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.outlived.is_empty()
    }
}

fn send_notify(ctx: &mut Context, referrer: LegId, open: OpenDialog<'_>, news: &ReferProgress) {
    let (mut draft, hop) = open.dialog.request(&Method::Notify);
    news.fill(&mut draft, &open.contact);
    let request = OutboundRequest::Notify(referrer, news.notice, draft);
    requests::send(ctx, &hop, open.flow, open.lax, request);
}
