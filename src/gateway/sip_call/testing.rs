//! Test harness: a call and its far end in virtual time.

use std::net::IpAddr;
use std::time::Duration;

use super::{Handled, Inviting, OutRequest, Peer, SipCall};
use crate::base::ids::Table;
use crate::base::pool::Standing;
use crate::base::time::Now;
use crate::codec::Codec;
use crate::delivery::share::Origin;
use crate::gateway::context::Context;
use crate::gateway::legs::leg_id::{LegId, LegKey};
use crate::gateway::requests::OutboundRequest;
use crate::gateway::resources::ports::Port;
use crate::gateway::sip_messages::bodies::offer_of;
use crate::gateway::sip_messages::offers::able_to_begin;
use crate::gateway::testing::{context, events, now};
use crate::gateway::trunks::Trunks;
use crate::sip::flow::{Flow, Transport};
use crate::sip::transactions::{Admission, Event};
use crate::wire::{Message, Request, Uri, parse};

/// An SDP of the far end with this direction.
pub(super) fn sdp(direction: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\n\
         a=rtpmap:101 telephone-event/8000\r\na={direction}\r\n"
    )
}

/// The far end of the tests.
fn far() -> Flow {
    let addr = "192.0.2.9:5060".parse().expect("an address");
    Flow { transport: Transport::Udp, addr, conn: None }
}

/// A call and its far end.
pub(super) struct Harness {
    pub(super) ctx: Context,
    pub(super) call: SipCall,
    pub(super) now: Now,
    /// Messages sent by us, oldest first, without 100.
    pub(super) sent: Vec<String>,
    /// Remaining work of the last request received.
    pub(super) handled: Handled,
    /// CSeq number of the far end's last request.
    cseq: u32,
}

fn leg(ctx: &mut Context) -> LegId {
    let id = Table::<(), LegKey>::new(1).insert(()).expect("a place");
    ctx.events.add_leg(id, "a".to_owned(), None, Origin::Own);
    let port = |n: u16| Port { id: n.into(), address: IpAddr::from([192, 0, 2, 1]), port: 10_000 + 2 * n };
    (0..4).for_each(|n| ctx.ports.add(port(n)));
    id
}

impl Harness {
    /// An outbound call to `bob` whose INVITE was sent.
    pub(super) fn outbound() -> Self {
        let mut ctx = context(|_| {});
        let (id, now) = (leg(&mut ctx), now());
        let to = Uri::parse("sip:bob@192.0.2.9").expect("a URI");
        let request = OutRequest {
            to: to.clone(),
            target: to.clone(),
            from: String::new(),
            way: None,
            tag: "ours".to_owned(),
            call_id: "call".to_owned(),
            privacy: String::new(),
            session: 1800,
            headers: Vec::new(),
        };
        let inviting = Inviting::new(request, 1, Some(now.mono + Duration::from_secs(60)));
        let peer = Peer::called(id, Trunks::default().terms_of(&ctx, None), None);
        let call = SipCall::outbound(peer, inviting, vec![Codec::Pcmu], 0);
        let mut h = Self { ctx, call, now, sent: Vec::new(), handled: Handled::Done, cseq: 0 };
        h.call.call(&mut h.ctx, &to);
        h.run();
        h
    }

    /// An inbound call with an offer and these `headers`.
    pub(super) fn inbound(headers: &str) -> Self {
        let mut ctx = context(|_| {});
        let (id, now) = (leg(&mut ctx), now());
        let peer = Peer::caller(id, far(), Trunks::default().terms_of(&ctx, None), None, None);
        let call = SipCall::ended(peer, now.mono, now.mono);
        let mut h = Self { ctx, call, now, sent: Vec::new(), handled: Handled::Done, cseq: 0 };
        h.receive("INVITE", headers, Some(&sdp("sendrecv")));
        h.sent.clear();
        h
    }

    /// An outbound call answered with `headers`.
    pub(super) fn connected(headers: &str) -> Self {
        let mut h = Self::outbound();
        h.respond(200, "OK", headers, Some(&sdp("sendrecv")));
        h.sent.clear();
        h
    }

    /// Advances time, timer by timer.
    pub(super) fn wait(&mut self, seconds: u64) {
        let end = self.now.mono + Duration::from_secs(seconds);
        loop {
            // The deadline of an ended call is handled elsewhere.
            let call = self.call.deadline().filter(|_| !self.call.is_ending());
            let due = [call, self.ctx.sip.poll_timeout()].into_iter().flatten().min();
            let Some(at) = due.filter(|at| *at <= end) else { break };
            self.now.mono = self.now.mono.max(at);
            self.ctx.sip.handle_timeout(self.now.mono);
            self.call.handle_timeout(&mut self.ctx, self.now);
            self.run();
        }
        self.now.mono = end;
    }

    /// The far end sends a request: in the dialog, if there is one.
    pub(super) fn receive(&mut self, method: &str, headers: &str, body: Option<&str>) {
        // An ACK has the CSeq of its INVITE.
        self.cseq += u32::from(method != "ACK");
        let to = match self.call.dialog() {
            Some(dialog) => format!(";tag={}", dialog.local.tag().unwrap_or_default()),
            None => String::new(),
        };
        let call_id = self.call.dialog().map_or("call", |d| &d.call_id).to_owned();
        let (cseq, at) = (self.cseq, if to.is_empty() { "INVITE" } else { method });
        let text = format!(
            "{method} sip:us@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{at}{cseq}{method}\r\n\
             From: <sip:bob@192.0.2.9>;tag=theirs\r\nTo: <sip:us@192.0.2.1>{to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:bob@192.0.2.9>\r\nMax-Forwards: 70\r\n{headers}"
        );
        self.take(&with_body(text, body));
    }

    /// The far end responds to our last request with tag `theirs`.
    pub(super) fn respond(&mut self, code: u16, reason: &str, headers: &str, body: Option<&str>) {
        let is_request = |s: &&String| !s.starts_with("SIP/2.0") && !s.starts_with("ACK");
        let request = self.sent.iter().rev().find(is_request).expect("a request of ours").clone();
        self.respond_to(&request, code, reason, headers, body);
    }

    /// The far end responds to this request of ours.
    pub(super) fn respond_to(
        &mut self,
        request: &str,
        code: u16,
        reason: &str,
        headers: &str,
        body: Option<&str>,
    ) {
        let field = |name: &str| request.lines().find(|l| l.starts_with(name)).expect("a header").to_owned();
        let mut text = format!("SIP/2.0 {code} {reason}\r\n");
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            text += &field(name);
            if name == "To" && !field(name).contains("tag=") {
                text += ";tag=theirs";
            }
            text += "\r\n";
        }
        text += "Contact: <sip:bob@192.0.2.9>\r\n";
        text += headers;
        self.take(&with_body(text, body));
    }

    /// The far end reports the progress of our transfer.
    pub(super) fn notify(&mut self, state: &str, progress: &str) {
        let headers =
            format!("Event: refer\r\nSubscription-State: {state}\r\nContent-Type: message/sipfrag\r\n");
        self.receive("NOTIFY", &headers, Some(progress));
    }

    fn take(&mut self, text: &str) {
        match parse(text.as_bytes()).expect("a message") {
            Message::Request(mut request) => {
                request.stamp(far().addr);
                let admission = Admission::Kept(Standing::Established);
                self.ctx.sip.handle_request(self.now.mono, request, far(), admission);
            }
            Message::Response(response) => self.ctx.sip.handle_response(self.now.mono, response),
        }
        self.run();
    }

    /// Executes an API command on the call and sends the resulting requests.
    pub(super) fn ask<T>(&mut self, work: impl FnOnce(&mut SipCall, &mut Context, Now) -> T) -> T {
        let done = work(&mut self.call, &mut self.ctx, self.now);
        self.run();
        done
    }

    fn run(&mut self) {
        loop {
            if let Some(event) = self.ctx.sip.poll_event() {
                self.handle(event);
            } else if let Some((request, targets)) = self.ctx.requests.poll_located() {
                self.transmit(request, targets);
            } else {
                break;
            }
        }
        while let Some(out) = self.ctx.sip.poll_transmit() {
            let text = String::from_utf8_lossy(&out.bytes).into_owned();
            if !text.starts_with("SIP/2.0 100") {
                self.sent.push(text);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let (call, ctx, now) = (&mut self.call, &mut self.ctx, self.now);
        match event {
            Event::Request(tx, request, _) if call.dialog().is_none() && is_invite(&request) => {
                let offer = offer_of(&request, &able_to_begin(ctx, call.terms().srtp)).expect("an offer");
                let peer = Peer::caller(call.peer.id, far(), call.terms().clone(), None, None);
                let until = now.mono + Duration::from_secs(60);
                *call = SipCall::inbound(peer, tx, offer, vec![Codec::Pcmu], until);
            }
            Event::Request(tx, request, source) => {
                self.handled = call.handle_request(ctx, now, tx, &request, source);
            }
            Event::Ack(request) => call.handle_ack(ctx, now, &request),
            Event::Cancelled(_) => call.handle_cancel(ctx, now),
            Event::Response(tx, response) => {
                if let Some(of) = ctx.requests.context_of(tx) {
                    call.handle_response(ctx, now, of, tx, &response);
                }
            }
            Event::Failed(tx, failure) => {
                if let Some(of) = ctx.requests.forget(tx) {
                    call.handle_failure(ctx, now, of, tx, failure);
                }
            }
            Event::AckMissing(tx, why) => call.handle_ack_missing(ctx, now, tx, why),
            Event::Gone(tx) => ctx.requests.handle_gone(tx),
        }
    }

    fn transmit(&mut self, request: OutboundRequest, targets: Vec<Flow>) {
        let (call, ctx, now) = (&mut self.call, &mut self.ctx, self.now);
        let first = targets.first().copied();
        match request {
            OutboundRequest::Invite(_) => call.call_servers(ctx, now, targets),
            OutboundRequest::Ack(tx, tag, draft) => ctx.sip.ack(tx, &tag, &draft, first.expect("an address")),
            OutboundRequest::Bye(draft, bye) => {
                crate::gateway::requests::transmit_bye(ctx, now, first.expect("an address"), draft, bye);
            }
            OutboundRequest::Change(..)
            | OutboundRequest::Refer(..)
            | OutboundRequest::Info(..)
            | OutboundRequest::Subscribe(..)
            | OutboundRequest::Prack(..) => call.transmit(ctx, now, request, first),
            OutboundRequest::Notify(..) | OutboundRequest::Register(_) | OutboundRequest::LookUp(_) => {}
        }
    }

    /// First lines of the messages sent since the last call.
    pub(super) fn lines(&mut self) -> Vec<String> {
        let line = |s: String| s.lines().next().unwrap_or_default().to_owned();
        std::mem::take(&mut self.sent).into_iter().map(line).collect()
    }

    /// Events of the leg since the last call.
    pub(super) fn events(&mut self) -> Vec<String> {
        events(&mut self.ctx).into_iter().map(|e| e.trim_end_matches(" a").to_owned()).collect()
    }

    /// Events reported by the call since the last call, by name.
    pub(super) fn reports(&mut self) -> Vec<String> {
        let name = |event: String| event.split(['(', ' ', '{']).next().unwrap_or_default().to_owned();
        self.ctx.call_events.drain(..).map(|(_, e)| name(format!("{e:?}"))).collect()
    }

    /// Why the call has ended.
    pub(super) fn end(&self) -> Option<&str> {
        self.call.end_of().map(|(reason, ..)| reason)
    }
}

fn is_invite(request: &Request) -> bool {
    request.method == crate::wire::Method::Invite
}

fn with_body(head: String, body: Option<&str>) -> String {
    let body = body.unwrap_or_default();
    let kind = if body.is_empty() || head.contains("Content-Type") {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!("{head}{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}
