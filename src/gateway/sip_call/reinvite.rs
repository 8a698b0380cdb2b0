//! Session changes by us: hold, resume and refresh by re-INVITE or UPDATE (RFC 3261 §14.1, RFC 3264 §8.4, RFC
//! 4028 §7.4).

use std::time::{Duration, Instant};

use super::crossing::LONGEST_WAIT;
use super::parts::CallContext;
use super::session_timer::CallTimer;
use crate::gateway::events::{CommandFailed, EventBody};
use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::replies::{Handle, Reply};
use crate::gateway::requests::{OutboundRequest, RequestContext};
use crate::gateway::sip_messages::capabilities::{ALLOW, SUPPORTED};
use crate::sdp::{Direction, Local};
use crate::sip::dialog::Dialog;
use crate::sip::transactions::{ClientId, Failure};
use crate::wire::{Method, Response};

/// Without a final response by then, the change and the call have failed (RFC 3261 §14.1): timer B.
const GIVE_UP: Duration = Duration::from_secs(32);
/// Failure reason if a change could not be delivered.
pub(super) const UNREACHABLE: &str = "the far end cannot be reached";
/// Interval at which a delayed change is retried.
const TURN: Duration = Duration::from_millis(200);

/// A re-INVITE of ours, from the command to its final response.
#[derive(Debug)]
pub(super) struct Reinvite {
    purpose: ReinvitePurpose,
    /// Handle of the API request, until it is replied to.
    asker: Option<Handle>,
    /// Time limit of the API reply; after that an event reports the outcome.
    reply_by: Instant,
    /// Time of the request; no retries more than [`GIVE_UP`] later.
    wanted: Instant,
    /// Time of the last attempt, which may take [`GIVE_UP`].
    asked: Instant,
    /// Number of retries with a longer session interval.
    lengthened: u8,
    /// Method of the last attempt: INVITE or UPDATE.
    method: Method,
    step: Step,
}

/// Purpose of a re-INVITE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReinvitePurpose {
    Hold,
    Resume,
    /// Refresh of the session; by UPDATE if the far end supports it.
    Refresh,
}

#[derive(Debug)]
enum Step {
    /// Another INVITE of this dialog is in progress: retried at this time.
    Waiting(Instant),
    /// The target is being resolved.
    Addressing,
    /// Sent, with this description of our end.
    Asked(ClientId, Local),
}

/// Effect of a response, or its absence, on a re-INVITE.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing yet.
    Pending,
    /// To be sent again now.
    Again,
    /// Accepted, with this description of our end.
    Agreed(Local),
    /// Failed for this reason; the call continues.
    Failed(String),
    /// The far end does not respond any more: the call ends.
    Dead,
}

/// Inputs for building a re-INVITE besides the session.
pub(super) struct Asking<'a> {
    pub(super) dialog: &'a mut Dialog,
    pub(super) timer: &'a CallTimer,
    /// The media direction we want.
    pub(super) wanted: Direction,
    /// An INVITE of the far end is in progress.
    pub(super) busy: bool,
    /// The call uses Opus capacity.
    pub(super) holds_opus: bool,
}

impl Reinvite {
    /// Requested now by `asker`, which gets its reply until `reply_by`.
    pub(super) fn new(purpose: ReinvitePurpose, now: Instant, asker: Option<(Handle, Instant)>) -> Self {
        Self {
            purpose,
            asker: asker.map(|(handle, _)| handle),
            reply_by: asker.map_or(now, |(_, by)| by),
            wanted: now,
            asked: now,
            lengthened: 0,
            method: Method::Invite,
            step: Step::Waiting(now),
        }
    }

    /// What it is for.
    pub(super) fn purpose(&self) -> ReinvitePurpose {
        self.purpose
    }

    /// Time of the last attempt.
    pub(super) fn asked_at(&self) -> Instant {
        self.asked
    }

    /// The next time something is due.
    pub(super) fn deadline(&self) -> Instant {
        let own = match self.step {
            Step::Waiting(until) => until.min(self.give_up()),
            Step::Addressing | Step::Asked(..) => self.give_up(),
        };
        if self.asker.is_some() { own.min(self.reply_by) } else { own }
    }

    fn give_up(&self) -> Instant {
        if matches!(self.step, Step::Asked(..)) { self.asked + GIVE_UP } else { self.wanted + GIVE_UP }
    }

    /// True if an INVITE waits for the far end's response.
    pub(super) fn is_inviting(&self) -> bool {
        matches!(self.step, Step::Asked(..)) && self.method == Method::Invite
    }

    /// True if our INVITE is in progress.
    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self.step, Step::Waiting(_))
    }

    /// Sends it, unless another INVITE of the dialog is in progress (RFC 3261 §14.1).
    ///
    /// # Errors
    /// The call has no media.
    pub(super) fn ask(&mut self, c: &mut CallContext<'_>, asking: Asking<'_>) -> Result<(), String> {
        let Asking { dialog, timer, wanted, busy, holds_opus } = asking;
        let update = self.purpose == ReinvitePurpose::Refresh && timer.may_update();
        // An UPDATE without offer does not conflict (RFC 3311 §5.1).
        if busy && !update {
            self.step = Step::Waiting(c.now.mono + TURN);
            return Ok(());
        }
        if !c.session.is_described() {
            return Err("the call has no media".to_owned());
        }
        let direction = match self.purpose {
            ReinvitePurpose::Hold => Direction::SendOnly,
            ReinvitePurpose::Resume => Direction::SendRecv,
            ReinvitePurpose::Refresh => wanted,
        };
        let method = if update { Method::Update } else { Method::Invite };
        let contact = c.contact_in(dialog);
        let (mut draft, hop) = dialog.request(&method);
        draft.push("Contact", contact);
        draft.push("Allow", ALLOW);
        draft.push("Supported", SUPPORTED);
        draft.push("User-Agent", c.ctx.config.sip.host.as_str());
        timer.ask(&mut draft);
        let repeats = self.purpose == ReinvitePurpose::Refresh;
        let described = if update {
            c.session.local().map(|local| (None, local))
        } else {
            let offer = c.session.reoffer(c.ctx, direction, repeats, holds_opus);
            offer.map(|(text, local)| (Some(text), local))
        };
        let Some((offer, local)) = described else { return Err("the call has no media".to_owned()) };
        if let Some(offer) = offer {
            draft.set_body("application/sdp", offer.into_bytes());
        }
        self.step = Step::Addressing;
        self.method = method.clone();
        c.peer.send(c.ctx, &hop, OutboundRequest::Change(c.peer.id, method, draft, local));
        Ok(())
    }

    /// The request was sent.
    pub(super) fn sent(&mut self, now: Instant, tx: ClientId, local: Local) {
        self.step = Step::Asked(tx, local);
        self.asked = now;
    }

    /// The far end's offer was answered during target resolution of ours: ours is rebuilt afterwards.
    pub(super) fn postpone(&mut self, c: &mut CallContext<'_>) {
        if matches!(self.step, Step::Addressing) {
            self.step = Step::Waiting(c.now.mono + TURN);
            c.ctx.requests.cancel_offer(c.peer.id);
        }
    }

    /// Handles a timeout.
    pub(super) fn handle_timeout(&mut self, c: &mut CallContext<'_>) -> Verdict {
        if self.give_up() <= c.now.mono {
            // Unless the far end was silent, the call is as before (RFC 3261 §14.1).
            let why = match self.step {
                Step::Asked(tx, _) if !c.ctx.sip.is_undelivered(tx) => return Verdict::Dead,
                Step::Asked(tx, _) => {
                    // A late 2xx is still acknowledged.
                    c.ctx.requests.sent(tx, RequestContext::AbandonedChange);
                    self.abandon(c);
                    UNREACHABLE
                }
                Step::Addressing => {
                    c.ctx.requests.cancel_offer(c.peer.id);
                    UNREACHABLE
                }
                Step::Waiting(_) => "the far end was busy with changes of its own",
            };
            return Verdict::Failed(why.to_owned());
        }
        if self.reply_by <= c.now.mono
            && let Some(asker) = self.asker.take()
        {
            let wait = c.ctx.config.sip.api_wait_s;
            let why = format!("the far end has not answered within {wait} s; an event will tell the outcome");
            c.ctx.replies.send(asker, Err(GatewayError::Conflict(why)));
        }
        match self.step {
            Step::Waiting(until) if until <= c.now.mono => Verdict::Again,
            Step::Waiting(_) | Step::Addressing | Step::Asked(..) => Verdict::Pending,
        }
    }

    /// Handles a response.
    pub(super) fn handle_response(
        &mut self,
        c: &mut CallContext<'_>,
        timer: &mut CallTimer,
        tx: ClientId,
        response: &Response,
    ) -> Verdict {
        let local = match &self.step {
            Step::Asked(asked, local) if *asked == tx && response.code >= 200 => local,
            // A retransmission of the response in force; its ACK is repeated elsewhere.
            Step::Asked(..) | Step::Waiting(_) | Step::Addressing => return Verdict::Pending,
        };
        match response.code {
            200..=299 => Verdict::Agreed(local.clone()),
            401 | 407 if c.peer.challenged(c.ctx, tx, response) => {
                c.ctx.requests.forget(tx);
                Verdict::Again
            }
            // Glare: the owner of the Call-ID waits longer (RFC 3261 §14.1).
            491 => {
                let (tens, others) = (c.ctx.rng.below(191), c.ctx.rng.below(201));
                let wait = if c.peer.outbound { 2100 + 10 * tens } else { 10 * others };
                self.wait(c.now.mono, Duration::from_millis(wait.into()))
            }
            // Another change is in progress there (RFC 3261 §14.2, RFC 3311 §5.2).
            500 if retry_after(response).is_some() => {
                self.wait(c.now.mono, retry_after(response).unwrap_or_default())
            }
            422 if timer.lengthen(&response.common.headers, &mut self.lengthened) => {
                c.ctx.requests.forget(tx);
                Verdict::Again
            }
            // The dialog does not exist any more (RFC 3261 §12.2.1.2).
            408 | 481 => Verdict::Dead,
            405 | 501 if response.common.cseq_method == Method::Update => {
                timer.update_refused();
                Verdict::Again
            }
            code => Verdict::Failed(format!("the far end refused: {code} {}", response.reason)),
        }
    }

    fn wait(&mut self, now: Instant, wait: Duration) -> Verdict {
        self.step = Step::Waiting(now + wait);
        Verdict::Pending
    }

    /// Failed without final response. A delivery failure counts as a 503, which does not end the dialog (RFC
    /// 3261 §8.1.3.1, §14.1); a refresh is retried before the session expires (RFC 4028 §10).
    pub(super) fn handle_failure(&self, tx: ClientId, failure: Failure) -> Verdict {
        match (&self.step, failure) {
            (Step::Asked(asked, _), Failure::Timeout) if *asked == tx => Verdict::Dead,
            (Step::Asked(asked, _), Failure::Transport) if *asked == tx => {
                Verdict::Failed(UNREACHABLE.to_owned())
            }
            (Step::Asked(..) | Step::Waiting(_) | Step::Addressing, _) => Verdict::Pending,
        }
    }

    /// The call ends: cancels a pending INVITE, which could otherwise stay open forever.
    pub(super) fn abandon(&self, c: &mut CallContext<'_>) {
        if let Step::Asked(tx, _) = self.step {
            c.ctx.sip.cancel(c.now.mono, tx);
        }
    }

    /// Done or failed: replies to the API, or publishes an event if the reply was already sent.
    pub(super) fn end(self, c: &mut CallContext<'_>, outcome: Result<(), String>) {
        let command = match self.purpose {
            ReinvitePurpose::Hold => Some("hold"),
            ReinvitePurpose::Resume => Some("unhold"),
            ReinvitePurpose::Refresh => None,
        };
        match (self.asker, command, outcome) {
            (Some(asker), _, outcome) => {
                let reply = outcome.map(|()| Reply::Changed).map_err(GatewayError::Conflict);
                c.ctx.replies.send(asker, reply);
            }
            // Success is published elsewhere.
            (None, Some(command), Err(e)) => {
                c.publish(EventBody::LegCommandFailed(CommandFailed { command, error: e.into() }));
            }
            (None, _, _) => {}
        }
    }
}

/// Retry-After of a conflicting request, if it is short (RFC 3261 §20.33).
fn retry_after(response: &Response) -> Option<Duration> {
    let field = response.common.headers.get("Retry-After")?;
    let seconds: u32 = field.split([';', '(', ' ']).next()?.trim().parse().ok()?;
    (seconds <= LONGEST_WAIT).then(|| Duration::from_secs(seconds.into()))
}
