//! A call of ours until it is answered: its INVITEs, to one server after the other or to several phones at once (RFC 3261
//! §16.7), and what comes back.

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
use crate::gateway::leg_id::Kind;
use crate::gateway::registrar::PhoneRoute;
use crate::gateway::requests::{self, Redirections, RequestContext, without_headers};
use crate::sdp::{Direction, Negotiated};
use crate::sip::dialog::Dialog;
use crate::sip::session_timer::SessionExpires;
use crate::sip::target::Target;
use crate::sip::transactions::{ClientId, Failure};
use crate::wire::{Method, Request, Response, Uri};

/// A call of ours until it is answered.
#[derive(Debug)]
pub struct Inviting {
    /// The INVITE; `None` while a name is looked up.
    tx: Option<ClientId>,
    /// Further INVITEs, where several phones ring.
    branches: Vec<ClientId>,
    /// They go to phones the way they registered; so does what follows.
    pinned: bool,
    /// Where it was sent on.
    redirections: Redirections,
    /// Servers not tried yet.
    others: FailoverList,
    /// Times that a longer session was asked for.
    lengthened: u8,
    request: OutRequest,
    /// CSeq number of the last attempt.
    cseq: u32,
    acknowledged: AcknowledgedDialogs,
    dialogs: EarlyDialogs,
    /// Media is on.
    early: bool,
    /// It ends then.
    until: Option<Instant>,
    /// The final response that tells most of why it was refused.
    refusal: Option<(u16, String)>,
}

/// What a call that is not answered yet comes to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It goes on.
    Pending,
    /// A 2xx has come.
    Accepted,
    /// It is to be placed anew there.
    Redirected(Uri),
    /// It is over, for this reason.
    Failed(String),
}

impl From<Result<(), &'static str>> for Outcome {
    fn from(sent: Result<(), &'static str>) -> Self {
        sent.map_or_else(|why| Self::Failed(why.to_owned()), |()| Self::Pending)
    }
}

impl Inviting {
    /// A call that is to be placed; its INVITEs are numbered from `cseq` on. `until`: it rings no longer.
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

    /// True when this INVITE is one that may still be answered.
    pub(super) fn has(&self, tx: ClientId) -> bool {
        self.tx == Some(tx) || self.branches.contains(&tx)
    }

    /// True when one of them rings in the early dialog with this tag.
    pub(super) fn rings(&self, tag: &str) -> bool {
        self.dialogs.with_tag(tag).any(|tx| self.has(tx))
    }

    /// True once our offer is answered in the early dialog of the far end with this tag, for good (RFC 3262 §5).
    pub(super) fn has_answer(&self, tag: Option<&str>) -> bool {
        self.acknowledged.has(tag) && self.dialogs.has_answer(tag)
    }

    /// True once media is on.
    pub(super) fn is_early(&self) -> bool {
        self.early
    }

    /// True when it goes to phones the way they registered.
    pub(super) fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// When it ends unanswered.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.until
    }

    /// The next moment something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until.into_iter().chain(self.others.deadline()).min()
    }

    /// The final response that tells most of why it was refused.
    pub(super) fn take_refusal(&mut self) -> Option<(u16, String)> {
        self.refusal.take()
    }

    /// It is to count as refused with this response.
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

    /// Sends the INVITE after a redirection, by its trunk or to `next`.
    pub(super) fn follow(&self, ctx: &mut Context, peer: &Peer, next: Uri) {
        let hop = self.request.way.as_ref().filter(|w| w.route).map_or(next, |w| w.hop.clone());
        peer.send_invite(ctx, &hop);
    }

    /// Rings all phones of a user; one alone is called like anybody, so that it may send the call elsewhere.
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

    /// Calls the best of the servers that were found, and keeps the others.
    pub(super) fn call_servers(
        &mut self,
        c: &mut CallContext<'_>,
        targets: Vec<Target>,
    ) -> Result<(), &'static str> {
        self.others = FailoverList::new(targets);
        let first = self.others.take_next().ok_or("invite_failed")?;
        self.others.begin(c.now.mono);
        self.invite(c, first)
    }

    /// Sends the INVITE to an address.
    fn invite(&mut self, c: &mut CallContext<'_>, target: Target) -> Result<(), &'static str> {
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

    /// Gives up all INVITEs that may still be answered.
    pub(super) fn abandon(&mut self, c: &mut CallContext<'_>) {
        let all: Vec<ClientId> = self.all().collect();
        for tx in all {
            requests::abandon_invite(c.ctx, c.now, tx, c.peer.parting());
        }
    }

    /// Gives up the others, since this one was answered.
    fn cancel_branches(&mut self, c: &mut CallContext<'_>, but: ClientId) {
        let others: Vec<ClientId> = self.all().filter(|tx| *tx != but).collect();
        self.branches.clear();
        for tx in others {
            requests::abandon_invite(c.ctx, c.now, tx, c.peer.parting());
        }
    }

    /// A server has failed, or has no room: whether another one could be called, `None` when there is none.
    fn try_next_server(&mut self, c: &mut CallContext<'_>) -> Option<Result<(), &'static str>> {
        // What has sounded already stays where it is.
        if self.early {
            return None;
        }
        let next = self.others.take_next()?;
        // While it is known whom the credentials are for.
        if let Some(tx) = self.tx.take() {
            requests::abandon_invite(c.ctx, c.now, tx, c.peer.parting());
        }
        // Its addresses may be of the other family.
        c.session.begin_again(c.ctx);
        // All servers of a name are whom the leg called; those of a redirection are not.
        if self.redirections.is_direct() || self.request.way.as_ref().is_some_and(|w| w.route) {
            c.peer.auth.iter_mut().for_each(|a| a.forget_whom());
        }
        c.ctx.counters.signalling.failovers += 1;
        self.others.begin(c.now.mono);
        Some(self.invite(c, next))
    }

    /// Passes over a server that has said nothing for too long.
    pub(super) fn handle_timeout(&mut self, c: &mut CallContext<'_>) -> Outcome {
        if !self.others.is_due(c.now.mono) {
            return Outcome::Pending;
        }
        self.try_next_server(c).map_or(Outcome::Pending, Outcome::from)
    }

    /// A response to one of the INVITEs.
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
        // What an earlier phone said may tell more.
        let said = self.refusal.get_or_insert((response.code, response.reason.clone()));
        Outcome::Failed(reason_of(said.0))
    }

    /// 3xx: the next target, if there is one that can be called and not too many were tried.
    fn redirected(&mut self, c: &mut CallContext<'_>, response: &Response) -> Outcome {
        let Some(next) = self.redirections.next(response, |uri| Some(without_headers(uri))) else {
            self.refusal.get_or_insert((response.code, response.reason.clone()));
            return Outcome::Failed("invite_failed".to_owned());
        };
        (self.tx, self.pinned, self.others) = (None, false, FailoverList::default());
        self.request.target = next.clone();
        // Whoever is called now need not be the user whose phone said so.
        c.peer.user = None;
        if !self.early {
            c.session.begin_again(c.ctx);
        }
        Outcome::Redirected(next)
    }

    /// No response will come to one of the INVITEs.
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
        // One phone's word tells more than another's silence.
        let said = self.refusal.as_ref().map(|(code, _)| *code);
        // A timeout counts as a 408 response (RFC 3261 §8.1.3.1).
        if failure == Failure::Timeout {
            self.refusal.get_or_insert((as_response.0, as_response.1.to_owned()));
        }
        Outcome::Failed(said.map_or("invite_failed".to_owned(), reason_of))
    }

    /// One of several phones has refused the call, or cannot be reached: true while others ring. Declining is for all of
    /// them.
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

    /// True when the same INVITE with more in it may succeed.
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

    /// 422: a longer session is asked for, if that was not what we asked for already (RFC 4028 §7.3).
    fn ask_for_longer(&mut self, timer: &mut CallTimer, response: &Response) -> bool {
        timer.note_least(&response.common.headers);
        let least = SessionExpires::least(&response.common.headers);
        let asked = std::mem::replace(&mut self.request.session, least);
        may_lengthen(&mut self.lengthened, asked, least)
    }

    /// The way to whoever says something is the one that counts, where several phones ring.
    fn heard_from(&self, c: &mut CallContext<'_>, tx: ClientId) {
        if let Some(target) = c.ctx.sip.target_of(tx).filter(|_| self.is_forked()) {
            c.peer.flow = Some(target);
            c.session.fit_to(c.ctx, c.peer, target);
        }
    }

    /// Remembers whose phone rings.
    fn note_early(&mut self, tx: ClientId, response: &Response) {
        self.forget_answered();
        if (101..=198).contains(&response.code)
            && let Some(tag) = response.common.to.tag()
        {
            self.dialogs.note_rung((tx, Some(tag.to_owned())));
        }
    }

    /// Forgets the early dialogs of INVITEs that have been answered for good; true when one was heard.
    fn forget_answered(&mut self) -> bool {
        let (only, branches) = (self.tx, &self.branches);
        self.dialogs.retain(|(tx, _)| only == Some(*tx) || branches.contains(tx))
    }

    /// 101 to 198: with a session description it is the answer of its early dialog, and early media begins.
    fn progress(&mut self, c: &mut CallContext<'_>, (tx, response): (ClientId, &Response)) {
        // 100 makes no dialog.
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

    /// 199 (RFC 6228): this early dialog is over, though its INVITE is not. What is described in it is no answer.
    fn early_dialog_over(&mut self, c: &mut CallContext<'_>, tx: ClientId, response: &Response) {
        let tag = response.common.to.tag();
        self.acknowledged.end(tag);
        if self.dialogs.retain(|(t, own)| *t != tx || own.as_deref() != tag) {
            self.hear_another(c);
        }
    }

    /// The early media that was heard is over: that of another dialog is heard, or nothing.
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

    /// A 2xx has come: the dialog that it makes, and whether there is an answer to our offer that can be used, in it or in
    /// the early dialog that it confirms. One that differs from the early one holds: proxies in the middle of a call make a
    /// new one. The other INVITEs are given up. `None`: nobody can acknowledge the 2xx; the far end ends the call by its own
    /// timer.
    pub(super) fn accepted(
        &mut self,
        c: &mut CallContext<'_>,
        (tx, response): (ClientId, &Response),
    ) -> Option<(Dialog, Result<(), &'static str>)> {
        let mut dialog = Dialog::uac(response, &self.request.target).ok()?;
        dialog.local_seq = self.acknowledged.last_number(&dialog);
        self.cancel_branches(c, tx);
        dialog.pinned = c.peer.flow.filter(|_| self.pinned).and_then(Target::uri);
        let early = self.dialogs.answer_of(tx, response.common.to.tag());
        let answer = c.session.read_answer(c.peer, &response.common);
        let agreed = answer.and_then(|own| own.or(early).ok_or("invite_failed"));
        Some((dialog, agreed.map(|stream| c.session.agree(stream))))
    }

    /// Why a request of the far end is not heard before it has answered. A callee may not send BYE then (RFC 3261 §15),
    /// and who does not ring is in no dialog with us: whoever knows the INVITE, as a phone that was rung beside the
    /// other, must not end or bend the call. A change of the session may have overtaken its ringing, and can wait.
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
