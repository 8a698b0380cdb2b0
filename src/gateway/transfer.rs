//! Transfers that we ask for: REFER in a call, and what its NOTIFYs say (RFC 3515, RFC 3891, RFC 5589).

use std::time::{Duration, Instant};

use super::core::Gateway;
use super::error::GatewayError;
use super::events::{EventBody, Text, TransferInitiated, TransferKind, TransferOutcome};
use super::leg::{LegId, Phase};
use super::refusal;
use super::requests::OutboundRequest;
use super::subscription::{State, event_of};
use crate::base::time::Now;
use crate::sip::transactions::{ClientId, ServerId};
use crate::wire::replaces::{ReferTo, Replaces};
use crate::wire::{Body, Method, Request, Response, Uri};

/// Time from the acceptance of a REFER to its outcome.
const OUTCOME: Duration = Duration::from_secs(120);

/// A transfer whose outcome is not known.
#[derive(Debug)]
pub struct Transfer {
    /// Whom the far end is to call.
    target: ReferTo,
    /// The REFER, once it has been sent.
    refer: Option<ClientId>,
    /// CSeq number of the first REFER, which names its subscription.
    number: u32,
    /// The leg whose dialog the target is to replace.
    replaced: Option<LegId>,
    /// It has failed then.
    pub(super) until: Instant,
    /// Its subscription ends before that, and is to be extended then.
    pub(super) extend_at: Option<Instant>,
}

impl Transfer {
    /// The next moment something is due.
    pub(super) fn deadline(&self) -> Instant {
        self.extend_at.map_or(self.until, |at| at.min(self.until))
    }
}

/// What a NOTIFY says of a transfer.
#[derive(Debug, PartialEq, Eq)]
struct Progress {
    /// Status code and reason of the transferred call.
    status: Option<(u16, String)>,
    /// No more will come.
    last: bool,
}

impl Gateway {
    /// `POST /legs/{id}/transfer`.
    ///
    /// # Errors
    /// A target that cannot be called (400); no such leg (404); a leg, or one to replace, that is not connected,
    /// or a transfer in progress (409).
    pub fn transfer(
        &mut self,
        now: Now,
        name: &str,
        target: Uri,
        replaces: Option<&str>,
    ) -> Result<(), GatewayError> {
        let (id, leg) = self.legs.by_name(name)?;
        let conflict = |why: &str| Err(GatewayError::Conflict(why.to_owned()));
        if !matches!(leg.phase, Phase::Up { .. }) {
            return conflict("leg is not connected");
        }
        if leg.transfer.is_some() {
            return conflict("a transfer of this leg is in progress");
        }
        let replaced = match replaces {
            Some(other) if other == name => return conflict("replaces_leg_id: a leg cannot replace itself"),
            Some(other) => Some(self.replaceable(other)?),
            None => None,
        };
        let refer_to = ReferTo { uri: target, replaces: replaced.as_ref().map(|(_, r)| r.clone()) };
        let body = TransferInitiated {
            kind: TransferKind::of(replaced.is_some()),
            target: refer_to.uri.to_string().into(),
            replaces_leg_id: replaces.map(str::to_owned),
        };
        self.ctx.events.publish(now, id, EventBody::LegTransferInitiated(body));
        let Some(leg) = self.legs.get_mut(id) else { return Ok(()) };
        let (replaced, until) = (replaced.map(|(l, _)| l), now.mono + OUTCOME);
        let (target, extend_at) = (refer_to, None);
        leg.transfer = Some(Transfer { target, refer: None, number: 0, replaced, until, extend_at });
        self.legs.reschedule(id);
        self.send_refer(id);
        self.drain(now);
        Ok(())
    }

    /// The dialog of a leg, as its far end knows it.
    fn replaceable(&self, name: &str) -> Result<(LegId, Replaces), GatewayError> {
        let unknown =
            || GatewayError::Conflict("replaces_leg_id: no connected SIP leg has this id".to_owned());
        let id = self.legs.find(name).map_err(|_| unknown())?;
        match self.legs.get(id).map(|l| &l.phase) {
            Some(Phase::Up { dialog }) => {
                let replaces = Replaces {
                    call_id: dialog.call_id.clone(),
                    to_tag: dialog.remote.tag().unwrap_or("0").to_owned(),
                    from_tag: dialog.local_tag().to_owned(),
                    early_only: false,
                };
                Ok((id, replaces))
            }
            Some(_) | None => Err(unknown()),
        }
    }

    fn send_refer(&mut self, id: LegId) {
        let contact = self.contact_of(id);
        let name = self.ctx.config.sip.host.clone();
        let Some(leg) = self.legs.get_mut(id) else { return };
        let (flow, trunk) = (leg.flow, leg.trunk);
        let Some(to) = leg.transfer.as_ref().map(|t| t.target.to_string()) else { return };
        let Some(dialog) = leg.dialog_mut() else { return };
        let referred_by = format!("<{}>", dialog.local.uri);
        let (mut draft, hop) = dialog.request(&Method::Refer);
        let number = dialog.local_seq;
        if let Some(transfer) = &mut leg.transfer {
            // The one that was challenged has made no subscription.
            leg.subscribed.end(transfer.number);
            transfer.number = number;
            leg.subscribed.begin(number);
        }
        draft.push("Refer-To", to);
        draft.push("Referred-By", referred_by);
        draft.push("Contact", contact);
        draft.push("User-Agent", name);
        self.send(&hop, flow, trunk, OutboundRequest::Refer(id, draft));
    }

    /// The REFER of a transfer is on its way.
    pub(super) fn refer_sent(&mut self, id: LegId, tx: ClientId) {
        if let Some(transfer) = self.legs.get_mut(id).and_then(|l| l.transfer.as_mut()) {
            transfer.refer = Some(tx);
        }
    }

    /// The final response to our REFER, or none (`Err` says why). `tx` is `None` when it was never sent.
    pub(super) fn refer_answered(
        &mut self,
        now: Now,
        id: LegId,
        tx: Option<ClientId>,
        outcome: Result<&Response, &str>,
    ) {
        let present = self.legs.get(id).and_then(|l| l.transfer.as_ref()).map(|t| t.refer);
        if tx.is_some() && present != Some(tx) {
            // That of an earlier transfer, whose outcome is known.
            return;
        }
        let why = match outcome {
            Ok(r) if r.code < 300 => {
                if let Some(t) = self.legs.get_mut(id).and_then(|l| l.transfer.as_mut()) {
                    t.until = now.mono + OUTCOME;
                }
                return self.legs.reschedule(id);
            }
            Ok(r) if matches!(r.code, 401 | 407) && tx.is_some_and(|tx| self.challenged(id, tx, r)) => {
                return self.send_refer(id);
            }
            Ok(r) => format!("the far end refused the REFER: {} {}", r.code, r.reason),
            Err(why) => why.to_owned(),
        };
        self.forget_subscription(id);
        self.transfer_failed(now, id, TransferOutcome::failed(why));
    }

    /// No outcome came in time, or its subscription needs to be extended for that.
    pub(super) fn transfer_due(&mut self, now: Now, id: LegId) {
        let Some(transfer) = self.legs.get_mut(id).and_then(|l| l.transfer.as_mut()) else { return };
        if transfer.until <= now.mono {
            // What the far end still has to say of it gets 481, which ends it there too (RFC 6665 §4.1.3).
            self.forget_subscription(id);
            return self.transfer_failed(now, id, TransferOutcome::failed("timeout"));
        }
        if transfer.extend_at.is_some_and(|at| at <= now.mono) {
            transfer.extend_at = None;
            let (number, left) = (transfer.number, transfer.until.saturating_duration_since(now.mono));
            self.extend_subscription(id, number, left);
        }
    }

    /// The subscription to the present transfer is over, or has never begun.
    fn forget_subscription(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        if let Some(transfer) = &leg.transfer {
            leg.subscribed.end(transfer.number);
        }
    }

    /// The leg lives on.
    pub(super) fn transfer_failed(&mut self, now: Now, id: LegId, outcome: TransferOutcome) {
        if self.legs.get_mut(id).and_then(|l| l.transfer.take()).is_some() {
            self.ctx.events.publish(now, id, EventBody::LegTransferFailed(outcome));
            self.legs.reschedule(id);
        }
    }

    /// NOTIFY in a call: news of a transfer.
    pub(super) fn notified(&mut self, now: Now, tx: ServerId, id: LegId, request: &Request) {
        if event_of(request).is_none() {
            return refusal::bad_event(&mut self.ctx, now, tx);
        }
        let state = State::of(request);
        let about = event_of(request).and_then(|id| id);
        let Some(leg) = self.legs.get_mut(id) else { return };
        let Some(number) = leg.subscribed.about(about) else {
            return refusal::respond(&mut self.ctx, now, tx, 481, "Subscription Does Not Exist");
        };
        if state.is_over {
            leg.subscribed.end(number);
        }
        // That of an earlier transfer may go on for a while after its outcome.
        let present = leg.transfer.as_mut().filter(|t| t.number == number);
        let is_present = present.is_some();
        if let Some(transfer) = present {
            transfer.extend_at =
                state.extend_at(now.mono).filter(|_| state.ends_before(now.mono, transfer.until));
        }
        self.legs.reschedule(id);
        refusal::respond(&mut self.ctx, now, tx, 200, "OK");
        if is_present {
            self.transfer_progressed(now, id, progress_of(request, state.is_over));
        }
    }

    fn transfer_progressed(&mut self, now: Now, id: LegId, progress: Progress) {
        let (status_code, reason, error) = match progress.status {
            Some((code, reason)) => {
                (Some(code), Some(reason).filter(|r| !r.is_empty()).map(Text::from), None)
            }
            None => (None, None, Some("the far end did not say how it went".into())),
        };
        let outcome = TransferOutcome { status_code, reason, error };
        match status_code {
            Some(200..=299) => self.transfer_completed(now, id, outcome),
            Some(..200) if !progress.last => {
                self.ctx.events.publish(now, id, EventBody::LegTransferProgress(outcome));
            }
            None if !progress.last => {}
            Some(_) | None => self.transfer_failed(now, id, outcome),
        }
    }

    /// The far end talks to the target: our legs have done their part.
    fn transfer_completed(&mut self, now: Now, id: LegId, outcome: TransferOutcome) {
        let Some(transfer) = self.legs.get_mut(id).and_then(|l| l.transfer.take()) else { return };
        self.ctx.events.publish(now, id, EventBody::LegTransferCompleted(outcome));
        self.bye_now(now, id, "transfer_completed");
        if let Some(other) = transfer.replaced {
            self.hang_up(now, other, "transfer_completed", None);
        }
    }
}

/// The type of what it reads.
const SIPFRAG: &str = "message/sipfrag";

/// Reads the body of a NOTIFY, a piece of a SIP message (RFC 3420), and whether it is the last.
fn progress_of(request: &Request, last: bool) -> Progress {
    let c = &request.common;
    let part = Body::of(c, SIPFRAG).ok().flatten().and_then(|b| b.find(&[SIPFRAG]));
    let body = part.map_or_else(|| c.body.clone(), |(_, content)| content.into_owned());
    let body = String::from_utf8_lossy(&body);
    let status = body.lines().next().and_then(|line| {
        let (code, reason) = line.strip_prefix("SIP/2.0 ")?.split_once(' ').unwrap_or((line.get(8..)?, ""));
        let code = code.trim().parse::<u16>().ok().filter(|c| (100..700).contains(c))?;
        Some((code, reason.trim().to_owned()))
    });
    Progress { status, last }
}
