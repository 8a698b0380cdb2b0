//! Admission of received messages, before they reach any other part.

use std::time::Instant;

use super::sources::Sources;
use crate::base::time::Now;
use crate::gateway::accounts::Accounts;
use crate::gateway::calls::Calls;
use crate::gateway::context::Context;
use crate::gateway::sip_messages::refusal;
use crate::sip::flow::Flow;
use crate::sip::limiter::Limiter;
use crate::wire::{Message, Method, Refusal, parse};

/// Rate limits of unknown sources.
#[derive(Debug, Default)]
pub struct Gate {
    limiter: Limiter,
}

impl Gate {
    /// Handles one SIP message (datagram or stream frame); admitted ones are passed to the transactions.
    pub fn handle_message(
        &mut self,
        (ctx, accounts, calls): (&mut Context, &mut Accounts, &Calls),
        now: Now,
        source: Flow,
        bytes: &[u8],
    ) {
        // Keep-alives (RFC 5626 §3.5.1): over UDP they only refresh NAT bindings.
        if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return;
        }
        // Bytes of connections were counted when they were read.
        let size = if source.transport.is_reliable() { 0 } else { bytes.len() };
        let sources = Sources::new(ctx, accounts, calls.legs());
        if !sources.knows(source) && !self.limiter.admits(now.mono, source.addr.ip(), size) {
            ctx.counters.signalling.rate_limited += 1;
            return;
        }
        match parse(bytes) {
            Ok(Message::Request(mut request)) => {
                request.stamp(source.addr);
                let sources = Sources::new(ctx, accounts, calls.legs());
                let heard = calls.self_tests().is_call(&request) || sources.admits(source, &request);
                if heard || accounts.registrar_mut().admits_stranger(ctx, now, &request, source) {
                    let admission = Sources::new(ctx, accounts, calls.legs()).admission_of(&request, source);
                    ctx.sip.handle_request(now.mono, request, source, admission);
                }
            }
            Ok(Message::Response(response)) => ctx.sip.handle_response(now.mono, response),
            Err(refusal) => refuse_malformed((ctx, accounts, calls), source, refusal),
        }
    }

    /// Handles the head of a stream message without usable framing: answered with an error at most.
    pub fn handle_broken(
        &self,
        (ctx, accounts, calls): (&mut Context, &Accounts, &Calls),
        source: Flow,
        head: &[u8],
    ) {
        match parse(head) {
            Err(refusal) => refuse_malformed((ctx, accounts, calls), source, refusal),
            Ok(Message::Request(request)) if request.method != Method::Ack => {
                ctx.counters.signalling.malformed += 1;
                if Sources::new(ctx, accounts, calls.legs()).accepts(source) {
                    let why = "Bad Request: Content-Length is needed";
                    refusal::refuse_stateless(ctx, &request, source, 400, why, &[]);
                }
            }
            Ok(_) => ctx.counters.signalling.malformed += 1,
        }
    }

    /// True if a connection from there may be accepted; for an unknown source it counts as a request, since
    /// its handshake costs CPU time.
    pub fn may_connect(
        &mut self,
        (ctx, accounts, calls): (&mut Context, &Accounts, &Calls),
        now: Now,
        source: Flow,
    ) -> bool {
        let sources = Sources::new(ctx, accounts, calls.legs());
        let may = sources.hears(source)
            && (sources.knows(source) || self.limiter.admits(now.mono, source.addr.ip(), 0));
        ctx.counters.signalling.rate_limited += u64::from(!may);
        may
    }

    /// True if this many more bytes may be received on a connection.
    pub fn may_send(
        &mut self,
        (ctx, accounts, calls): (&mut Context, &Accounts, &Calls),
        now: Now,
        source: Flow,
        size: usize,
    ) -> bool {
        let may = Sources::new(ctx, accounts, calls.legs()).knows(source)
            || self.limiter.admits_bytes(now.mono, source.addr.ip(), size);
        ctx.counters.signalling.rate_limited += u64::from(!may);
        may
    }

    /// Removes inactive sources.
    pub fn tidy(&mut self, now: Instant) {
        self.limiter.tidy(now);
    }
}

fn refuse_malformed(
    (ctx, accounts, calls): (&mut Context, &Accounts, &Calls),
    source: Flow,
    refusal: Refusal,
) {
    ctx.counters.signalling.malformed += 1;
    if let Refusal::Answer(mut answer) = refusal
        && Sources::new(ctx, accounts, calls.legs()).accepts(source)
    {
        answer.stamp(source.addr);
        ctx.sip.refuse(*answer, source);
    }
}
