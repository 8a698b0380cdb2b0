//! What we answer to requests without a part of their own having its say: refusals, and plain responses.

use super::capabilities::{ACCEPT, ALLOW, SUPPORTED};
use super::context::Context;
use super::registrar::guesses::WAIT_SECONDS;
use crate::base::time::Now;
use crate::sdp::SdpError;
use crate::sip::target::{Target, Transport};
use crate::sip::transactions::ServerId;
use crate::wire::{Draft, Request};

/// Reason phrase of the refusal of credentials that were not looked at.
pub const TOO_MANY: &str = "Too Many Wrong Passwords";

/// A response with these header fields and no body.
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

/// The same, counted among the refusals.
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

/// Refuses a request of someone unknown from memory of nothing, with these header fields.
pub fn refuse_stateless(
    ctx: &mut Context,
    request: &Request,
    source: Target,
    code: u16,
    reason: &str,
    fields: &[(&str, String)],
) {
    let tag = ctx.sip.stateless_tag(request);
    let mut draft = Draft::response(request, code, reason, Some(&tag));
    fields.iter().for_each(|(name, value)| draft.push(*name, value.as_str()));
    ctx.sip.reply_stateless(&draft, request, source);
}

/// Counts and refuses a call before it becomes a leg.
pub fn refuse(ctx: &mut Context, now: Now, tx: ServerId, code: u16, reason: &str) {
    let wait = [("Retry-After", "5".to_owned())];
    refuse_with(ctx, now, tx, code, reason, if code == 503 { &wait } else { &[] });
}

/// Refuses a session description that cannot be used, saying why (RFC 3261 §20.43).
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

/// A response without a body; one that succeeds says where we are.
pub fn respond(ctx: &mut Context, now: Now, tx: ServerId, code: u16, reason: &str) {
    let Some(mut draft) = ctx.sip.draft(tx, code, reason) else { return };
    if (101..300).contains(&code) {
        add_contact(ctx, &mut draft, tx);
    }
    ctx.sip.respond(now.mono, tx, code, &draft);
}

/// The reason phrase of a refusal that we send.
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

/// Contact, and the proxies' Record-Route, of a response that makes a dialog (RFC 3261 §12.1.1).
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

/// Our Contact as the far end at `peer` should use it: `secure` where it is reached by a SIPS URI, so that it
/// must not come back by anything less (RFC 3261 §8.1.1.8, §12.1.1).
pub fn contact(ctx: &Context, peer: Target, secure: bool) -> String {
    let tls = Target { transport: Transport::Tls, ..peer };
    // Without a port of ours for TLS, who decrypts for us sends to the other.
    let listens = ctx.sip.locals().tls_port.is_some();
    let target = if secure && listens { tls } else { peer };
    let Some(local) = ctx.sip.locals().for_target(target) else { return String::new() };
    if secure { format!("<sips:{local}>") } else { format!("<sip:{local}{}>", peer.transport.as_param()) }
}

/// Refuses a request for its body, naming what is taken instead (RFC 3261 §21.4.13).
pub fn refuse_body(ctx: &mut Context, now: Now, tx: ServerId, code: u16, reason: &str) {
    let taken = [("Accept", ACCEPT.to_owned())];
    refuse_with(ctx, now, tx, code, reason, if code == 400 { &[] } else { &taken });
}

/// Refuses a session that is too short (RFC 4028 §9).
pub fn refuse_short_session(ctx: &mut Context, now: Now, tx: ServerId, least: u32) {
    let least = [("Min-SE", least.to_string())];
    refuse_with(ctx, now, tx, 422, "Session Interval Too Small", &least);
}

/// Refuses a method, naming those that are allowed (RFC 3261 §21.4.6).
pub fn not_allowed(ctx: &mut Context, now: Now, tx: ServerId, code: u16, reason: &str) {
    let Some(request) = ctx.sip.request_of(tx) else { return };
    // What is refused is not allowed, and nobody may ask for a transfer outside of a call.
    let outside = request.common.to.tag().is_none();
    let refused = |m: &str| request.method.to_string() == m || (outside && m == "REFER");
    let allowed: Vec<&str> = ALLOW.split(", ").filter(|m| !refused(m)).collect();
    let allowed = allowed.join(", ");
    respond_with(ctx, now, tx, code, reason, &[("Allow", allowed)]);
}

/// Refuses extensions that a request insists on (RFC 3261 §21.4.15).
pub fn bad_extension(ctx: &mut Context, now: Now, tx: ServerId, options: &str) {
    refuse_with(ctx, now, tx, 420, "Bad Extension", &[("Unsupported", options.to_owned())]);
}

/// Refuses credentials that were not looked at. Not with 503, after which proxies leave us alone for everybody.
pub fn refuse_guess(ctx: &mut Context, now: Now, tx: ServerId) {
    refuse_with(ctx, now, tx, 500, TOO_MANY, &[("Retry-After", WAIT_SECONDS.to_string())]);
}

/// Refuses a registration that is too short, naming the shortest, s (RFC 3261 §10.3 step 7).
pub fn too_brief(ctx: &mut Context, now: Now, tx: ServerId, shortest: u32) {
    respond_with(ctx, now, tx, 423, "Interval Too Brief", &[("Min-Expires", shortest.to_string())]);
}

/// Other packages are not known here.
pub fn bad_event(ctx: &mut Context, now: Now, tx: ServerId) {
    respond_with(ctx, now, tx, 489, "Bad Event", &[("Allow-Events", "refer".to_owned())]);
}

/// OPTIONS: what we can do (RFC 3261 §11.2).
pub fn answer_options(ctx: &mut Context, now: Now, tx: ServerId) {
    let able = [("Allow", ALLOW), ("Accept", ACCEPT), ("Supported", SUPPORTED), ("Allow-Events", "refer")];
    respond_with(ctx, now, tx, 200, "OK", &able.map(|(name, value)| (name, value.to_owned())));
}
