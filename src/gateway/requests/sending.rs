//! Sends our requests to located targets, and handles responses to abandoned ones.

use super::bye::{Bye, Parting};
use super::request::{OutboundRequest, RequestContext};
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::sip::dialog::Dialog;
use crate::sip::flow::Flow;
use crate::sip::transactions::{ClientId, ServerId};
use crate::wire::{Draft, Method, Response, Uri};

/// Most reliable provisional responses of an unwanted fork.
const MAX_PRACKS: u32 = 100;

/// Sends a request to `to`; `flow`: the flow of its dialog. `lax`: over TLS, accept any certificate.
pub fn send(ctx: &mut Context, to: &Uri, flow: Option<Flow>, lax: bool, request: OutboundRequest) {
    match flow.filter(|_| ctx.config.sip.source_socket && !matches!(request, OutboundRequest::Invite(_))) {
        Some(flow) => ctx.requests.resolve_along(request, flow),
        None => ctx.requests.resolve(&mut ctx.io, request, to, flow, lax),
    }
}

/// True if we have a socket for this address family.
pub fn can_reach(ctx: &Context, target: Flow) -> bool {
    let locals = ctx.sip.locals();
    let family = if target.addr.is_ipv4() { locals.v4 } else { locals.v6 };
    family.is_some() && target.addr.port() != 0
}

/// Sends a BYE; the server that the leg called may challenge it.
pub fn send_bye(ctx: &mut Context, dialog: &mut Dialog, parting: Parting) {
    let (mut draft, hop) = dialog.request(&Method::Bye);
    draft.push("User-Agent", ctx.config.sip.host.as_str());
    let (flow, lax) = (parting.flow, parting.lax);
    let bye = Box::new(Bye { dialog: dialog.clone(), parting });
    send(ctx, &hop, flow, lax, OutboundRequest::Bye(draft, bye));
}

/// Sends the queued BYE of the ended leg of this INVITE.
pub fn send_owed_bye(ctx: &mut Context, invite: ServerId) {
    if let Some(Bye { mut dialog, parting }) = ctx.requests.take_owed_bye(invite) {
        send_bye(ctx, &mut dialog, parting);
    }
}

/// Sends a BYE to a target.
pub fn transmit_bye(ctx: &mut Context, now: Now, target: Flow, mut draft: Draft, mut bye: Box<Bye>) {
    // No other server gets credentials.
    let known = bye.parting.auth.as_mut().filter(|a| a.was_asked_by(target.addr.ip()));
    let challenged = known.is_some();
    if let Some(auth) = known {
        auth.add_to(&Method::Bye, &mut draft, target, &ctx.rng.token());
    }
    // If no transaction is free, the far end ends by its own timers.
    let sent = ctx.sip.request(now.mono, &Method::Bye, draft, target);
    if let (Ok(tx), true) = (sent, challenged) {
        ctx.requests.bye_sent(tx, bye);
    }
}

/// Handles a response to a BYE that may be challenged.
pub fn bye_answered(ctx: &mut Context, tx: ClientId, response: &Response) {
    if response.code < 200 {
        return;
    }
    let Some(mut bye) = ctx.requests.take_bye(tx) else { return };
    let Some(auth) = bye.parting.auth.as_mut() else { return };
    if auth.takes_any(response) {
        send_bye(ctx, &mut bye.dialog, bye.parting);
    }
}

/// Sends the ACK to a 2xx.
pub fn send_ack(ctx: &mut Context, tx: ClientId, dialog: &Dialog, cseq: u32, parting: &Parting) {
    let (mut draft, hop) = dialog.ack(cseq);
    copy_authorization(ctx, tx, &mut draft);
    let tag = dialog.remote.tag().unwrap_or_default().to_owned();
    send(ctx, &hop, parting.flow, parting.lax, OutboundRequest::Ack(tx, tag, draft));
}

/// The ACK to a 2xx has the same credentials as the INVITE (RFC 3261 §22.1).
fn copy_authorization(ctx: &Context, tx: ClientId, ack: &mut Draft) {
    let Some(sent) = ctx.sip.sent(tx) else { return };
    for name in ["Authorization", "Proxy-Authorization"] {
        for value in sent.all(name) {
            ack.push(name, value);
        }
    }
}

/// Cancels an INVITE that its leg has abandoned.
pub fn abandon_invite(ctx: &mut Context, now: Now, tx: ClientId, parting: Parting) {
    ctx.requests.abandon_invite(tx, parting);
    ctx.sip.cancel(now.mono, tx);
}

/// An unwanted 2xx: acknowledged and ended at once (RFC 3261 §13.2.2.4).
pub fn end_fork(ctx: &mut Context, tx: ClientId, response: &Response, parting: Parting) {
    let tag = response.common.to.tag().unwrap_or_default().to_owned();
    // Its ACK may still be waiting for target resolution when the 2xx is retransmitted.
    if !ctx.requests.forks_mut().end(tx, tag) {
        return;
    }
    let Ok(mut dialog) = Dialog::uac(response, &response.common.to.uri) else { return };
    let flow = ctx.sip.target_of(tx);
    // Higher than the CSeq of any of its PRACKs, which are not tracked here; gaps are allowed (RFC 3261
    // §12.2.1.1).
    dialog.local_seq = dialog.local_seq.saturating_add(MAX_PRACKS);
    dialog.pinned = flow.filter(|_| ctx.requests.forks().is_pinned(tx)).and_then(Flow::uri);
    let parting = Parting { flow, ..parting };
    send_ack(ctx, tx, &dialog, response.common.cseq, &parting);
    send_bye(ctx, &mut dialog, parting);
}

/// Handles a response to a request whose leg was removed, or does not wait for it any more.
pub fn handle_abandoned(ctx: &mut Context, tx: ClientId, context: RequestContext, response: &Response) {
    let accepted = (200..300).contains(&response.code);
    match context {
        RequestContext::AbandonedInvite if accepted => {
            let parting = ctx.requests.forks().parting_of(tx).cloned().unwrap_or_default();
            end_fork(ctx, tx, response, parting);
        }
        RequestContext::AbandonedChange if accepted && response.common.cseq_method == Method::Invite => {
            if let Ok(dialog) = Dialog::uac(response, &response.common.to.uri) {
                let parting = Parting { flow: ctx.sip.target_of(tx), ..Parting::default() };
                send_ack(ctx, tx, &dialog, response.common.cseq, &parting);
            }
        }
        RequestContext::AbandonedInvite | RequestContext::AbandonedChange if response.code >= 300 => {
            ctx.requests.forget(tx);
        }
        RequestContext::AbandonedInvite
        | RequestContext::AbandonedChange
        | RequestContext::Invite(_)
        | RequestContext::Change(_)
        | RequestContext::Refer(_)
        | RequestContext::Info(_)
        | RequestContext::Register(_)
        | RequestContext::Prack(_)
        | RequestContext::Notify(..) => {}
    }
}
