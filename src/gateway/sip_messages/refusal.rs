//! Common responses to requests: errors, and plain success.

use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::registrar::guesses::WAIT_SECONDS;
use crate::gateway::sip_messages::capabilities::{ACCEPT, ALLOW, SUPPORTED};
use crate::sdp::SdpError;
use crate::sip::flow::{Flow, Transport};
use crate::sip::transactions::ServerId;
use crate::wire::{Draft, Request};

/// Reason phrase if credentials were not checked after too many wrong ones.
pub const TOO_MANY: &str = "Too Many Wrong Passwords";

/// Sends a response with these header fields and without body.
pub fn respond_with(
    ctx: &mut Context,
    now: Now,
    tx: ServerId,
    code: u16,
    reason: &str,
    fields: &[(&str, String)],
) {
    let Some(mut draft) = ctx.sip.draft(tx, code, reason) else { return };
    fields.iter().for_each(|(name, value)| draft.push(*name, value.as_str()));
    ctx.sip.respond(now.mono, tx, code, &draft);
}

/// The same, counted as refusal.
fn refuse_with(
    ctx: &mut Context,
    now: Now,
    tx: ServerId,
    code: u16,
    reason: &str,
    fields: &[(&str, String)],
) {
    *ctx.counters.signalling.refused.entry(code).or_default() += 1;
    respond_with(ctx, now, tx, code, reason, fields);
}

/// Refuses a request of an unknown source statelessly, with these header fields.
pub fn refuse_stateless(
    ctx: &mut Context,
    request: &Request,
    source: Flow,
    code: u16,
    reason: &str,
    fields: &[(&str, String)],
) {
    let tag = ctx.sip.stateless_tag(request);
    let mut draft = Draft::response(request, code, reason, Some(&tag));
    fields.iter().for_each(|(name, value)| draft.push(*name, value.as_str()));
    ctx.sip.reply_stateless(&draft, request, source);
}

/// Refuses a call before a leg is created, and counts it.
pub fn refuse(ctx: &mut Context, now: Now, tx: ServerId, code: u16, reason: &str) {
    let wait = [("Retry-After", "5".to_owned())];
    refuse_with(ctx, now, tx, code, reason, if code == 503 { &wait } else { &[] });
}

/// Refuses an unusable session description with a Warning (RFC 3261 §20.43).
pub fn refuse_sdp(ctx: &mut Context, now: Now, tx: ServerId, e: &SdpError) {
    let (code, reason, warning) = match e {
        SdpError::Malformed | SdpError::NotAnAnswer => (400, "Bad Request", 399),
        SdpError::NoAudio => (488, "Not Acceptable Here", 304),
        SdpError::Profile(_) | SdpError::NoKeys => (488, "Not Acceptable Here", 302),
        SdpError::NoCodec => (488, "Not Acceptable Here", 305),
        SdpError::Network(_) => (488, "Not Acceptable Here", 300),
        SdpError::Address => (488, "Not Acceptable Here", 301),
        SdpError::Multicast => (488, "Not Acceptable Here", 330),
        SdpError::NoPort => (503, "Service Unavailable", 399),
    };
    let warning = format!("{warning} {} \"{e}\"", ctx.config.sip.host);
    refuse_with(ctx, now, tx, code, reason, &[("Warning", warning)]);
}

/// Sends a response without body; a successful one contains our Contact.
pub fn respond(ctx: &mut Context, now: Now, tx: ServerId, code: u16, reason: &str) {
    let Some(mut draft) = ctx.sip.draft(tx, code, reason) else { return };
    if (101..300).contains(&code) {
        add_contact(ctx, &mut draft, tx);
    }
    ctx.sip.respond(now.mono, tx, code, &draft);
}

/// Reason phrase for a status code that we send.
#[must_use]
pub fn phrase(code: u16) -> &'static str {
    match code {
        403 => "Forbidden",
        404 => "Not Found",
        480 => "Temporarily Unavailable",
        486 => "Busy Here",
        487 => "Request Terminated",
        500 => "Server Internal Error",
        603 => "Decline",
        _ => "Rejected",
    }
}

/// Adds Contact, and Record-Route of the request, to a dialog-creating response (RFC 3261 §12.1.1).
pub fn add_contact(ctx: &Context, draft: &mut Draft, tx: ServerId) {
    let Some(request) = ctx.sip.request_of(tx) else { return };
    for value in request.common.headers.all("Record-Route") {
        draft.push("Record-Route", value);
    }
    if let Some(peer) = ctx.sip.peer_of(tx) {
        draft.push("Contact", contact(ctx, peer, request.is_secure()));
    }
    draft.push("Allow", ALLOW);
    draft.push("Supported", SUPPORTED);
}

/// Our Contact for the far end at `peer`: a SIPS URI with `secure`, so that requests come back secured as
/// well (RFC 3261 §8.1.1.8, §12.1.1).
pub fn contact(ctx: &Context, peer: Flow, secure: bool) -> String {
    let tls = Flow { transport: Transport::Tls, ..peer };
    // Without a TLS port of our own, a proxy that terminates TLS sends to the other port.
    let listens = ctx.sip.locals().tls_port.is_some();
    let target = if secure && listens { tls } else { peer };
    let Some(local) = ctx.sip.locals().for_target(target) else { return String::new() };
    if secure { format!("<sips:{local}>") } else { format!("<sip:{local}{}>", peer.transport.as_param()) }
}

/// Refuses a request because of its body, listing what is accepted (RFC 3261 §21.4.13).
pub fn refuse_body(ctx: &mut Context, now: Now, tx: ServerId, code: u16, reason: &str) {
    let taken = [("Accept", ACCEPT.to_owned())];
    refuse_with(ctx, now, tx, code, reason, if code == 400 { &[] } else { &taken });
}

/// Refuses a session interval that is too short (RFC 4028 §9).
pub fn refuse_short_session(ctx: &mut Context, now: Now, tx: ServerId, least: u32) {
    let least = [("Min-SE", least.to_string())];
    refuse_with(ctx, now, tx, 422, "Session Interval Too Small", &least);
}

/// Refuses a method, listing the allowed ones (RFC 3261 §21.4.6).
pub fn not_allowed(ctx: &mut Context, now: Now, tx: ServerId, code: u16, reason: &str) {
    let Some(request) = ctx.sip.request_of(tx) else { return };
    // Do not list the refused method, nor REFER outside a dialog.
    let outside = request.common.to.tag().is_none();
    let refused = |m: &str| request.method.to_string() == m || (outside && m == "REFER");
    let allowed: Vec<&str> = ALLOW.split(", ").filter(|m| !refused(m)).collect();
    let allowed = allowed.join(", ");
    respond_with(ctx, now, tx, code, reason, &[("Allow", allowed)]);
}

/// Refuses unsupported required extensions (RFC 3261 §21.4.15).
pub fn bad_extension(ctx: &mut Context, now: Now, tx: ServerId, options: &str) {
    refuse_with(ctx, now, tx, 420, "Bad Extension", &[("Unsupported", options.to_owned())]);
}

/// Refuses credentials without checking them. Not with 503, after which proxies would stop sending any
/// requests.
pub fn refuse_guess(ctx: &mut Context, now: Now, tx: ServerId) {
    refuse_with(ctx, now, tx, 500, TOO_MANY, &[("Retry-After", WAIT_SECONDS.to_string())]);
}

/// Refuses a registration interval that is too short, with the minimum in s (RFC 3261 §10.3 step 7).
pub fn too_brief(ctx: &mut Context, now: Now, tx: ServerId, shortest: u32) {
    respond_with(ctx, now, tx, 423, "Interval Too Brief", &[("Min-Expires", shortest.to_string())]);
}

/// Refuses an unsupported event package.
pub fn bad_event(ctx: &mut Context, now: Now, tx: ServerId) {
    respond_with(ctx, now, tx, 489, "Bad Event", &[("Allow-Events", "refer".to_owned())]);
}

/// Answers OPTIONS with our capabilities (RFC 3261 §11.2).
pub fn answer_options(ctx: &mut Context, now: Now, tx: ServerId) {
    let able = [("Allow", ALLOW), ("Accept", ACCEPT), ("Supported", SUPPORTED), ("Allow-Events", "refer")];
    respond_with(ctx, now, tx, 200, "OK", &able.map(|(name, value)| (name, value.to_owned())));
}
