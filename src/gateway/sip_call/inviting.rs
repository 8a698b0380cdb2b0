//! An outbound call until it is answered: INVITEs to one server after another or to several phones at once
//! (RFC 3261 §16.7), and their responses.

use std::time::Instant;

use super::early::EarlyDialogs;
use super::event::CallEvent;
use super::failover::FailoverList;
use super::out_request::OutRequest;
use super::parts::CallContext;
use super::peer::Peer;
use super::prack::AcknowledgedDialogs;
use super::refusal_reasons::{reason_of, weight};
use super::session_timer::{CallTimer, may_lengthen};
use crate::gateway::context::Context;
use crate::gateway::events::{EventBody, LegState};
use crate::gateway::legs::leg_id::Kind;
use crate::gateway::registrar::PhoneRoute;
use crate::gateway::requests::{self, Redirections, RequestContext, without_headers};
use crate::sdp::{Direction, Negotiated};
use crate::sip::dialog::Dialog;
use crate::sip::flow::Flow;
use crate::sip::session_timer::SessionExpires;
use crate::sip::transactions::{ClientId, Failure};
use crate::wire::{Method, Request, Response, Uri};

/// An outbound call until it is answered.
#[derive(Debug)]
pub struct Inviting {
    /// The INVITE; `None` during target resolution.
    tx: Option<ClientId>,
    /// Further INVITEs if several phones ring.
    branches: Vec<ClientId>,
    /// They are sent over registered flows; so are later requests.
    pinned: bool,
    /// Redirections so far.
    redirections: Redirections,
    /// Servers not tried yet.
    others: FailoverList,
    /// Number of retries with a longer session interval.
    lengthened: u8,
    request: OutRequest,
    /// CSeq number of the last attempt.
    cseq: u32,
    acknowledged: AcknowledgedDialogs,
    dialogs: EarlyDialogs,
    /// Media is open.
    early: bool,
    /// Ringing time limit.
    until: Option<Instant>,
    /// The most informative error response.
    refusal: Option<(u16, String)>,
}

/// Result of an unanswered call.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Still in progress.
    Pending,
    /// A 2xx was received.
    Accepted,
    /// To be placed again at this target.
    Redirected(Uri),
    /// Failed for this reason.
    Failed(String),
}

impl From<Result<(), &'static str>> for Outcome {
    fn from(sent: Result<(), &'static str>) -> Self {
        sent.map_or_else(|why| Self::Failed(why.to_owned()), |()| Self::Pending)
    }
}

impl Inviting {
    /// A call to be placed; INVITEs are numbered from `cseq`. `until`: ringing time limit.
    #[must_use]
    pub fn new(request: OutRequest, cseq: u32, until: Option<Instant>) -> Self {
        Self {
            tx: None,
            branches: Vec::new(),
            pinned: false,
            redirections: Redirections::of(&request.target),
            others: FailoverList::default(),
            lengthened: 0,
            request,
            cseq,
            acknowledged: AcknowledgedDialogs::default(),
            dialogs: EarlyDialogs::default(),
            early: false,
            until,
            refusal: None,
        }
    }

    /// True if this INVITE may still be answered.
    pub(super) fn has(&self, tx: ClientId) -> bool {
        self.tx == Some(tx) || self.branches.contains(&tx)
    }

    /// True if one of them rings in the early dialog with this tag.
    pub(super) fn rings(&self, tag: &str) -> bool {
        self.dialogs.with_tag(tag).any(|tx| self.has(tx))
    }

    /// True once our offer has a final answer in the early dialog with this tag (RFC 3262 §5).
    pub(super) fn has_answer(&self, tag: Option<&str>) -> bool {
        self.acknowledged.has(tag) && self.dialogs.has_answer(tag)
    }

    /// True once media is open.
    pub(super) fn is_early(&self) -> bool {
        self.early
    }

    /// True if it is sent over registered flows.
    pub(super) fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// Ringing time limit.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.until
    }

    /// The next time something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until.into_iter().chain(self.others.deadline()).min()
    }

    /// The most informative error response.
    pub(super) fn take_refusal(&mut self) -> Option<(u16, String)> {
        self.refusal.take()
    }

    /// Sets the error response to be reported.
    pub(super) fn set_refusal(&mut self, code: u16, reason: &str) {
        self.refusal = Some((code, reason.to_owned()));
    }

    /// The PRACKs of its early dialogs.
    pub(super) fn acknowledged_mut(&mut self) -> &mut AcknowledgedDialogs {
        &mut self.acknowledged
    }

    fn all(&self) -> impl Iterator<Item = ClientId> {
        self.tx.into_iter().chain(self.branches.iter().copied())
    }

    fn is_forked(&self) -> bool {
        !self.branches.is_empty()
    }

    /// Sends the INVITE after a redirection, over its trunk or to `next`.
    pub(super) fn follow(&self, ctx: &mut Context, peer: &Peer, next: Uri) {
        let hop = self.request.way.as_ref().filter(|w| w.route).map_or(next, |w| w.hop.clone());
        peer.send_invite(ctx, &hop);
    }

    /// Rings all phones of a user; a single one is called normally, so that it may redirect the call.
    pub(super) fn call_phones(
        &mut self,
        c: &mut CallContext<'_>,
        phones: &[PhoneRoute],
    ) -> Result<(), &'static str> {
        for phone in phones {
            self.pinned = true;
            self.request.target = phone.contact.clone();
            c.peer.user = Some(phone.user.clone());
            self.invite(c, phone.flow)?;
            if phones.len() > 1 {
                self.branches.extend(self.tx.take());
            }
        }
        if phones.is_empty() { Err("unavailable") } else { Ok(()) }
    }

    /// Calls the best located server, and keeps the others for failover.
    pub(super) fn call_servers(
        &mut self,
        c: &mut CallContext<'_>,
        targets: Vec<Flow>,
    ) -> Result<(), &'static str> {
        self.others = FailoverList::new(targets);
        let first = self.others.take_next().ok_or("invite_failed")?;
        self.others.begin(c.now.mono);
        self.invite(c, first)
    }

    /// Sends the INVITE to a target.
    fn invite(&mut self, c: &mut CallContext<'_>, target: Flow) -> Result<(), &'static str> {
        const FAILED: &str = "invite_failed";
        c.peer.flow = Some(target);
        c.session.take_port(c.ctx, c.peer, Some(target.addr.ip())).map_err(|_| FAILED)?;
        c.session.fit_to(c.ctx, c.peer, target);
        self.cseq += 1;
        let offer = c.session.offer().ok_or(FAILED)?;
        let mut draft = self.request.draft(c.ctx, self.cseq, target, offer);
        c.peer.authorize(c.ctx, &Method::Invite, &mut draft, target);
        let tx = c.ctx.sip.request(c.now.mono, &Method::Invite, draft, target).map_err(|_| FAILED)?;
        c.ctx.requests.sent(tx, RequestContext::Invite(c.peer.id));
        if self.pinned {
            c.ctx.requests.forks_mut().pin(tx);
        }
        self.tx = Some(tx);
        Ok(())
    }

    /// Abandons all INVITEs that may still be answered.
    pub(super) fn abandon(&mut self, c: &mut CallContext<'_>) {
        let all: Vec<ClientId> = self.all().collect();
        for tx in all {
            requests::abandon_invite(c.ctx, c.now, tx, c.peer.parting());
        }
    }

    /// Abandons all other INVITEs, since this one was answered.
    fn cancel_branches(&mut self, c: &mut CallContext<'_>, but: ClientId) {
        let others: Vec<ClientId> = self.all().filter(|tx| *tx != but).collect();
        self.branches.clear();
        for tx in others {
            requests::abandon_invite(c.ctx, c.now, tx, c.peer.parting());
        }
    }

    /// A server has failed or is overloaded: result of calling the next one, `None` if there is none.
    fn try_next_server(&mut self, c: &mut CallContext<'_>) -> Option<Result<(), &'static str>> {
        // No failover after early media.
        if self.early {
            return None;
        }
        let next = self.others.take_next()?;
        // Before the allowed server of the credentials is reset.
        if let Some(tx) = self.tx.take() {
            requests::abandon_invite(c.ctx, c.now, tx, c.peer.parting());
        }
        // The next address may be of the other family.
        c.session.begin_again(c.ctx);
        // All servers of the called name may get credentials; those of a redirection may not.
        if self.redirections.is_direct() || self.request.way.as_ref().is_some_and(|w| w.route) {
            c.peer.auth.iter_mut().for_each(|a| a.forget_whom());
        }
        c.ctx.counters.signalling.failovers += 1;
        self.others.begin(c.now.mono);
        Some(self.invite(c, next))
    }

    /// Skips a server that has not responded in time.
    pub(super) fn handle_timeout(&mut self, c: &mut CallContext<'_>) -> Outcome {
        if !self.others.is_due(c.now.mono) {
            return Outcome::Pending;
        }
        self.try_next_server(c).map_or(Outcome::Pending, Outcome::from)
    }

    /// Handles a response to one of the INVITEs.
    pub(super) fn handle_response(
        &mut self,
        c: &mut CallContext<'_>,
        timer: &mut CallTimer,
        (tx, response): (ClientId, &Response),
    ) -> Outcome {
        self.others.server_lives();
        if response.code != 199 {
            self.heard_from(c, tx);
        }
        self.note_early(tx, response);
        match response.code {
            101..=199
                if !self.acknowledged.acknowledge(
                    c.ctx,
                    c.peer,
                    response,
                    &self.request.target,
                    self.pinned,
                ) => {}
            199 => self.early_dialog_over(c, tx, response),
            100..=199 => {
                let progress = CallEvent::Progressed(response.code, response.reason.clone());
                c.report(progress);
                self.progress(c, (tx, response));
            }
            200..=299 => return Outcome::Accepted,
            401 | 407 | 422 | 488 if !self.is_forked() && self.may_try_again(c, timer, (tx, response)) => {
                c.ctx.requests.forget(tx);
                let again = c.peer.flow.map(|flow| self.invite(c, flow));
                return again.map_or(Outcome::Pending, Outcome::from);
            }
            300..=699 => return self.refused(c, (tx, response)),
            _ => {}
        }
        Outcome::Pending
    }

    fn refused(&mut self, c: &mut CallContext<'_>, (tx, response): (ClientId, &Response)) -> Outcome {
        if self.others_ring(c, tx, (response.code, &response.reason)) {
            return Outcome::Pending;
        }
        if response.code == 503
            && let Some(tried) = self.try_next_server(c)
        {
            return tried.into();
        }
        c.ctx.requests.forget(tx);
        if response.code < 400 {
            return self.redirected(c, response);
        }
        // An earlier phone's response may be more informative.
        let said = self.refusal.get_or_insert((response.code, response.reason.clone()));
        Outcome::Failed(reason_of(said.0))
    }

    /// 3xx: continues with the next target, if there is one and the limit is not reached.
    fn redirected(&mut self, c: &mut CallContext<'_>, response: &Response) -> Outcome {
        let Some(next) = self.redirections.next(response, |uri| Some(without_headers(uri))) else {
            self.refusal.get_or_insert((response.code, response.reason.clone()));
            return Outcome::Failed("invite_failed".to_owned());
        };
        (self.tx, self.pinned, self.others) = (None, false, FailoverList::default());
        self.request.target = next.clone();
        // The new target is not necessarily the user whose phone redirected.
        c.peer.user = None;
        if !self.early {
            c.session.begin_again(c.ctx);
        }
        Outcome::Redirected(next)
    }

    /// Handles one of the INVITEs failing without final response.
    pub(super) fn handle_failure(
        &mut self,
        c: &mut CallContext<'_>,
        (tx, failure): (ClientId, Failure),
    ) -> Outcome {
        let as_response = match failure {
            Failure::Timeout => (408, "Request Timeout"),
            Failure::Transport => (503, "Service Unavailable"),
        };
        if self.others_ring(c, tx, as_response) {
            return Outcome::Pending;
        }
        if let Some(tried) = self.try_next_server(c) {
            return tried.into();
        }
        // A phone's response is more informative than another's silence.
        let said = self.refusal.as_ref().map(|(code, _)| *code);
        // Treat a timeout as a 408 response (RFC 3261 §8.1.3.1).
        if failure == Failure::Timeout {
            self.refusal.get_or_insert((as_response.0, as_response.1.to_owned()));
        }
        Outcome::Failed(said.map_or("invite_failed".to_owned(), reason_of))
    }

    /// One of several phones has refused or is unreachable: true while others ring. A decline (6xx) applies
    /// to all.
    fn others_ring(&mut self, c: &mut CallContext<'_>, tx: ClientId, (code, reason): (u16, &str)) -> bool {
        if !self.branches.contains(&tx) {
            return false;
        }
        self.branches.retain(|t| *t != tx);
        if self.refusal.as_ref().is_none_or(|(best, _)| weight(code) < weight(*best)) {
            self.refusal = Some((code, reason.to_owned()));
        }
        if code >= 600 {
            self.cancel_branches(c, tx);
            return false;
        }
        let left = self.is_forked();
        c.ctx.requests.forget(tx);
        if left && self.forget_answered() {
            self.hear_another(c);
        }
        left
    }

    /// True if the same INVITE with additional headers may succeed.
    fn may_try_again(
        &mut self,
        c: &mut CallContext<'_>,
        timer: &mut CallTimer,
        (tx, response): (ClientId, &Response),
    ) -> bool {
        match response.code {
            422 => self.ask_for_longer(timer, response),
            488 => c.session.insist_on_encryption(),
            _ => c.peer.challenged(c.ctx, tx, response),
        }
    }

    /// 422: retries with a longer session interval, unless already requested (RFC 4028 §7.3).
    fn ask_for_longer(&mut self, timer: &mut CallTimer, response: &Response) -> bool {
        timer.note_least(&response.common.headers);
        let least = SessionExpires::least(&response.common.headers);
        let asked = std::mem::replace(&mut self.request.session, least);
        may_lengthen(&mut self.lengthened, asked, least)
    }

    /// If several phones ring, the flow of the responding one is used.
    fn heard_from(&self, c: &mut CallContext<'_>, tx: ClientId) {
        if let Some(target) = c.ctx.sip.target_of(tx).filter(|_| self.is_forked()) {
            c.peer.flow = Some(target);
            c.session.fit_to(c.ctx, c.peer, target);
        }
    }

    /// Records the early dialog of a ringing phone.
    fn note_early(&mut self, tx: ClientId, response: &Response) {
        self.forget_answered();
        if (101..=198).contains(&response.code)
            && let Some(tag) = response.common.to.tag()
        {
            self.dialogs.note_rung((tx, Some(tag.to_owned())));
        }
    }

    /// Removes early dialogs of completed INVITEs; true if one of them was being played.
    fn forget_answered(&mut self) -> bool {
        let (only, branches) = (self.tx, &self.branches);
        self.dialogs.retain(|(tx, _)| only == Some(*tx) || branches.contains(tx))
    }

    /// 101 to 198: a session description is the answer of its early dialog, and starts early media.
    fn progress(&mut self, c: &mut CallContext<'_>, (tx, response): (ClientId, &Response)) {
        // A 100 creates no dialog.
        if response.code == 100 {
            return;
        }
        let Ok(Some(stream)) = c.session.read_answer(c.peer, &response.common) else { return };
        let key = (tx, response.common.to.tag().map(str::to_owned));
        if !self.dialogs.note_answer(key, stream) {
            return;
        }
        c.session.agree(stream);
        c.report(CallEvent::SessionChanged);
        if !std::mem::replace(&mut self.early, true) {
            let state = LegState { leg_type: Kind::SipOutbound };
            c.publish(EventBody::LegEarlyMedia(state));
            c.report(CallEvent::EarlyMedia);
        }
    }

    /// The far end has changed the session of its early dialog.
    pub(super) fn note_early_change(&mut self, request: &Request, stream: Negotiated) {
        self.dialogs.change_answer(request.common.from.tag(), stream);
    }

    /// 199 (RFC 6228): this early dialog has ended, its INVITE has not. A description in it is not an answer.
    fn early_dialog_over(&mut self, c: &mut CallContext<'_>, tx: ClientId, response: &Response) {
        let tag = response.common.to.tag();
        self.acknowledged.end(tag);
        if self.dialogs.retain(|(t, own)| *t != tx || own.as_deref() != tag) {
            self.hear_another(c);
        }
    }

    /// The early media being played has ended: switches to another dialog, or none.
    fn hear_another(&mut self, c: &mut CallContext<'_>) {
        let event = if let Some((tx, stream)) = self.dialogs.hear_next() {
            c.session.agree(stream);
            self.heard_from(c, tx);
            CallEvent::SessionChanged
        } else if let Some(stream) = c.session.disagree() {
            CallEvent::SessionPaused(Negotiated { direction: Direction::Inactive, ..stream })
        } else {
            return;
        };
        c.report(event);
    }

    /// A 2xx was received: returns its dialog, and whether there is a usable answer to our offer, in it or in
    /// the early dialog it confirms. An answer that differs from the early one replaces it: proxies in the
    /// middle of a call generate new ones. Other INVITEs are abandoned. `None`: the 2xx cannot be
    /// acknowledged; the far end's timer ends the call.
    pub(super) fn accepted(
        &mut self,
        c: &mut CallContext<'_>,
        (tx, response): (ClientId, &Response),
    ) -> Option<(Dialog, Result<(), &'static str>)> {
        let mut dialog = Dialog::uac(response, &self.request.target).ok()?;
        dialog.local_seq = self.acknowledged.last_number(&dialog);
        self.cancel_branches(c, tx);
        dialog.pinned = c.peer.flow.filter(|_| self.pinned).and_then(Flow::uri);
        let early = self.dialogs.answer_of(tx, response.common.to.tag());
        let answer = c.session.read_answer(c.peer, &response.common);
        let agreed = answer.and_then(|own| own.or(early).ok_or("invite_failed"));
        Some((dialog, agreed.map(|stream| c.session.agree(stream))))
    }

    /// Error response to a request of the far end before it has answered. A callee may not send BYE (RFC 3261
    /// §15), and without an early dialog nobody, e.g. another phone that received the INVITE, may end or
    /// change the call. A session change may have overtaken the ringing response, and can be retried.
    pub(super) fn refusal_of(&self, request: &Request) -> Option<(u16, &'static str)> {
        let rings = || request.common.from.tag().is_some_and(|tag| self.rings(tag));
        let changes = matches!(request.method, Method::Invite | Method::Update);
        match () {
            () if request.method != Method::Bye && rings() => None,
            () if changes => Some((491, "Request Pending")),
            () => Some((481, "Call/Transaction Does Not Exist")),
        }
    }
}
