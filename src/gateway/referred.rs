//! Transfers that the far end asks for: REFER to us, and the NOTIFYs that tell it how the call goes.

use std::time::Duration;

use super::command::Originate;
use super::core::Gateway;
use super::events::{EventBody, TransferKind, TransferOutcome, TransferRequested, Webhook};
use super::leg::{Leg, LegId, Phase};
use super::refusal;
use super::subscription::Subscription;
use crate::base::time::Now;
use crate::deliver::share::Origin;
use crate::sip::transactions::ServerId;
use crate::wire::replaces::ReferTo;
use crate::wire::{NameAddr, Request, Uri};

/// So much longer than its call may ring lasts the subscription to a transfer: the outcome is always told.
const BEYOND_RINGING: Duration = Duration::from_secs(60);

/// Of a leg that was called because another was transferred.
#[derive(Debug, Clone)]
pub struct Referral {
    /// The leg whose far end asked.
    referrer: LegId,
    /// Room the referrer was in.
    room: Option<String>,
    /// The call may go through a trunk.
    pub(super) may_use_accounts: bool,
    /// Who is told how it goes.
    pub(super) subscription: Subscription,
}

impl Referral {
    /// The leg whose far end asked.
    pub(super) fn referrer(&self) -> LegId {
        self.referrer
    }
}

impl Gateway {
    /// REFER in a call: declined, or carried out where `sip.refer_auto_dial` is on. Of those who may use no account what
    /// a trunk serves is declined, and others are called without one.
    pub(super) fn referred(&mut self, now: Now, tx: ServerId, id: LegId, request: &Request) {
        let leg = self.legs.get_mut(id);
        let earlier = leg.is_some_and(|l| std::mem::replace(&mut l.was_referred, true));
        let mut targets = request.common.headers.all("Refer-To");
        let (Some(Ok(target)), None) = (targets.next().map(ReferTo::parse), targets.next()) else {
            return refusal::respond(
                &mut self.ctx,
                now,
                tx,
                400,
                "Bad Request: one usable Refer-To is needed",
            );
        };
        let may_use_accounts = self.may_use_accounts(id);
        let declined = !self.ctx.config.sip.refer_auto_dial
            || (!may_use_accounts && self.is_served_by_trunk(&target.uri));
        let body = TransferRequested {
            kind: TransferKind::of(target.replaces.is_some()),
            target: target.uri.to_string().into(),
            declined,
            replaces_call_id: target.replaces.as_ref().map(|r| r.call_id.as_str().into()),
        };
        let body = EventBody::LegTransferRequested(body);
        if declined {
            refusal::respond(&mut self.ctx, now, tx, 603, "Decline");
            return self.ctx.events.publish(now, id, body);
        }
        let Some(leg) = self.legs.get(id) else { return };
        if !matches!(leg.phase, Phase::Up { .. }) || self.is_referring(id) {
            return refusal::respond(&mut self.ctx, now, tx, 491, "Request Pending");
        }
        let by = self.referred_by(leg, request);
        let webhook = self.ctx.events.webhook_of(id);
        let wanted = referral_call(leg, webhook, &target, by, self.ctx.config.sip.ring_timeout_s);
        let room = self.rooms.of_leg(id).map(str::to_owned);
        if self.is_full() || self.ctx.ports.is_empty() {
            return refusal::refuse(&mut self.ctx, now, tx, 503, "Service Unavailable");
        }
        let Some(mut draft) = self.ctx.sip.draft(tx, 202, "Accepted") else { return };
        refusal::add_contact(&self.ctx, &mut draft, tx);
        self.ctx.sip.respond(now.mono, tx, 202, &draft);
        self.ctx.events.publish(now, id, body);
        let life = Duration::from_secs(wanted.ring_timeout.into()) + BEYOND_RINGING;
        let subscription = Subscription::new(request.common.cseq, earlier, now.mono + life);
        self.notify(now, id, &subscription, None);
        let referral = Referral { referrer: id, room, may_use_accounts, subscription: subscription.clone() };
        if let Err(e) = self.place(now, wanted, Some(referral)) {
            log::info!(leg = self.legs.name_of(id), error:% = e; "the target of a transfer cannot be called");
            self.referral_failed(now, id, subscription, 503, "Service Unavailable");
        }
    }

    /// Who is said to have asked for a transfer (RFC 3892 §3): the user of ours who did; else whom the REFER names,
    /// unless that is a user of ours.
    fn referred_by(&self, leg: &Leg, request: &Request) -> Option<String> {
        if let Some(user) = &leg.user {
            return Some(format!("<{}>", self.registrar.aor_of(&self.ctx, user)));
        }
        let by = request.common.headers.get("Referred-By")?;
        let named = NameAddr::parse(by).ok()?;
        let pretends =
            self.registrar.has_user(&named.uri.user()) && self.registrar.is_our_domain(&self.ctx, &named.uri);
        (!pretends).then(|| by.to_owned())
    }

    /// Whose doing a call of ours is: who asks for a transfer asks for its call, too.
    pub(super) fn origin_of_transfer(&self, referral: Option<&Referral>) -> Origin {
        referral.and_then(|r| self.ctx.events.origin_of(r.referrer)).unwrap_or_default()
    }

    /// A call for this leg's far end is being placed.
    fn is_referring(&self, id: LegId) -> bool {
        self.legs.iter().any(|(_, l)| {
            l.referral.as_ref().is_some_and(|r| r.referrer == id) && matches!(l.phase, Phase::Inviting(_))
        })
    }

    /// A leg ends while the call it asked for is placed: that one is to join what it was in to the last.
    pub(super) fn leave_to_referred(&mut self, id: LegId) {
        let asked = |l: &Leg| l.referral.as_ref().is_some_and(|r| r.referrer == id);
        let Some(called) = self.legs.iter().find(|(_, l)| asked(l)).map(|(called, _)| called) else { return };
        let room = self.rooms.of_leg(id).map(str::to_owned);
        if let Some(referral) = self.legs.get_mut(called).and_then(|l| l.referral.as_mut()) {
            referral.room = room;
        }
    }

    /// A provisional response to the call of a transfer.
    pub(super) fn referral_progressed(&mut self, now: Now, id: LegId, code: u16, reason: &str) {
        let Some(referral) = self.legs.get_mut(id).and_then(|l| l.referral.as_mut()) else { return };
        if code <= referral.subscription.status() {
            return;
        }
        referral.subscription.note(code, reason);
        let (referrer, subscription) = (referral.referrer, referral.subscription.clone());
        self.notify(now, referrer, &subscription, None);
    }

    /// The call of a transfer was answered: it takes the referrer's place.
    pub(super) fn referral_answered(&mut self, now: Now, id: LegId) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let Some(referral) = leg.referral.take() else { return };
        let referrer = referral.referrer;
        // Where the referrer is now; where it was when it asked, if it has gone.
        let there = self.legs.get(referrer).filter(|l| !l.is_ending());
        let room = there.map_or(referral.room, |_| self.rooms.of_leg(referrer).map(str::to_owned));
        // One that was deleted since then stays so.
        let room = room.filter(|r| self.rooms.contains(r));
        if let (Some(member), Some(room)) = (self.member(id), room) {
            self.rooms.join_or_create(&mut self.ctx, now, &member, &room);
        }
        let mut subscription = referral.subscription;
        subscription.note(200, "OK");
        let told = self.notify(now, referrer, &subscription, Some("noresource"));
        if let Some(leg) = self.legs.get_mut(referrer) {
            leg.transferred = true;
            let (status_code, reason) = (Some(200), Some("OK".into()));
            let outcome = TransferOutcome { status_code, reason, error: None };
            self.ctx.events.publish(now, referrer, EventBody::LegTransferCompleted(outcome));
        }
        if !told {
            self.referrer_told(now, referrer);
        }
    }

    /// The call of a transfer has ended unanswered.
    pub(super) fn referral_over(&mut self, now: Now, id: LegId, reason: &str) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let Some(referral) = leg.referral.take() else { return };
        let (code, phrase) = match (leg.refusal.take(), reason) {
            (Some((code, phrase)), _) => (code, phrase),
            (None, "invite_failed") => (503, "Service Unavailable".to_owned()),
            (None, "connect_failed" | "not_acceptable") => (488, "Not Acceptable Here".to_owned()),
            (None, _) => (487, "Request Terminated".to_owned()),
        };
        self.referral_failed(now, referral.referrer, referral.subscription, code, &phrase);
    }

    fn referral_failed(
        &mut self,
        now: Now,
        referrer: LegId,
        mut subscription: Subscription,
        code: u16,
        reason: &str,
    ) {
        subscription.note(code, reason);
        self.notify(now, referrer, &subscription, Some("noresource"));
        if self.legs.get(referrer).is_some_and(|l| !l.is_ending()) {
            let (status_code, reason) = (Some(code), Some(reason.into()));
            let outcome = TransferOutcome { status_code, reason, error: None };
            self.ctx.events.publish(now, referrer, EventBody::LegTransferFailed(outcome));
        }
    }

    /// True where a transfer that the far end of this leg asks for may cost what an account pays: of users of ours, and
    /// of trunks that the operator lets.
    pub(super) fn may_use_accounts(&self, id: LegId) -> bool {
        let Some(leg) = self.legs.get(id) else { return false };
        leg.user.is_some() || self.trunks.allows_refer(leg.trunk)
    }

    /// True for what a trunk serves, unless it is a user of ours.
    pub(super) fn is_served_by_trunk(&self, uri: &Uri) -> bool {
        self.registrar.bindings_of(&self.ctx, uri).is_none()
            && uri.sip().is_some_and(|u| self.trunks.serve_host(&u.host))
    }

    /// The call of a transfer that may use no account does not get to a trunk by another name of it, or by a redirection
    /// either: true when it has been ended for that.
    pub(super) fn barred_from(
        &mut self,
        now: Now,
        id: LegId,
        leads_to_trunk: impl FnOnce(&Self) -> bool,
    ) -> bool {
        let Some(leg) = self.legs.get(id) else { return false };
        let barred = leg.referral.as_ref().is_some_and(|r| !r.may_use_accounts)
            && matches!(&leg.phase, Phase::Inviting(i) if !i.pinned)
            && leads_to_trunk(self);
        if barred {
            if let Some(leg) = self.legs.get_mut(id) {
                leg.refusal = Some((603, "Decline".to_owned()));
            }
            self.end(now, id, "declined");
        }
        barred
    }

    /// The referrer knows that its transfer went well, or is not there to be told: its call is over.
    pub(super) fn referrer_told(&mut self, now: Now, id: LegId) {
        if self.legs.get(id).is_some_and(|l| l.transferred) {
            self.bye_now(now, id, "transfer_completed");
        }
    }
}

/// The call that a REFER asks for: by whom we are to the referrer, with its codecs.
fn referral_call(
    leg: &Leg,
    webhook: Option<Webhook>,
    target: &ReferTo,
    by: Option<String>,
    ring_timeout: u32,
) -> Originate {
    let mut headers: Vec<(String, String)> = Vec::new();
    if let Some(by) = by {
        headers.push(("Referred-By".to_owned(), by));
    }
    if let Some(replaces) = &target.replaces {
        headers.push(("Replaces".to_owned(), replaces.to_string()));
    }
    Originate {
        amd: None,
        uri: target.uri.clone(),
        from: leg.dialog().map(|d| raw_user(&d.local.uri)).unwrap_or_default(),
        privacy: String::new(),
        ring_timeout,
        max_duration: 0,
        codecs: leg.codecs.clone(),
        headers,
        room_id: String::new(),
        accept_dtmf: leg.accept_dtmf,
        auth: None,
        webhook,
    }
}

/// The user part as it stands in a URI, without password.
fn raw_user(uri: &Uri) -> String {
    let user = uri.sip().and_then(|u| u.user.as_deref()).unwrap_or_default();
    user.split(':').next().unwrap_or_default().to_owned()
}
