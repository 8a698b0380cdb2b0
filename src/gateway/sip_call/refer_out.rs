//! Transfers requested by us: REFER in a call, and its NOTIFYs (RFC 3515, RFC 3891, RFC 5589).

use std::time::{Duration, Instant};

use super::parts::CallContext;
use super::subscription::{Subscribed, SubscriptionState, event_of};
use crate::gateway::events::{EventBody, Text, TransferInitiated, TransferKind, TransferOutcome};
use crate::gateway::interface::error::GatewayError;
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::requests::OutboundRequest;
use crate::gateway::sip_messages::refusal;
use crate::sip::dialog::Dialog;
use crate::sip::transactions::{ClientId, ServerId};
use crate::wire::replaces::ReferTo;
use crate::wire::{Body, Method, Request, Response};

/// Time limit from the acceptance of a REFER to its outcome.
const OUTCOME: Duration = Duration::from_secs(120);
/// Media type of NOTIFY bodies.
const SIPFRAG: &str = "message/sipfrag";

/// Our transfers of a call.
#[derive(Debug, Default)]
pub(super) struct ReferOut {
    /// The transfer in progress.
    transfer: Option<Transfer>,
    /// Our subscriptions to their progress.
    subscribed: Subscribed,
}

/// A transfer in progress.
#[derive(Debug)]
struct Transfer {
    /// Refer-To target.
    target: ReferTo,
    /// The REFER, once it has been sent.
    refer: Option<ClientId>,
    /// CSeq number of the last REFER, which identifies its subscription.
    number: u32,
    /// The leg whose dialog the target replaces.
    replaced: Option<LegId>,
    /// Time limit.
    until: Instant,
    /// When to extend its subscription, if that would expire before the time limit.
    extend_at: Option<Instant>,
}

/// Content of a NOTIFY.
#[derive(Debug, PartialEq, Eq)]
struct Progress {
    /// Status code and reason of the transferred call.
    status: Option<(u16, String)>,
    /// It is the final one.
    last: bool,
}

/// The transfer was completed; the leg whose dialog the target has replaced, if any.
pub(super) struct Completed(pub(super) Option<LegId>);

impl ReferOut {
    /// Checks that a transfer may be started.
    ///
    /// # Errors
    /// Another one is in progress (409).
    pub(super) fn may_begin(&self) -> Result<(), GatewayError> {
        if self.transfer.is_none() {
            return Ok(());
        }
        Err(GatewayError::Conflict("a transfer of this leg is in progress".to_owned()))
    }

    /// The next time something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.transfer.as_ref().map(|t| t.extend_at.map_or(t.until, |at| at.min(t.until)))
    }

    /// Sends a REFER to `target`, replacing the call of a leg if given.
    pub(super) fn begin(
        &mut self,
        c: &mut CallContext<'_>,
        dialog: &mut Dialog,
        target: ReferTo,
        replaced: Option<(LegId, String)>,
    ) {
        let (replaced, name) = replaced.unzip();
        c.publish(EventBody::LegTransferInitiated(TransferInitiated {
            kind: TransferKind::of(replaced.is_some()),
            target: target.uri.to_string().into(),
            replaces_leg_id: name,
        }));
        let until = c.now.mono + OUTCOME;
        self.transfer = Some(Transfer { target, refer: None, number: 0, replaced, until, extend_at: None });
        self.send(c, dialog);
    }

    fn send(&mut self, c: &mut CallContext<'_>, dialog: &mut Dialog) {
        let Some(transfer) = &mut self.transfer else { return };
        let referred_by = format!("<{}>", dialog.local.uri);
        let contact = c.contact_in(dialog);
        let (mut draft, hop) = dialog.request(&Method::Refer);
        // The challenged REFER has not created a subscription.
        self.subscribed.end(transfer.number);
        transfer.number = dialog.local_seq;
        self.subscribed.begin(transfer.number);
        draft.push("Refer-To", transfer.target.to_string());
        draft.push("Referred-By", referred_by);
        draft.push("Contact", contact);
        draft.push("User-Agent", c.ctx.config.sip.host.as_str());
        c.peer.send(c.ctx, &hop, OutboundRequest::Refer(c.peer.id, draft));
    }

    /// The REFER was sent.
    pub(super) fn sent(&mut self, tx: ClientId) {
        self.transfer.iter_mut().for_each(|t| t.refer = Some(tx));
    }

    /// The final response to our REFER, or its failure. `tx` is `None` if it was never sent.
    pub(super) fn handle_answer(
        &mut self,
        c: &mut CallContext<'_>,
        dialog: &mut Dialog,
        tx: Option<ClientId>,
        outcome: Result<&Response, &str>,
    ) {
        if tx.is_some() && self.transfer.as_ref().map(|t| t.refer) != Some(tx) {
            // Of an earlier transfer whose outcome is known.
            return;
        }
        let why = match outcome {
            Ok(r) if r.code < 300 => {
                self.transfer.iter_mut().for_each(|t| t.until = c.now.mono + OUTCOME);
                return;
            }
            Ok(r) if matches!(r.code, 401 | 407) && tx.is_some_and(|tx| c.peer.challenged(c.ctx, tx, r)) => {
                return self.send(c, dialog);
            }
            Ok(r) => format!("the far end refused the REFER: {} {}", r.code, r.reason),
            Err(why) => why.to_owned(),
        };
        self.forget_subscription();
        self.fail(c, TransferOutcome::failed(why));
    }

    /// The outcome is overdue, or its subscription must be extended.
    pub(super) fn handle_timeout(&mut self, c: &mut CallContext<'_>, dialog: &mut Dialog) {
        let Some(transfer) = &mut self.transfer else { return };
        if transfer.until <= c.now.mono {
            // Further NOTIFYs get 481, which terminates the subscription at the far end, too (RFC 6665
            // §4.1.3).
            self.forget_subscription();
            return self.fail(c, TransferOutcome::failed("timeout"));
        }
        if transfer.extend_at.take_if(|at| *at <= c.now.mono).is_some() {
            let left = transfer.until.saturating_duration_since(c.now.mono);
            let event = self.subscribed.event_for(transfer.number);
            let contact = c.contact_in(dialog);
            let (mut draft, hop) = dialog.request(&Method::Subscribe);
            draft.push("Event", event);
            draft.push("Expires", (left.as_secs() + 1).to_string());
            draft.push("Contact", contact);
            draft.push("User-Agent", c.ctx.config.sip.host.as_str());
            c.peer.send(c.ctx, &hop, OutboundRequest::Subscribe(c.peer.id, draft));
        }
    }

    /// The subscription of the current transfer has ended or was never created.
    fn forget_subscription(&mut self) {
        if let Some(transfer) = &self.transfer {
            self.subscribed.end(transfer.number);
        }
    }

    /// The transfer in progress, if any, has failed; the leg continues.
    pub(super) fn fail(&mut self, c: &mut CallContext<'_>, outcome: TransferOutcome) {
        if self.transfer.take().is_some() {
            c.publish(EventBody::LegTransferFailed(outcome));
        }
    }

    /// Handles NOTIFY: progress of a transfer.
    pub(super) fn handle_notify(
        &mut self,
        c: &mut CallContext<'_>,
        tx: ServerId,
        request: &Request,
    ) -> Option<Completed> {
        let Some(about) = event_of(request) else {
            refusal::bad_event(c.ctx, c.now, tx);
            return None;
        };
        let state = SubscriptionState::of(request);
        let Some(number) = self.subscribed.about(about) else {
            refusal::respond(c.ctx, c.now, tx, 481, "Subscription Does Not Exist");
            return None;
        };
        if state.is_over {
            self.subscribed.end(number);
        }
        refusal::respond(c.ctx, c.now, tx, 200, "OK");
        // NOTIFYs of an earlier transfer may continue after its outcome.
        let transfer = self.transfer.as_mut().filter(|t| t.number == number)?;
        let ends = state.ends_before(c.now.mono, transfer.until);
        transfer.extend_at = state.extend_at(c.now.mono).filter(|_| ends);
        self.progressed(c, progress_of(request, state.is_over))
    }

    fn progressed(&mut self, c: &mut CallContext<'_>, progress: Progress) -> Option<Completed> {
        let (status_code, reason, error) = match progress.status {
            Some((code, reason)) => {
                (Some(code), Some(reason).filter(|r| !r.is_empty()).map(Text::from), None)
            }
            None => (None, None, Some("the far end did not say how it went".into())),
        };
        let outcome = TransferOutcome { status_code, reason, error };
        match status_code {
            Some(200..=299) => {
                let transfer = self.transfer.take()?;
                c.publish(EventBody::LegTransferCompleted(outcome));
                return Some(Completed(transfer.replaced));
            }
            Some(..200) if !progress.last => c.publish(EventBody::LegTransferProgress(outcome)),
            None if !progress.last => {}
            Some(_) | None => self.fail(c, outcome),
        }
        None
    }
}

/// Parses the body of a NOTIFY, a SIP fragment (RFC 3420), and whether it is the final one.
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
