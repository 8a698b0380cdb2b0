//! Transfers that far ends ask for: which call was placed for which, and the NOTIFYs that tell how it goes (RFC 3515,
//! RFC 6665).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::subscription::{News, Subscription, asked_for};
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::events::{EventBody, TransferOutcome};
use crate::gateway::leg_id::LegId;
use crate::gateway::legs::Legs;
use crate::gateway::refusal;
use crate::gateway::requests::{self, Notice, OutboundRequest, RequestContext, can_reach};
use crate::gateway::sip_call::{OpenDialog, Outlived, event_of};
use crate::sip::target::Target;
use crate::sip::transactions::{Failure, ServerId};
use crate::wire::{Draft, Method, Request};

/// So much longer than its call may ring lasts the subscription to a transfer: the outcome is always told.
const BEYOND_RINGING: Duration = Duration::from_secs(60);

/// A call that is placed because another leg is being transferred.
#[derive(Debug)]
pub struct Referral {
    /// The leg whose far end asked.
    referrer: LegId,
    /// Room the referrer was in.
    room: Option<String>,
    /// The call may go through a trunk.
    may_use_accounts: bool,
    /// Who is told how it goes.
    subscription: Subscription,
}

impl Referral {
    /// That of the REFER with this CSeq number; `named` when the dialog has had another before it. Its call may ring for
    /// `ring_timeout` seconds.
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

    /// The leg whose far end asked.
    #[must_use]
    pub fn referrer(&self) -> LegId {
        self.referrer
    }

    /// The call may go through a trunk.
    #[must_use]
    pub fn may_use_accounts(&self) -> bool {
        self.may_use_accounts
    }

    /// The room that the referrer was in.
    #[must_use]
    pub fn into_room(self) -> Option<String> {
        self.room
    }

    fn news(&self, now: Now, over: Option<&str>) -> News {
        self.subscription.news(now.mono, over)
    }
}

/// The transfers that far ends have asked for and whose outcome is not known.
#[derive(Debug, Default)]
pub struct Referrals {
    /// By the leg that was called for it.
    calls: BTreeMap<LegId, Referral>,
    /// Dialogs of ended calls in which the outcome is still to be told.
    outlived: BTreeMap<LegId, Outlived>,
}

impl Referrals {
    /// `called` is the call that a transfer asks for.
    pub fn add(&mut self, called: LegId, referral: Referral) {
        self.calls.insert(called, referral);
    }

    /// False for the call of a transfer that may cost nothing.
    #[must_use]
    pub fn may_use_accounts(&self, called: LegId) -> bool {
        self.calls.get(&called).is_none_or(|r| r.may_use_accounts)
    }

    /// A call for this leg's far end is being placed.
    #[must_use]
    pub fn is_referring(&self, legs: &Legs, referrer: LegId) -> bool {
        let inviting = |id: LegId| legs.get(id).is_some_and(|l| l.call().is_inviting());
        self.calls.iter().any(|(called, r)| r.referrer == referrer && inviting(*called))
    }

    /// Who picks up the call of a transfer has answered it.
    pub fn hand_over(&mut self, from: LegId, to: LegId) {
        if let Some(referral) = self.calls.remove(&from) {
            self.calls.insert(to, referral);
        }
    }

    /// A leg ends while the call it asked for is placed: that one is to join what it was in to the last. A subscription of
    /// its far end lives on in the dialog until the outcome is told: BYE ends the call alone (RFC 5057 §3.2).
    pub fn referrer_ended(&mut self, referrer: LegId, room: Option<&str>, dialog: Option<Outlived>) {
        let own = |r: &&mut Referral| r.referrer == referrer;
        if let Some(referral) = self.calls.values_mut().find(own) {
            referral.room = room.map(str::to_owned);
        }
        let subscribed = self.calls.values().any(|r| r.referrer == referrer && !r.subscription.is_over());
        self.outlived.extend(dialog.filter(|_| subscribed).map(|dialog| (referrer, dialog)));
    }

    /// Tells of a transfer that has just been accepted.
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

    /// The call of a transfer was answered; and whether the referrer is told of it.
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

    /// The call of a transfer has ended unanswered, with this `refusal` or for that `reason`.
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

    /// Sends a NOTIFY in the dialog of the referrer; false when there is none any more.
    fn notify(&mut self, ctx: &mut Context, legs: &mut Legs, referrer: LegId, news: &News) -> bool {
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

    /// Sends a NOTIFY to the address that was found. The referrer, when the outcome of a good transfer is told or cannot be.
    pub fn transmit(
        &mut self,
        ctx: &mut Context,
        now: Now,
        (referrer, notice, draft): (LegId, Notice, Draft),
        target: Option<Target>,
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

    /// What became of a NOTIFY: a final response, or none. The referrer, when the outcome of a good transfer is told: its call
    /// is over. Who knows of no subscription, or says nothing, has none (RFC 6665 §4.2.2).
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

    /// SUBSCRIBE in a call: extends, or ends, a subscription that a REFER has made.
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

    /// When the next subscription ends by itself.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.calls.values().filter_map(|r| r.subscription.deadline()).min()
    }

    /// Ends the subscriptions that have come to their end.
    pub fn handle_timeout(&mut self, ctx: &mut Context, legs: &mut Legs, now: Now) {
        let due = |r: &Referral| r.subscription.deadline().is_some_and(|at| at <= now.mono);
        while let Some(referral) = self.calls.values_mut().find(|r| due(r)) {
            let (referrer, news) = (referral.referrer, referral.news(now, Some("timeout")));
            referral.subscription.end();
            self.notify(ctx, legs, referrer, &news);
        }
    }

    /// True when no outcome is to be told any more.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.outlived.is_empty()
    }
}

fn send_notify(ctx: &mut Context, referrer: LegId, open: OpenDialog<'_>, news: &News) {
    let (mut draft, hop) = open.dialog.request(&Method::Notify);
    news.fill(&mut draft, &open.contact);
    let request = OutboundRequest::Notify(referrer, news.notice, draft);
    requests::send(ctx, &hop, open.flow, open.lax, request);
}
