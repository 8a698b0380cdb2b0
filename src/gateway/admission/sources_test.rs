//! Tests of admission and quotas.

use std::net::IpAddr;

use super::Sources;
use crate::base::pool::Standing;
use crate::base::rng::Rng;
use crate::base::time::Now;
use crate::delivery::share::Origin;
use crate::gateway::accounts::Accounts;
use crate::gateway::context::Context;
use crate::gateway::legs::{Leg, Legs};
use crate::gateway::sip_call::{Peer, SipCall};
use crate::gateway::testing::{context, now};
use crate::sip::flow::{Flow, Transport};
use crate::sip::transactions::Admission;
use crate::wire::{Message, Request, parse};

struct Parts {
    ctx: Context,
    accounts: Accounts,
    legs: Legs,
}

impl Parts {
    fn new() -> Self {
        let ctx = context(|c| {
            c.limits.legs = 8;
            c.sip.accept_from = vec!["10.0.0.0/8".parse().unwrap()];
        });
        let accounts = Accounts::new(&ctx.config, &mut Rng::from_number(2));
        Self { ctx, accounts, legs: Legs::new(8) }
    }

    fn sources(&self) -> Sources<'_> {
        Sources::new(&self.ctx, &self.accounts, &self.legs)
    }

    /// An ended call from there whose terminal event is pending.
    fn call_from(&mut self, now: Now, source: Flow, name: &str) {
        let terms = self.accounts.trunks().terms_of(&self.ctx, None);
        let make = |id| {
            let peer = Peer::caller(id, source, terms, None, None);
            let call = SipCall::ended(peer, now.mono, now.mono);
            Leg::new(name.to_owned(), call, now).with_caller(Standing::Stranger, Vec::new())
        };
        let id = self.legs.adopt(&mut self.ctx, None, Origin::Own, make).unwrap();
        self.legs.add_dialog((name.to_owned(), "ours".to_owned()), id);
    }
}

fn at(addr: &str) -> Flow {
    Flow { transport: Transport::Udp, addr: format!("{addr}:5060").parse().unwrap(), conn: None }
}

fn request(method: &str, call_id: &str, to_tag: &str) -> Request {
    let text = format!(
        "{method} sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bK1\r\nFrom: <sip:b@c>;tag=1\r\n\
         To: <sip:a@b>{to_tag}\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    match parse(text.as_bytes()) {
        Ok(Message::Request(request)) => *request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn networks_of_ours_are_heard_and_strangers_are_not() {
    let parts = Parts::new();
    let sources = parts.sources();
    for (addr, ours) in [("10.1.2.3", true), ("203.0.113.9", false)] {
        let source = at(addr);
        let invite = request("INVITE", "call", "");
        assert_eq!(
            (sources.accepts(source), sources.hears(source), sources.knows(source)),
            (ours, ours, ours)
        );
        assert_eq!(sources.admits(source, &invite), ours, "{addr}");
    }
}

#[test]
fn whoever_is_in_a_call_is_heard_in_its_dialog_and_a_moment_after_it() {
    let (mut parts, now) = (Parts::new(), now());
    let stranger = at("203.0.113.9");
    parts.call_from(now, stranger, "call");
    let bye = |id: &str| request("BYE", id, ";tag=ours");
    assert!(parts.sources().knows(stranger) && parts.sources().admits(stranger, &bye("call")));
    assert!(!parts.sources().admits(at("203.0.113.10"), &bye("other")));
    let id = parts.legs.find("call").unwrap();
    parts.legs.end(now.mono, id);
    assert!(!parts.sources().knows(stranger), "the call is over");
    assert!(parts.sources().admits(stranger, &bye("call")), "its late requests are answered");
}

#[test]
fn what_begins_something_has_a_place_and_everything_else_changes_nothing() {
    let parts = Parts::new();
    let stranger = at("203.0.113.9");
    for (method, tag, want) in [
        ("INVITE", "", Admission::Kept(Standing::Stranger)),
        ("REGISTER", "", Admission::Kept(Standing::Stranger)),
        ("OPTIONS", "", Admission::Stateless),
        ("BYE", ";tag=x", Admission::Stateless),
        ("REGISTER", ";tag=x", Admission::Stateless),
    ] {
        assert_eq!(
            parts.sources().admission_of(&request(method, "call", tag), stranger),
            want,
            "{method}{tag}"
        );
    }
}

#[test]
fn one_source_and_all_strangers_leave_legs_to_others() {
    let (mut parts, now) = (Parts::new(), now());
    let ip: IpAddr = "203.0.113.9".parse().unwrap();
    for call in 0..7 {
        assert!(parts.sources().admits_call(ip, Standing::Stranger), "{call}");
        parts.call_from(now, at("203.0.113.9"), &call.to_string());
    }
    assert!(!parts.sources().admits_call(ip, Standing::Stranger), "an eighth is left to others");
    assert!(parts.sources().admits_call(ip, Standing::Own));
}
