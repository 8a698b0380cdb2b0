//! Who is heard: networks and trunks that the configuration names, callers who prove who they are, and
//! everybody in a dialog that exists. Strangers cost next to nothing and learn nothing.

use std::net::IpAddr;
use std::time::Instant;

use super::core::Gateway;
use super::leg::LegId;
use super::refusal::TOO_MANY;
use super::registrar::Proof;
use super::registrar::guesses::WAIT_SECONDS;
use crate::base::pool::Standing;
use crate::base::time::Now;
use crate::sip::target::Target;
use crate::sip::transactions::Admission;
use crate::wire::{Draft, Method};
use crate::wire::{Message, Refusal, Request, parse};

impl Gateway {
    /// Takes one SIP message: a datagram, or a frame of a stream.
    pub fn handle_message(&mut self, now: Now, source: Target, bytes: &[u8]) {
        // Keep-alives of phones (RFC 5626 §3.5.1): over UDP they only hold routers' mappings open.
        if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return;
        }
        // What comes on a connection was counted as it was read.
        let size = if source.transport.is_reliable() { 0 } else { bytes.len() };
        if !self.may_ask(now.mono, source, size) {
            self.ctx.counters.rate_limited += 1;
            return;
        }
        match parse(bytes) {
            Ok(Message::Request(mut request)) => {
                request.stamp(source.addr);
                if self.admits(source, &request) || self.proves_itself(now, source, &request) {
                    let admission = self.admission_of(&request, source);
                    self.ctx.sip.handle_request(now.mono, request, source, admission);
                }
            }
            Ok(Message::Response(response)) => self.ctx.sip.handle_response(now.mono, response),
            Err(Refusal::Answer(mut answer)) if self.accepts(source) => {
                self.ctx.counters.malformed += 1;
                answer.stamp(source.addr);
                self.ctx.sip.refuse(*answer, source);
            }
            Err(Refusal::Answer(_) | Refusal::Drop(_)) => self.ctx.counters.malformed += 1,
        }
        self.drain(now);
        self.registrar.forget_authenticated();
    }

    /// Takes the head of a stream message whose end cannot be told: at most a refusal comes of it.
    pub fn handle_broken(&mut self, now: Now, source: Target, head: &[u8]) {
        self.ctx.counters.malformed += 1;
        if !self.accepts(source) {
            return;
        }
        match parse(head) {
            Err(Refusal::Answer(mut answer)) => {
                answer.stamp(source.addr);
                self.ctx.sip.refuse(*answer, source);
            }
            Ok(Message::Request(request)) if request.method != Method::Ack => {
                let (tag, why) =
                    (self.ctx.sip.stateless_tag(&request), "Bad Request: Content-Length is needed");
                let draft = Draft::response(&request, 400, why, Some(&tag));
                self.ctx.sip.reply_stateless(&draft, &request, source);
            }
            Ok(_) | Err(Refusal::Drop(_)) => {}
        }
        self.drain(now);
    }

    /// True when calls from there are welcome.
    #[must_use]
    pub fn accepts(&self, source: Target) -> bool {
        let ip = source.addr.ip().to_canonical();
        self.ctx.config.sip.accept_from.iter().any(|net| net.contains(&ip)) || self.trunks.has_at(source)
    }

    /// True when a connection from there may be opened: to call, to register, or to go on with a call.
    #[must_use]
    pub fn hears(&self, source: Target) -> bool {
        self.accepts(source) || self.registrar.is_registrar(&self.ctx) || self.is_in_a_call(source.addr.ip())
    }

    /// True for those that may ask as much as they like: from networks of ours, along the way that a phone has
    /// registered (not others of its address), or in a call with us. How many passwords they may try is another matter.
    #[must_use]
    pub fn knows(&self, source: Target) -> bool {
        let registered = || self.registrar.has_along(|flow| *flow == source);
        self.accepts(source) || registered() || self.is_in_a_call(source.addr.ip())
    }

    /// Strangers may ask so much and no more.
    fn may_ask(&mut self, now: Instant, source: Target, size: usize) -> bool {
        self.knows(source) || self.limiter.admits(now, source.addr.ip(), size)
    }

    /// True when a connection from there may be opened now; a stranger's counts as a request, since its handshake is
    /// work.
    pub fn may_connect(&mut self, now: Now, source: Target) -> bool {
        let may = self.hears(source) && self.may_ask(now.mono, source, 0);
        self.ctx.counters.rate_limited += u64::from(!may);
        may
    }

    /// True when this many bytes more may come on a connection.
    pub fn may_send(&mut self, now: Now, source: Target, size: usize) -> bool {
        let may = self.knows(source) || self.limiter.admits_bytes(now.mono, source.addr.ip(), size);
        self.ctx.counters.rate_limited += u64::from(!may);
        may
    }

    fn is_in_a_call(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let far_end = |id: LegId| self.legs.get(id).and_then(|l| l.flow).map(|f| f.addr.ip().to_canonical());
        self.legs.live().any(|(_, id)| far_end(id) == Some(ip))
    }

    /// Strangers are heard only in dialogs that exist.
    fn admits(&self, source: Target, request: &Request) -> bool {
        let ours = self.legs.of_request(request).is_some() || self.ctx.sip.knows(request);
        if self.accepts(source) || ours || self.is_self_test(request) {
            return true;
        }
        let c = &request.common;
        c.to.tag().is_some_and(|tag| self.legs.had_dialog(&(c.call_id.clone(), tag.to_owned())))
    }

    /// How a request is taken: what begins or belongs to something has a place, on account of its source; everything
    /// else changes nothing and gets its answer without state.
    fn admission_of(&self, request: &Request, source: Target) -> Admission {
        let outside = request.common.to.tag().is_none();
        if !outside
            && (self.legs.of_request(request).is_some() || self.ctx.requests.owes_bye_to(request).is_some())
        {
            return Admission::Kept(Standing::Established);
        }
        let begins = request.method == Method::Invite || (outside && request.method == Method::Register);
        if begins { Admission::Kept(self.standing(source)) } else { Admission::Stateless }
    }

    /// A stranger's request with credentials of a user of ours. One without is challenged where there are
    /// users, from memory of nothing; else it gets no answer at all.
    fn proves_itself(&mut self, now: Now, source: Target, request: &Request) -> bool {
        self.ctx.counters.strangers += 1;
        let asks = matches!(request.method, Method::Invite | Method::Register);
        if !self.registrar.is_registrar(&self.ctx) || !asks || request.common.to.tag().is_some() {
            return false;
        }
        match self.registrar.judge(&mut self.ctx, now, request, source) {
            Some(Proof::Good(user)) => {
                self.registrar.set_authenticated(user);
                true
            }
            Some(Proof::Wrong) => {
                self.answer_stranger(request, source, 403, "Forbidden", |_, _| {});
                false
            }
            Some(Proof::Refused) => {
                self.answer_stranger(request, source, 500, TOO_MANY, |_, draft| {
                    draft.push("Retry-After", WAIT_SECONDS.to_string());
                });
                false
            }
            proof @ (Some(Proof::Stale) | None) => {
                let stale = proof.is_some();
                self.answer_stranger(request, source, 401, "Unauthorized", |gateway, draft| {
                    gateway.registrar.push_challenges(&gateway.ctx, now, draft, source, stale);
                });
                false
            }
        }
    }

    fn answer_stranger(
        &mut self,
        request: &Request,
        source: Target,
        code: u16,
        reason: &str,
        more: impl FnOnce(&mut Self, &mut Draft),
    ) {
        let tag = self.ctx.sip.stateless_tag(request);
        let mut draft = Draft::response(request, code, reason, Some(&tag));
        more(self, &mut draft);
        self.ctx.sip.reply_stateless(&draft, request, source);
    }
}
