//! Reliable provisional responses: 100rel and PRACK (RFC 3262), as callee and as caller.

use std::time::{Duration, Instant};

use super::early::MAX_EARLY;
use super::peer::Peer;
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::requests::OutboundRequest;
use crate::sip::dialog::Dialog;
use crate::sip::flow::Flow;
use crate::sip::transactions::{ClientId, ServerId};
use crate::sip::{T1, TIMEOUT};
use crate::wire::{Draft, Method, Request, Response, Uri};

/// Reliable provisional responses of an inbound leg.
#[derive(Debug, Default)]
pub(super) struct ReliableProvisionals {
    /// RSeq of the last one.
    rseq: u32,
    /// CSeq of the INVITE.
    invite: u32,
    /// The response waiting for its PRACK.
    waiting: Option<Waiting>,
    /// The next response, to be sent after that.
    next: Option<(u16, Draft)>,
    /// The API has answered the call: to be done after the PRACK.
    answer: bool,
    /// One of them contained the answer to the offer of the INVITE.
    described: bool,
}

#[derive(Debug)]
struct Waiting {
    code: u16,
    draft: Draft,
    /// It contains our description: a 2xx must not overtake it (§3).
    describes: bool,
    again: Instant,
    interval: Duration,
    give_up: Instant,
}

impl ReliableProvisionals {
    /// A final response was sent: stops retransmissions.
    pub(super) fn stop(&mut self) {
        (self.waiting, self.next) = (None, None);
    }

    /// True once one of them contained the answer to the offer of the INVITE.
    pub(super) fn has_described(&self) -> bool {
        self.described
    }

    /// The next time something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|w| w.again.min(w.give_up))
    }

    /// Sends a provisional response; reliably if the caller requires it, or if it contains our description
    /// and the caller supports it. `offered`: the INVITE had an offer.
    pub(super) fn send(
        &mut self,
        ctx: &mut Context,
        now: Now,
        tx: ServerId,
        offered: bool,
        code: u16,
        mut draft: Draft,
    ) {
        let describes = draft.get("Content-Type").is_some();
        let Some(request) = ctx.sip.request_of(tx) else { return };
        let invite = request.common.cseq;
        let asks = |field: &'static str| request.common.headers.has_token(field, "100rel");
        // The first reliable response to an INVITE without offer would have to contain one (RFC 3262 §5).
        if asks("Require") && !offered {
            return;
        }
        if !(asks("Require") || describes && asks("Supported")) {
            return ctx.sip.respond(now.mono, tx, code, &draft);
        }
        if self.waiting.is_some() {
            self.next = Some((code, draft));
            return;
        }
        self.invite = invite;
        self.rseq = if self.rseq == 0 { ctx.rng.below(1 << 30) + 1 } else { self.rseq + 1 };
        draft.push("Require", "100rel");
        draft.push("RSeq", self.rseq.to_string());
        ctx.sip.respond(now.mono, tx, code, &draft);
        self.described |= describes;
        let (again, give_up) = (now.mono + T1, now.mono + TIMEOUT);
        self.waiting = Some(Waiting { code, draft, describes, again, interval: T1, give_up });
    }

    /// Retransmits the pending response; false if it was never acknowledged.
    pub(super) fn handle_timeout(&mut self, ctx: &mut Context, now: Now, tx: ServerId) -> bool {
        let Some(w) = &mut self.waiting else { return true };
        if w.give_up <= now.mono {
            return false;
        }
        if w.again <= now.mono {
            w.interval *= 2;
            w.again = now.mono + w.interval;
            ctx.sip.respond(now.mono, tx, w.code, &w.draft);
        }
        true
    }

    /// True if a 2xx must wait for a PRACK; [`Self::acknowledged`] reports when it may be sent.
    pub(super) fn delays_answer(&mut self) -> bool {
        let waits = self.waiting.as_ref().is_some_and(|w| w.describes);
        self.answer |= waits;
        waits
    }

    /// True for the PRACK of the last response.
    pub(super) fn is_acknowledged_by(&self, prack: &Request) -> bool {
        let mut parts = prack.common.headers.get("RAck").unwrap_or_default().split_ascii_whitespace();
        let number = |text: Option<&str>| text.and_then(|t| t.parse::<u32>().ok());
        let (rseq, of, method) = (number(parts.next()), number(parts.next()), parts.next());
        self.rseq != 0 && rseq == Some(self.rseq) && of == Some(self.invite) && method == Some("INVITE")
    }

    /// The pending response was acknowledged: whether to answer the call now, and the next response to send.
    pub(super) fn acknowledged(&mut self) -> (bool, Option<(u16, Draft)>) {
        self.waiting = None;
        (std::mem::take(&mut self.answer), self.next.take())
    }
}

/// Early dialogs of an outbound leg with acknowledged provisional responses.
#[derive(Debug, Default)]
pub(super) struct AcknowledgedDialogs(Vec<Acknowledged>);

#[derive(Debug)]
struct Acknowledged {
    dialog: Dialog,
    /// RSeq of the last provisional response.
    rseq: u32,
    /// The last PRACK sent.
    prack: Option<ClientId>,
    /// The early dialog has ended (RFC 6228); retransmissions may still arrive.
    over: bool,
}

impl AcknowledgedDialogs {
    /// Acknowledges a reliable provisional response; false for a retransmission or one out of order (§4).
    /// `target`: target of the INVITE; `pinned`: it is sent over registered flows.
    pub(super) fn acknowledge(
        &mut self,
        ctx: &mut Context,
        peer: &Peer,
        response: &Response,
        target: &Uri,
        pinned: bool,
    ) -> bool {
        let c = &response.common;
        if !c.headers.has_token("Require", "100rel") {
            return true;
        }
        let Some(rseq) = c.headers.get("RSeq").and_then(|v| v.trim().parse::<u32>().ok()) else {
            return true;
        };
        if self.of_tag(c.to.tag()).is_none() && self.has_room() {
            let Ok(mut dialog) = Dialog::uac(response, target) else { return false };
            dialog.pinned = peer.flow.filter(|_| pinned).and_then(Flow::uri);
            let rseq = rseq.wrapping_sub(1);
            self.0.push(Acknowledged { dialog, rseq, prack: None, over: false });
        }
        let mut all = self.0.iter_mut();
        let Some(early) = all.find(|e| e.dialog.remote.tag() == c.to.tag()) else { return false };
        if rseq != early.rseq.wrapping_add(1) {
            return false;
        }
        early.rseq = rseq;
        let (mut draft, hop) = early.dialog.request(&Method::Prack);
        draft.push("RAck", format!("{rseq} {} INVITE", c.cseq));
        draft.push("User-Agent", ctx.config.sip.host.as_str());
        peer.send(ctx, &hop, OutboundRequest::Prack(peer.id, draft));
        true
    }

    /// The PRACK of the early dialog with this To was sent.
    pub(super) fn prack_sent(&mut self, to: &str, tx: ClientId) {
        let early = self.0.iter_mut().find(|e| e.dialog.remote.to_string() == to);
        early.into_iter().for_each(|e| e.prack = Some(tx));
    }

    /// A PRACK could not be delivered: the next retransmission of its response gets another one.
    pub(super) fn prack_undelivered(&mut self, which: impl Fn(Option<ClientId>, &str) -> bool) {
        let early = self.0.iter_mut().find(|e| which(e.prack, &e.dialog.remote.to_string()));
        if let Some(early) = early {
            (early.rseq, early.prack) = (early.rseq.wrapping_sub(1), None);
        }
    }

    /// True if provisional responses of the early dialog with this tag were acknowledged.
    pub(super) fn has(&self, tag: Option<&str>) -> bool {
        self.of_tag(tag).is_some()
    }

    /// The early dialog with this tag has ended: its entry may be reused.
    pub(super) fn end(&mut self, tag: Option<&str>) {
        let mut all = self.0.iter_mut();
        all.find(|e| e.dialog.remote.tag() == tag).into_iter().for_each(|e| e.over = true);
    }

    /// CSeq of the last request in the early dialog that a 2xx confirms: the next one must be higher.
    pub(super) fn last_number(&self, confirmed: &Dialog) -> u32 {
        self.of_tag(confirmed.remote.tag())
            .map_or(confirmed.local_seq, |e| e.dialog.local_seq.max(confirmed.local_seq))
    }

    fn of_tag(&self, tag: Option<&str>) -> Option<&Acknowledged> {
        self.0.iter().find(|e| e.dialog.remote.tag() == tag)
    }

    /// Frees space for another one; false if all are in use.
    fn has_room(&mut self) -> bool {
        if self.0.len() >= MAX_EARLY
            && let Some(over) = self.0.iter().position(|e| e.over)
        {
            self.0.remove(over);
        }
        self.0.len() < MAX_EARLY
    }
}
