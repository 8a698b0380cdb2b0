//! Requests as they come in: which call they belong to, and those that belong to none.

use super::bodies::refusal_of_body;
use super::capabilities::SUPPORTED;
use super::core::Gateway;
use super::refusal;
use crate::base::time::Now;
use crate::sip::target::Target;
use crate::sip::transactions::ServerId;
use crate::wire::{Method, Request, Uri};

impl Gateway {
    /// A new request.
    pub(super) fn request(&mut self, now: Now, tx: ServerId, request: &Request, source: Target) {
        if matches!(request.uri, Uri::Other(_)) {
            return refusal::refuse(&mut self.ctx, now, tx, 416, "Unsupported URI Scheme");
        }
        let known = |option: &&str| SUPPORTED.split(", ").any(|s| s.eq_ignore_ascii_case(option));
        let needed: Vec<&str> = request.common.headers.tokens("Require").filter(|o| !known(o)).collect();
        if !needed.is_empty() {
            return refusal::bad_extension(&mut self.ctx, now, tx, &needed.join(", "));
        }
        if request.common.to.tag().is_some() {
            return self.in_dialog(now, tx, request, source);
        }
        match &request.method {
            Method::Invite => match refusal_of_body(request) {
                Some((code, reason)) => refusal::refuse_body(&mut self.ctx, now, tx, code, reason),
                None => self.invited(now, tx, request, source),
            },
            Method::Options if self.is_stopping() => {
                refusal::refuse(&mut self.ctx, now, tx, 503, "Service Unavailable")
            }
            Method::Options => refusal::answer_options(&mut self.ctx, now, tx),
            Method::Bye | Method::Info | Method::Update | Method::Prack | Method::Notify => {
                refusal::respond(&mut self.ctx, now, tx, 481, "Call/Transaction Does Not Exist");
            }
            Method::Register => self.registrar.handle_register(&mut self.ctx, now, tx, request, source),
            Method::Refer | Method::Subscribe | Method::Message | Method::Publish => {
                refusal::not_allowed(&mut self.ctx, now, tx, 405, "Method Not Allowed");
            }
            Method::Ack | Method::Cancel => {}
            Method::Other(_) => refusal::not_allowed(&mut self.ctx, now, tx, 501, "Not Implemented"),
        }
    }
}
