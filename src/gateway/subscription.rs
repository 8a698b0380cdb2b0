//! The subscriptions that REFER makes (RFC 3515 §2.4, RFC 6665): of far ends to what becomes of their transfers, and
//! ours to what becomes of ours. Several REFERs of a dialog are told apart by `id`, the CSeq number of each.

use std::time::{Duration, Instant};

use super::core::Gateway;
use super::leg::{Leg, LegId, Phase};
use super::refusal;
use super::requests::{Notice, OutboundRequest};
use crate::base::time::Now;
use crate::sip::dialog::Dialog;
use crate::sip::target::Target;
use crate::sip::transactions::{Failure, ServerId};
use crate::wire::{Method, Request};

/// Longest that a far end's subscription is extended to.
const LONGEST: Duration = Duration::from_secs(3600);
/// Subscriptions of ours in one call that are kept; the oldest gives way.
const MAX_OPEN: usize = 8;
/// SUBSCRIBEs of ours are not closer together.
const LEAST_PAUSE: Duration = Duration::from_secs(2);

/// A far end's subscription to the call that its REFER asks for.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// CSeq number of the REFER.
    number: u32,
    /// NOTIFYs carry it: it is not that of the dialog's first REFER.
    named: bool,
    /// It ends then, unless it is extended.
    until: Instant,
    /// It has ended: nothing more is told.
    over: bool,
    /// Status code and reason of the call.
    status: (u16, String),
}

impl Subscription {
    /// That of the REFER with this number; `named` when the dialog has had another before it.
    #[must_use]
    pub fn new(number: u32, named: bool, until: Instant) -> Self {
        Self { number, named, until, over: false, status: (100, "Trying".to_owned()) }
    }

    /// Status code of the call, as it was told last.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.0
    }

    /// How the call goes.
    pub fn note(&mut self, code: u16, reason: &str) {
        self.status = (code, reason.to_owned());
    }

    /// When it ends by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (!self.over).then_some(self.until)
    }

    fn is(&self, id: Option<u32>) -> bool {
        !self.over && id.map_or(!self.named, |id| id == self.number)
    }
}

/// The dialog of a call that has ended before the transfer its far end has asked for.
#[derive(Debug)]
pub struct Outlived {
    dialog: Dialog,
    flow: Option<Target>,
    contact: String,
}

/// Our subscriptions in one call.
#[derive(Debug, Default)]
pub struct Subscribed {
    /// Number of the first REFER: its NOTIFYs may come without one.
    first: Option<u32>,
    /// Those that have not ended, oldest first.
    open: Vec<u32>,
}

impl Subscribed {
    /// A REFER of ours goes out.
    pub fn begin(&mut self, number: u32) {
        self.first.get_or_insert(number);
        self.open.push(number);
        if self.open.len() > MAX_OPEN {
            self.open.remove(0);
        }
    }

    /// A subscription has ended, or was refused.
    pub fn end(&mut self, number: u32) {
        self.open.retain(|n| *n != number);
    }

    /// The subscription that a NOTIFY with this `id` is about. Without one it is about the first REFER; once that is over
    /// it can only mean the latest, of a far end that names none.
    #[must_use]
    pub fn about(&self, id: Option<u32>) -> Option<u32> {
        let open = |n: &u32| self.open.contains(n);
        match id {
            Some(_) => id.filter(open),
            None => self.first.filter(open).or(self.open.last().copied()),
        }
    }
}

/// `Subscription-State` of a NOTIFY (RFC 6665 §8.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// No more will come.
    pub(super) is_over: bool,
    /// How long it lasts, if that is said.
    left: Option<Duration>,
}

impl State {
    pub(super) fn of(request: &Request) -> Self {
        let mut parts = request.common.headers.get("Subscription-State").unwrap_or_default().split(';');
        let is_over = parts.next().unwrap_or_default().trim().eq_ignore_ascii_case("terminated");
        let left = parts.find_map(|p| {
            let (name, value) = p.split_once('=')?;
            name.trim().eq_ignore_ascii_case("expires").then(|| value.trim().parse::<u32>().ok())?
        });
        Self { is_over, left: left.map(|s| Duration::from_secs(s.into())) }
    }

    /// True when it ends before `until` unless it is extended.
    pub(super) fn ends_before(&self, now: Instant, until: Instant) -> bool {
        !self.is_over && self.left.is_some_and(|left| now + left < until)
    }

    /// When it is to be extended: before its last quarter.
    pub(super) fn extend_at(&self, now: Instant) -> Option<Instant> {
        self.left.map(|left| now + (left / 4 * 3).max(LEAST_PAUSE))
    }
}

/// The `id` of the refer package in a request's Event, `None` inside without one; `None` outside for other packages.
pub(super) fn event_of(request: &Request) -> Option<Option<u32>> {
    let mut parts = request.common.headers.get("Event").unwrap_or_default().split(';');
    if !parts.next().unwrap_or_default().trim().eq_ignore_ascii_case("refer") {
        return None;
    }
    Some(parts.find_map(|p| {
        let (name, value) = p.split_once('=')?;
        // One that is no number is that of no REFER.
        name.trim().eq_ignore_ascii_case("id").then(|| value.trim().parse().unwrap_or(u32::MAX))
    }))
}

impl Gateway {
    /// Tells a referrer how its call goes, for the last time where there is a reason for that (RFC 3515 §2.4.4); false
    /// when it has no subscription, or is not there any more.
    pub(super) fn notify(
        &mut self,
        now: Now,
        referrer: LegId,
        subscription: &Subscription,
        over: Option<&str>,
    ) -> bool {
        if subscription.over {
            return false;
        }
        let own = self.contact_of(referrer);
        let (dialog, flow, contact) = match (self.legs.get_mut(referrer), self.outlived.get_mut(&referrer)) {
            (Some(Leg { phase: Phase::Up { dialog }, flow, .. }), _) => (dialog.as_mut(), *flow, own),
            (_, Some(o)) => (&mut o.dialog, o.flow, o.contact.clone()),
            (_, None) => return false,
        };
        let (number, (code, reason)) = (subscription.number, &subscription.status);
        let state = match over {
            Some(why) => format!("terminated;reason={why}"),
            None => {
                let left = subscription.until.saturating_duration_since(now.mono).as_secs();
                format!("active;expires={left}")
            }
        };
        let event = if subscription.named { format!("refer;id={number}") } else { "refer".to_owned() };
        let (mut draft, hop) = dialog.request(&Method::Notify);
        draft.push("Event", event);
        draft.push("Subscription-State", state);
        draft.push("Contact", contact);
        draft.set_body("message/sipfrag;version=2.0", format!("SIP/2.0 {code} {reason}\r\n").into_bytes());
        let notice = Notice { number, outcome: Some(*code).filter(|c| *c >= 200) };
        if over.is_some() {
            self.outlived.remove(&referrer);
        }
        let trunk = self.legs.get(referrer).and_then(|l| l.trunk);
        self.send(&hop, flow, trunk, OutboundRequest::Notify(referrer, notice, draft));
        true
    }

    /// What became of a NOTIFY: a final response, or none. With the news of its success the referrer's call is over; who
    /// knows of no subscription, or says nothing, has none (RFC 6665 §4.2.2).
    pub(super) fn notified_or_not(
        &mut self,
        now: Now,
        referrer: LegId,
        notice: Notice,
        outcome: Result<u16, Failure>,
    ) {
        match (notice.outcome, outcome) {
            (Some(200..=299), _) => self.referrer_told(now, referrer),
            (None, Ok(408 | 481) | Err(Failure::Timeout)) => {
                if let Some(called) = self.subscription_of(referrer, Some(notice.number)) {
                    self.subscription_over(called);
                }
            }
            (Some(_) | None, _) => {}
        }
    }

    /// The leg called for a referrer whose subscription has this id.
    fn subscription_of(&self, referrer: LegId, id: Option<u32>) -> Option<LegId> {
        let is =
            |l: &Leg| l.referral.as_ref().is_some_and(|r| r.referrer() == referrer && r.subscription.is(id));
        self.legs.iter().find(|(_, l)| is(l)).map(|(called, _)| called)
    }

    fn subscription_over(&mut self, called: LegId) {
        if let Some(referral) = self.legs.get_mut(called).and_then(|l| l.referral.as_mut()) {
            referral.subscription.over = true;
            self.outlived.remove(&referral.referrer());
        }
        self.legs.reschedule(called);
    }

    /// A call ends. A subscription of its far end lives on in the dialog until the outcome is told: BYE ends the call alone
    /// (RFC 5057 §3.2).
    pub(super) fn outlive_call(&mut self, referrer: LegId, contact: String, dialog: Option<Dialog>) {
        let subscribed =
            |l: &Leg| l.referral.as_ref().is_some_and(|r| r.referrer() == referrer && !r.subscription.over);
        let Some(mut dialog) = dialog.filter(|_| self.legs.iter().any(|(_, l)| subscribed(l))) else {
            return;
        };
        // Behind a BYE of ours.
        dialog.local_seq = dialog.local_seq.saturating_add(1);
        let flow = self.legs.get(referrer).and_then(|l| l.flow);
        self.outlived.insert(referrer, Outlived { dialog, flow, contact });
    }

    /// SUBSCRIBE in a call: extends, or ends, a subscription that a REFER has made.
    pub(super) fn subscribed(&mut self, now: Now, tx: ServerId, id: LegId, request: &Request) {
        let Some(about) = event_of(request) else { return refusal::bad_event(&mut self.ctx, now, tx) };
        let Some(called) = self.subscription_of(id, about) else {
            return refusal::respond(&mut self.ctx, now, tx, 481, "Subscription Does Not Exist");
        };
        let expires = request.common.headers.get("Expires").map(|e| e.trim().parse::<u32>());
        let Ok(asked) = expires.transpose() else {
            return refusal::respond(
                &mut self.ctx,
                now,
                tx,
                400,
                "Bad Request: Expires is a number of seconds",
            );
        };
        let Some(referral) = self.legs.get_mut(called).and_then(|l| l.referral.as_mut()) else { return };
        let subscription = &mut referral.subscription;
        // A subscriber that names it will look for the name.
        subscription.named |= about.is_some();
        let asked = asked.map(|s| Duration::from_secs(s.into()));
        let left = subscription.until.saturating_duration_since(now.mono);
        let granted = asked.unwrap_or(left).min(LONGEST);
        subscription.until = now.mono + granted;
        let subscription = subscription.clone();
        let Some(mut draft) = self.ctx.sip.draft(tx, 200, "OK") else { return };
        refusal::add_contact(&self.ctx, &mut draft, tx);
        draft.push("Expires", granted.as_secs().to_string());
        self.ctx.sip.respond(now.mono, tx, 200, &draft);
        let over = granted.is_zero();
        self.notify(now, id, &subscription, over.then_some("timeout"));
        if over {
            self.subscription_over(called);
        }
        self.legs.reschedule(called);
    }

    /// The subscription to a leg's call may have come to its end.
    pub(super) fn subscription_due(&mut self, now: Now, called: LegId) {
        let Some(referral) = self.legs.get(called).and_then(|l| l.referral.as_ref()) else { return };
        if referral.subscription.deadline().is_some_and(|at| at <= now.mono) {
            let (referrer, subscription) = (referral.referrer(), referral.subscription.clone());
            self.notify(now, referrer, &subscription, Some("timeout"));
            self.subscription_over(called);
        }
    }

    /// Asks the far end to go on telling how our transfer goes, for so long.
    pub(super) fn extend_subscription(&mut self, id: LegId, number: u32, left: Duration) {
        let contact = self.contact_of(id);
        let Some(leg) = self.legs.get_mut(id) else { return };
        let (flow, trunk, named) = (leg.flow, leg.trunk, leg.subscribed.first != Some(number));
        let Some(dialog) = leg.dialog_mut() else { return };
        let (mut draft, hop) = dialog.request(&Method::Subscribe);
        draft.push("Event", if named { format!("refer;id={number}") } else { "refer".to_owned() });
        draft.push("Expires", (left.as_secs() + 1).to_string());
        draft.push("Contact", contact);
        draft.push("User-Agent", self.ctx.config.sip.host.as_str());
        self.send(&hop, flow, trunk, OutboundRequest::Subscribe(id, draft));
    }
}
