//! Provisional responses that are acknowledged: 100rel and PRACK (RFC 3262), as the one called and as the caller.

use std::time::{Duration, Instant};

use super::core::Gateway;
use super::early::MAX_EARLY;
use super::leg::{Inviting, Leg, LegId, Phase};
use super::refusal;
use super::requests::OutboundRequest;
use crate::base::time::Now;
use crate::sip::dialog::Dialog;
use crate::sip::transactions::{ClientId, ServerId};
use crate::sip::{T1, TIMEOUT};
use crate::wire::{Draft, Method, Request, Response};

/// The reliable provisional responses of an inbound leg.
#[derive(Debug, Default)]
pub struct Reliable {
    /// RSeq of the last one.
    rseq: u32,
    /// CSeq of the INVITE.
    invite: u32,
    /// The one that waits for its PRACK.
    waiting: Option<Waiting>,
    /// One that came meanwhile: sent when that one is acknowledged.
    next: Option<(u16, Draft)>,
    /// The API has answered the call: done when that one is acknowledged.
    answer: bool,
    /// One of them has answered the offer of the INVITE.
    described: bool,
}

#[derive(Debug)]
struct Waiting {
    code: u16,
    draft: Draft,
    /// It describes our media: no 2xx may overtake it (§3).
    describes: bool,
    again: Instant,
    interval: Duration,
    give_up: Instant,
}

impl Reliable {
    /// A final response has been sent: nothing provisional is repeated any more.
    pub(super) fn stop(&mut self) {
        (self.waiting, self.next) = (None, None);
    }

    /// True once one of them has answered the offer of the INVITE.
    pub(super) fn has_described(&self) -> bool {
        self.described
    }

    /// The next moment something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|w| w.again.min(w.give_up))
    }
}

/// An early dialog of an outbound leg.
#[derive(Debug)]
pub struct Early {
    dialog: Dialog,
    /// RSeq of the last provisional response.
    rseq: u32,
    /// The PRACK that was sent last.
    prack: Option<ClientId>,
    /// It has ended (RFC 6228); copies of its last response may still come.
    over: bool,
}

impl Gateway {
    /// Sends a provisional response to an INVITE; reliably where the caller insists, or where it describes our
    /// media and the caller can.
    pub(super) fn send_provisional(&mut self, now: Now, id: LegId, tx: ServerId, code: u16, draft: Draft) {
        let describes = draft.get("Content-Type").is_some();
        let Some(request) = self.ctx.sip.request_of(tx) else { return };
        let invite = request.common.cseq;
        let asks = |field: &'static str| request.common.headers.has_token(field, "100rel");
        // The first reliable response to an INVITE without an offer would have to make one (RFC 3262 §5).
        let offered = |l: &Leg| !matches!(l.phase, Phase::Ringing { offer: None, .. });
        if asks("Require") && !self.legs.get(id).is_some_and(offered) {
            return;
        }
        if !(asks("Require") || describes && asks("Supported")) {
            return self.ctx.sip.respond(now.mono, tx, code, &draft);
        }
        let first = self.ctx.rng.below(1 << 30) + 1;
        let Some(leg) = self.legs.get_mut(id) else { return };
        let reliable = leg.reliable.get_or_insert_with(Box::default);
        if reliable.waiting.is_some() {
            reliable.next = Some((code, draft));
            return;
        }
        reliable.invite = invite;
        reliable.rseq = if reliable.rseq == 0 { first } else { reliable.rseq + 1 };
        let mut draft = draft;
        draft.push("Require", "100rel");
        draft.push("RSeq", reliable.rseq.to_string());
        self.ctx.sip.respond(now.mono, tx, code, &draft);
        reliable.described |= describes;
        let (again, give_up) = (now.mono + T1, now.mono + TIMEOUT);
        reliable.waiting = Some(Waiting { code, draft, describes, again, interval: T1, give_up });
        self.legs.reschedule(id);
    }

    /// A provisional response is due again, or has never been acknowledged.
    pub(super) fn reliable_due(&mut self, now: Now, id: LegId) {
        let Some(Leg { phase: Phase::Ringing { tx, .. }, reliable: Some(reliable), .. }) =
            self.legs.get_mut(id)
        else {
            return;
        };
        let (tx, Some(w)) = (*tx, &mut reliable.waiting) else { return };
        if w.give_up <= now.mono {
            refusal::respond(&mut self.ctx, now, tx, 504, "Server Time-out: no PRACK");
            return self.end(now, id, "ack_timeout");
        }
        if w.again <= now.mono {
            w.interval *= 2;
            w.again = now.mono + w.interval;
            self.ctx.sip.respond(now.mono, tx, w.code, &w.draft);
        }
    }

    /// True when a 2xx has to wait for a PRACK; it follows by itself.
    pub(super) fn answer_waits(&mut self, id: LegId) -> bool {
        let Some(reliable) = self.legs.get_mut(id).and_then(|l| l.reliable.as_mut()) else { return false };
        let waits = reliable.waiting.as_ref().is_some_and(|w| w.describes);
        reliable.answer |= waits;
        waits
    }

    /// PRACK: the caller has our provisional response.
    pub(super) fn pracked(&mut self, now: Now, tx: ServerId, id: LegId, request: &Request) {
        if !self.is_prack_of(id, request) {
            return refusal::respond(&mut self.ctx, now, tx, 481, "No Such Provisional Response");
        }
        let Some(offer) = self.acceptable_offer(now, tx, id, request) else { return };
        // Whatever becomes of its offer, the response is acknowledged.
        if self.refused_as_crossing(now, tx, id, request, offer.is_some()) {
            return self.go_on_after_prack(now, id);
        }
        let body = match offer.as_ref().map(|o| self.answer_change(id, o)).transpose() {
            Ok(body) => body,
            Err(e) => {
                refusal::refuse_sdp(&mut self.ctx, now, tx, &e);
                return self.go_on_after_prack(now, id);
            }
        };
        let Some(mut draft) = self.ctx.sip.draft(tx, 200, "OK") else { return };
        if let Some(body) = body {
            draft.set_body("application/sdp", body.into_bytes());
        }
        self.ctx.sip.respond(now.mono, tx, 200, &draft);
        if offer.is_some() {
            self.stream_changed(now, id);
        }
        self.go_on_after_prack(now, id);
    }

    fn is_prack_of(&self, id: LegId, request: &Request) -> bool {
        let Some(leg) = self.legs.get(id) else { return false };
        let Some(reliable) = &leg.reliable else { return false };
        // A 2xx and its ACK may have overtaken it (RFC 3262 §3).
        if matches!(leg.phase, Phase::Inviting(_) | Phase::Ending { .. }) {
            return false;
        }
        let mut parts = request.common.headers.get("RAck").unwrap_or_default().split_ascii_whitespace();
        let number = |text: Option<&str>| text.and_then(|t| t.parse::<u32>().ok());
        let (rseq, of, method) = (number(parts.next()), number(parts.next()), parts.next());
        rseq == Some(reliable.rseq) && of == Some(reliable.invite) && method == Some("INVITE")
    }

    fn go_on_after_prack(&mut self, now: Now, id: LegId) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let name = leg.id.clone();
        let Some(reliable) = &mut leg.reliable else { return };
        reliable.waiting = None;
        let (next, answer) = (reliable.next.take(), std::mem::take(&mut reliable.answer));
        let ringing = if let Phase::Ringing { tx, .. } = &leg.phase { Some(*tx) } else { None };
        self.legs.reschedule(id);
        let Some(tx) = ringing else { return };
        if answer {
            if let Err(e) = self.answer(now, &name) {
                log::info!(leg = name, error:% = e; "the call cannot be answered after its PRACK");
            }
        } else if let Some((code, draft)) = next {
            self.send_provisional(now, id, tx, code, draft);
        }
    }

    /// Acknowledges a provisional response that asks for it; false when it is a copy, or came too early (§4).
    pub(super) fn acknowledge_progress(&mut self, id: LegId, response: &Response) -> bool {
        let c = &response.common;
        if !c.headers.has_token("Require", "100rel") {
            return true;
        }
        let Some(rseq) = c.headers.get("RSeq").and_then(|v| v.trim().parse::<u32>().ok()) else {
            return true;
        };
        let Some(leg) = self.legs.get_mut(id) else { return false };
        let Phase::Inviting(inviting) = &mut leg.phase else { return false };
        let (flow, trunk) = (leg.flow, leg.trunk);
        let pinned = flow.filter(|_| inviting.pinned).and_then(Self::uri_of);
        if of_tag(&inviting.early, c.to.tag()).is_none() && inviting.has_room() {
            let Ok(mut dialog) = Dialog::uac(response, &inviting.request.target) else { return false };
            dialog.pinned = pinned;
            let rseq = rseq.wrapping_sub(1);
            inviting.early.push(Early { dialog, rseq, prack: None, over: false });
        }
        let mut all = inviting.early.iter_mut();
        let Some(early) = all.find(|e| e.dialog.remote.tag() == c.to.tag()) else { return false };
        if rseq != early.rseq.wrapping_add(1) {
            return false;
        }
        early.rseq = rseq;
        let (mut draft, hop) = early.dialog.request(&Method::Prack);
        draft.push("RAck", format!("{rseq} {} INVITE", c.cseq));
        draft.push("User-Agent", self.ctx.config.sip.host.as_str());
        self.send(&hop, flow, trunk, OutboundRequest::Prack(id, draft));
        true
    }

    /// The PRACK of an early dialog, known by its To, is on its way.
    pub(super) fn prack_sent(&mut self, id: LegId, to: &str, tx: ClientId) {
        let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get_mut(id) else { return };
        let early = inviting.early.iter_mut().find(|e| e.dialog.remote.to_string() == to);
        early.into_iter().for_each(|e| e.prack = Some(tx));
    }

    /// A PRACK could not be delivered: the next copy of the response that it acknowledges gets another.
    pub(super) fn prack_undelivered(&mut self, id: LegId, which: impl Fn(Option<ClientId>, &str) -> bool) {
        let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get_mut(id) else { return };
        let early = inviting.early.iter_mut().find(|e| which(e.prack, &e.dialog.remote.to_string()));
        if let Some(early) = early {
            (early.rseq, early.prack) = (early.rseq.wrapping_sub(1), None);
        }
    }
}

impl Inviting {
    /// True once our offer is answered in the early dialog of the far end with this tag, for good (RFC 3262 §5).
    pub(super) fn has_answer(&self, tag: Option<&str>) -> bool {
        of_tag(&self.early, tag).is_some() && self.dialogs.has_answer(tag)
    }

    /// The early dialog with this tag is over: others may take its place.
    pub(super) fn early_over(&mut self, tag: Option<&str>) {
        let mut all = self.early.iter_mut();
        all.find(|e| e.dialog.remote.tag() == tag).into_iter().for_each(|e| e.over = true);
    }

    /// Makes room for one more early dialog; false when all are in use.
    fn has_room(&mut self) -> bool {
        if self.early.len() >= MAX_EARLY
            && let Some(over) = self.early.iter().position(|e| e.over)
        {
            self.early.remove(over);
        }
        self.early.len() < MAX_EARLY
    }
}

/// The number of the last request in the early dialog that a 2xx confirms: the next one has to be higher.
pub(super) fn last_number(early: &[Early], confirmed: &Dialog) -> u32 {
    of_tag(early, confirmed.remote.tag())
        .map_or(confirmed.local_seq, |e| e.dialog.local_seq.max(confirmed.local_seq))
}

fn of_tag<'a>(early: &'a [Early], tag: Option<&str>) -> Option<&'a Early> {
    early.iter().find(|e| e.dialog.remote.tag() == tag)
}
