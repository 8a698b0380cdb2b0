//! Dispatch of SIP messages to the responsible parts.

use super::calls::{Calls, Surroundings};
use super::context::Context;
use super::requests::{self, OutboundRequest, RequestContext};
use super::sip_messages::refusal;
use crate::base::time::Now;
use crate::gateway::sip_messages::capabilities::SUPPORTED;
use crate::sip::flow::Flow;
use crate::sip::transactions::{ClientId, Event, Failure, ServerId};
use crate::wire::{Method, Request, Response, Uri};

/// Handles an event of the transaction layer.
pub(super) fn handle_event(calls: &mut Calls, env: &mut Surroundings<'_>, event: Event) {
    match event {
        Event::Request(tx, request, source) => handle_request(calls, env, tx, &request, source),
        Event::Ack(request) => calls.handle_ack(env.ctx, env.now, &request),
        Event::Cancelled(tx) => calls.handle_cancel(env.ctx, env.now, tx),
        Event::Response(tx, response) => handle_response(calls, env, tx, &response),
        Event::Failed(tx, why) => handle_failure(calls, env, tx, why),
        Event::AckMissing(tx, why) => calls.handle_ack_missing(env.ctx, env.now, tx, why),
        Event::Gone(tx) => env.ctx.requests.handle_gone(tx),
    }
}

/// Sends one of our requests to the best located target.
pub(super) fn transmit(
    calls: &mut Calls,
    env: &mut Surroundings<'_>,
    request: OutboundRequest,
    targets: Vec<Flow>,
) {
    match request {
        OutboundRequest::Register(id) => {
            env.accounts.trunks_mut().register_at(env.ctx, env.now, id, targets);
        }
        OutboundRequest::LookUp(id) => env.accounts.trunks_mut().note_addresses(env.now, id, &targets),
        OutboundRequest::Invite(_)
        | OutboundRequest::Change(..)
        | OutboundRequest::Refer(..)
        | OutboundRequest::Info(..)
        | OutboundRequest::Notify(..)
        | OutboundRequest::Subscribe(..)
        | OutboundRequest::Prack(..)
        | OutboundRequest::Bye(..)
        | OutboundRequest::Ack(..) => calls.transmit(env, request, targets),
    }
}

fn handle_request(
    calls: &mut Calls,
    env: &mut Surroundings<'_>,
    tx: ServerId,
    request: &Request,
    source: Flow,
) {
    match recipient_of(env.ctx, env.now, tx, request) {
        Some(Recipient::Dialog) => calls.handle_in_dialog(env, tx, request, source),
        Some(Recipient::NewCall) => calls.handle_invite(env, tx, request, source),
        Some(Recipient::Registrar) => {
            env.accounts.registrar_mut().handle_register(env.ctx, env.now, tx, request, source);
        }
        None => {}
    }
}

/// Dispatches a response to the sender of its request.
fn handle_response(calls: &mut Calls, env: &mut Surroundings<'_>, tx: ClientId, response: &Response) {
    requests::bye_answered(env.ctx, tx, response);
    match env.ctx.requests.context_of(tx) {
        Some(RequestContext::Register(id)) => {
            if response.code >= 200 {
                env.ctx.requests.forget(tx);
            }
            env.accounts.trunks_mut().register_answered(env.ctx, env.now, id, tx, Some(response));
        }
        Some(context) => calls.handle_response(env.ctx, env.now, context, tx, response),
        None => {}
    }
}

/// Dispatches the failure of one of our requests.
fn handle_failure(calls: &mut Calls, env: &mut Surroundings<'_>, tx: ClientId, failure: Failure) {
    env.ctx.requests.take_bye(tx);
    match env.ctx.requests.forget(tx) {
        Some(RequestContext::Register(id)) => {
            env.accounts.trunks_mut().register_answered(env.ctx, env.now, id, tx, None);
        }
        Some(context) => calls.handle_failure(env.ctx, env.now, context, tx, failure),
        None => {}
    }
}

/// Recipient of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recipient {
    /// The call of its dialog.
    Dialog,
    /// A new call.
    NewCall,
    /// The registrar.
    Registrar,
}

/// Recipient of a request; `None` if it was answered here.
fn recipient_of(ctx: &mut Context, now: Now, tx: ServerId, request: &Request) -> Option<Recipient> {
    if matches!(request.uri, Uri::Other(_)) {
        refusal::refuse(ctx, now, tx, 416, "Unsupported URI Scheme");
        return None;
    }
    let known = |option: &&str| SUPPORTED.split(", ").any(|s| s.eq_ignore_ascii_case(option));
    let needed: Vec<&str> = request.common.headers.tokens("Require").filter(|o| !known(o)).collect();
    if !needed.is_empty() {
        refusal::bad_extension(ctx, now, tx, &needed.join(", "));
        return None;
    }
    if request.common.to.tag().is_some() {
        return Some(Recipient::Dialog);
    }
    match &request.method {
        Method::Invite => return Some(Recipient::NewCall),
        Method::Register => return Some(Recipient::Registrar),
        Method::Options if ctx.stopping => refusal::refuse(ctx, now, tx, 503, "Service Unavailable"),
        Method::Options => refusal::answer_options(ctx, now, tx),
        Method::Bye | Method::Info | Method::Update | Method::Prack | Method::Notify => {
            refusal::respond(ctx, now, tx, 481, "Call/Transaction Does Not Exist");
        }
        Method::Refer | Method::Subscribe | Method::Message | Method::Publish => {
            refusal::not_allowed(ctx, now, tx, 405, "Method Not Allowed");
        }
        Method::Ack | Method::Cancel => {}
        Method::Other(_) => refusal::not_allowed(ctx, now, tx, 501, "Not Implemented"),
    }
    None
}
