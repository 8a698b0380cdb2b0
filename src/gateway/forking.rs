//! Calls to a user of ours: all of the user's phones ring, the first to answer has the call (RFC 3261 §16.7).

use super::core::Gateway;
use super::leg::{Inviting, Leg, LegId, Phase};
use super::registrar::PhoneRoute;
use super::requests::{Parting, RequestContext};
use crate::base::time::Now;
use crate::sip::dialog::Dialog;
use crate::sip::target::Target;
use crate::sip::transactions::{ClientId, Failure};
use crate::wire::{Response, Uri};

/// Reliable provisional responses that a fork which is not wanted has sent, at most.
const MAX_PRACKS: u32 = 100;

impl Inviting {
    /// True when this INVITE is one that may still be answered.
    #[must_use]
    pub fn has(&self, tx: ClientId) -> bool {
        self.tx == Some(tx) || self.branches.contains(&tx)
    }

    /// True when one of them rings in the early dialog with this tag.
    #[must_use]
    pub fn rings(&self, tag: &str) -> bool {
        self.dialogs.with_tag(tag).any(|tx| self.has(tx))
    }

    /// All INVITEs that may still be answered.
    pub fn all(&self) -> impl Iterator<Item = ClientId> {
        self.tx.into_iter().chain(self.branches.iter().copied())
    }
}

impl Gateway {
    /// Rings all phones of a user; one alone is called like anybody, so that it may send the call elsewhere.
    pub(super) fn invite_phones(&mut self, now: Now, id: LegId, phones: &[PhoneRoute]) {
        let several = phones.len() > 1;
        for phone in phones {
            let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get_mut(id) else { return };
            inviting.pinned = true;
            inviting.request.target = phone.contact.clone();
            self.legs.get_mut(id).into_iter().for_each(|l| l.user = Some(phone.user.clone()));
            self.invite(now, id, phone.flow);
            if let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get_mut(id)
                && several
            {
                let tx = inviting.tx.take();
                inviting.branches.extend(tx);
            }
        }
        if phones.is_empty() {
            self.end(now, id, "unavailable");
        }
    }

    /// Gives up the other INVITEs of a leg, since this one was answered.
    pub(super) fn cancel_branches(&mut self, now: Now, id: LegId, but: ClientId) {
        let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get_mut(id) else { return };
        let others: Vec<ClientId> = inviting.all().filter(|tx| *tx != but).collect();
        inviting.branches.clear();
        for tx in others {
            self.abandon(now, id, tx);
        }
    }

    /// Gives up whatever INVITE of a leg may still be answered.
    pub(super) fn abandon_all(&mut self, now: Now, id: LegId) {
        let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get(id) else { return };
        let all: Vec<ClientId> = inviting.all().collect();
        for tx in all {
            self.abandon(now, id, tx);
        }
    }

    /// An INVITE that its leg waits for no more.
    pub(super) fn abandon(&mut self, now: Now, id: LegId, tx: ClientId) {
        let parting = self.parting_of(id);
        self.ctx.requests.abandon_invite(tx, parting);
        self.ctx.sip.cancel(now.mono, tx);
    }

    /// A 2xx that no leg wants: acknowledged and ended at once (RFC 3261 §13.2.2.4).
    pub(super) fn end_fork(&mut self, tx: ClientId, response: &Response) {
        let tag = response.common.to.tag().unwrap_or_default().to_owned();
        // Its ACK may still wait for an address when the next copy comes.
        if !self.ctx.requests.forks_mut().end(tx, tag) {
            return;
        }
        let Ok(mut dialog) = Dialog::uac(response, &response.common.to.uri) else { return };
        let flow = self.ctx.sip.target_of(tx);
        // Behind all its PRACKs, whose numbers are not kept here; gaps are allowed (RFC 3261 §12.2.1.1).
        dialog.local_seq = dialog.local_seq.saturating_add(MAX_PRACKS);
        dialog.pinned = flow.filter(|_| self.ctx.requests.forks().is_pinned(tx)).and_then(Self::uri_of);
        self.send_ack(tx, &dialog, response.common.cseq, flow);
        let parting = match self.ctx.requests.context_of(tx) {
            Some(RequestContext::Invite(id)) => Some(self.parting_of(id)),
            Some(_) | None => self.ctx.requests.forks().parting_of(tx).cloned(),
        };
        self.send_bye(&mut dialog, Parting { flow, ..parting.unwrap_or_default() });
    }

    /// One of several phones has refused the call, or cannot be reached: true while others ring. Declining is for
    /// all of them.
    pub(super) fn others_ring(
        &mut self,
        now: Now,
        id: LegId,
        tx: ClientId,
        refusal: Result<&Response, Failure>,
    ) -> bool {
        let Some(leg) = self.legs.get_mut(id) else { return false };
        let Phase::Inviting(inviting) = &mut leg.phase else { return false };
        if !inviting.branches.contains(&tx) {
            return false;
        }
        inviting.branches.retain(|t| *t != tx);
        let (code, reason) = match refusal {
            Ok(r) => (r.code, r.reason.as_str()),
            Err(Failure::Timeout) => (408, "Request Timeout"),
            Err(Failure::Transport) => (503, "Service Unavailable"),
        };
        if leg.refusal.as_ref().is_none_or(|(best, _)| weight(code) < weight(*best)) {
            leg.refusal = Some((code, reason.to_owned()));
        }
        if code >= 600 {
            self.cancel_branches(now, id, tx);
            return false;
        }
        let left = !inviting.branches.is_empty();
        self.ctx.requests.forget(tx);
        if left {
            self.branch_over(id);
        }
        left
    }

    /// The way to the phone that answered, for what follows in its dialog.
    pub(super) fn pinned_to(&self, id: LegId, flow: Option<Target>) -> Option<Uri> {
        let pinned = match self.legs.get(id).map(|l| &l.phase) {
            Some(Phase::Inviting(inviting)) => inviting.pinned,
            Some(
                Phase::Ringing { .. } | Phase::Answered { .. } | Phase::Up { .. } | Phase::Ending { .. },
            )
            | None => false,
        };
        flow.filter(|_| pinned).and_then(Self::uri_of)
    }

    /// The way to a caller that is a phone of ours: the one it registered along.
    pub(super) fn pin_to_phone(&self, flow: Target) -> Option<Uri> {
        let same = |f: &Target| (f.transport, f.addr) == (flow.transport, flow.addr);
        self.registrar.has_along(same).then(|| Self::uri_of(flow)).flatten()
    }

    /// A target as a URI that leads there.
    pub(super) fn uri_of(target: Target) -> Option<Uri> {
        Uri::parse(&format!("sip:{}{}", target.addr, target.transport.as_param())).ok()
    }
}

/// Which of several refusals tells the caller most: declined, busy, then whatever phones say, then silence.
fn weight(code: u16) -> u16 {
    match code {
        600..=699 => 0,
        486 => 1,
        // Silence, or a phone that cannot be reached (RFC 3261 §8.1.3.1).
        408 | 487 | 503 => 3,
        _ => 2,
    }
}
