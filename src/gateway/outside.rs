//! Requests as they come in: which call they belong to, and those that belong to none.

use super::bodies::refusal_of_body;
use super::core::Gateway;
use crate::base::time::Now;
use crate::sip::target::Target;
use crate::sip::transactions::ServerId;
use crate::wire::{Method, Request, Uri};

/// Methods the gateway takes.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REFER, NOTIFY, UPDATE, PRACK";
/// Media types the gateway makes use of.
pub const ACCEPT: &str = "application/sdp, multipart/mixed, multipart/alternative, application/dtmf-relay, \
                          application/dtmf, message/sipfrag";
/// Extensions the gateway knows.
pub const SUPPORTED: &str = "replaces, timer, 100rel";

impl Gateway {
    /// A new request.
    pub(super) fn request(&mut self, now: Now, tx: ServerId, request: &Request, source: Target) {
        if matches!(request.uri, Uri::Other(_)) {
            return self.refuse_call(now, tx, 416, "Unsupported URI Scheme");
        }
        let known = |option: &&str| SUPPORTED.split(", ").any(|s| s.eq_ignore_ascii_case(option));
        let needed: Vec<&str> = request.common.headers.tokens("Require").filter(|o| !known(o)).collect();
        if !needed.is_empty() {
            return self.bad_extension(now, tx, &needed.join(", "));
        }
        if request.common.to.tag().is_some() {
            return self.in_dialog(now, tx, request, source);
        }
        match &request.method {
            Method::Invite => match refusal_of_body(request) {
                Some((code, reason)) => self.refuse_body(now, tx, code, reason),
                None => self.invited(now, tx, request, source),
            },
            Method::Options if self.is_stopping() => self.refuse_call(now, tx, 503, "Service Unavailable"),
            Method::Options => self.options(now, tx),
            Method::Bye | Method::Info | Method::Update | Method::Prack | Method::Notify => {
                self.respond_plain(now, tx, 481, "Call/Transaction Does Not Exist");
            }
            Method::Register => self.register_received(now, tx, request, source),
            Method::Refer | Method::Subscribe | Method::Message | Method::Publish => {
                self.not_allowed(now, tx, 405, "Method Not Allowed");
            }
            Method::Ack | Method::Cancel => {}
            Method::Other(_) => self.not_allowed(now, tx, 501, "Not Implemented"),
        }
    }

    /// OPTIONS: what we can do (RFC 3261 §11.2).
    pub(super) fn options(&mut self, now: Now, tx: ServerId) {
        let Some(mut draft) = self.ctx.sip.draft(tx, 200, "OK") else { return };
        draft.push("Allow", ALLOW);
        draft.push("Accept", ACCEPT);
        draft.push("Supported", SUPPORTED);
        draft.push("Allow-Events", "refer");
        self.ctx.sip.respond(now.mono, tx, 200, &draft);
    }

    pub(super) fn not_allowed(&mut self, now: Now, tx: ServerId, code: u16, reason: &str) {
        let Some(mut draft) = self.ctx.sip.draft(tx, code, reason) else { return };
        let Some(request) = self.ctx.sip.request_of(tx) else { return };
        // What is refused is not allowed (RFC 3261 §21.4.6), and nobody may ask for a transfer outside of a call.
        let outside = request.common.to.tag().is_none();
        let refused = |m: &str| request.method.to_string() == m || (outside && m == "REFER");
        let allowed: Vec<&str> = ALLOW.split(", ").filter(|m| !refused(m)).collect();
        draft.push("Allow", allowed.join(", "));
        self.ctx.sip.respond(now.mono, tx, code, &draft);
    }

    fn bad_extension(&mut self, now: Now, tx: ServerId, options: &str) {
        *self.ctx.counters.refused.entry(420).or_default() += 1;
        let Some(mut draft) = self.ctx.sip.draft(tx, 420, "Bad Extension") else { return };
        draft.push("Unsupported", options);
        self.ctx.sip.respond(now.mono, tx, 420, &draft);
    }
}
