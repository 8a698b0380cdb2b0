//! A far end whose messages are written by the test: one call with a gateway, over any transport, in virtual
//! time.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use branchline::base::rng::Rng;
use branchline::base::time::{Now, Utc};
use branchline::gateway::Gateway;
use branchline::gateway::events::Event;
use branchline::gateway::interface::replies::Reply;
use branchline::gateway::interface::work::{Work, WorkResult};
use branchline::gateway::resources::ports::Port;
use branchline::media::command::{Command, MediaEvent, Quality};
use branchline::sip::flow::{Flow, Transport};
use branchline::sip::locals::Locals;
use branchline::wire::uri::Host;

use crate::calls::call_to;
use crate::described::next_event;

const HOME: &str = "10.0.0.77:5060";

/// A message from the gateway.
#[derive(Debug, Clone)]
pub struct Heard {
    pub target: Flow,
    pub text: String,
    /// Milliseconds since the start.
    pub at: u64,
}

impl Heard {
    pub fn field(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\r\n\r\n").next()?;
        head.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").unwrap().1
    }

    pub fn is(&self, start: &str) -> bool {
        self.text.starts_with(start)
    }

    /// Status code; 0 for requests.
    pub fn code(&self) -> u16 {
        self.text.strip_prefix("SIP/2.0 ").map_or(0, |t| t[..3].parse().unwrap())
    }

    /// The version in the origin line.
    pub fn version(&self) -> u64 {
        let origin =
            self.body().lines().find(|l| l.starts_with("o=")).unwrap_or_else(|| panic!("{}", self.text));
        origin.split(' ').nth(2).unwrap().parse().unwrap()
    }
}

pub struct Hand {
    pub gw: Gateway,
    pub now: Now,
    start: Now,
    /// Source of its messages.
    pub at: Flow,
    pub events: Vec<Event>,
    /// Messages received since the last look.
    heard: Vec<Heard>,
    /// From and To of its requests in the call.
    from: String,
    pub to: String,
    call_id: String,
    seq: u32,
    branch: u32,
    pub leg: String,
    /// Known names and their addresses.
    pub hosts: Vec<(&'static str, &'static str)>,
}

/// Its session description.
pub fn sdp(version: u32, direction: &str) -> String {
    format!(
        "v=0\r\no=hand 5 {version} IN IP4 10.0.0.77\r\ns=-\r\nc=IN IP4 10.0.0.77\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\n"
    )
}

pub fn along(transport: Transport, addr: &str, conn: Option<u64>) -> Flow {
    Flow { transport, addr: addr.parse().unwrap(), conn }
}

impl Hand {
    pub fn new(transport: Transport, extra: &str) -> Self {
        let home: SocketAddr = "10.0.0.1:5060".parse().unwrap();
        let locals = Locals { v4: Some(home), ..Locals::default() };
        let gw = Gateway::new(crate::net::config(extra), locals, Rng::from_number(7));
        let now = Now { mono: std::time::Instant::now(), utc: Utc(Duration::from_secs(1_776_330_000)) };
        // Connections come from another port than its listening port.
        let at = match transport {
            Transport::Udp => along(transport, HOME, None),
            Transport::Tcp | Transport::Tls => along(transport, "10.0.0.77:40001", Some(1)),
        };
        let mut hand = Self {
            gw,
            now,
            start: now,
            at,
            events: Vec::new(),
            heard: Vec::new(),
            from: "<sip:hand@10.0.0.77>;tag=hand".into(),
            to: "<sip:desk@10.0.0.1>".into(),
            call_id: "by-hand".into(),
            seq: 0,
            branch: 0,
            leg: String::new(),
            hosts: Vec::new(),
        };
        for id in 1..9 {
            hand.gw.ports().add(Port { id, address: home.ip(), port: 10_000 + id as u16 * 2 });
        }
        hand
    }

    /// Calls the gateway, which does not answer yet.
    pub fn calls(&mut self, fields: &str, offer: Option<&str>) -> Vec<Heard> {
        let heard = self.asks("INVITE", fields, offer);
        self.leg = self.events.iter().find_map(|e| e.leg_id.clone()).expect("a leg");
        if let Some(tagged) = heard.iter().filter(|h| h.code() > 100).find_map(|h| h.field("To")) {
            self.to = tagged.to_owned();
        }
        heard
    }

    /// The gateway answers; returns its 200.
    pub fn answered(&mut self) -> Heard {
        let leg = self.leg.clone();
        let now = self.now;
        self.gw.legs(now, |l| l.answer(&leg)).unwrap();
        let ok = self.hears().into_iter().find(|h| h.code() == 200).expect("a 200");
        self.to = ok.field("To").unwrap().to_owned();
        ok
    }

    /// An established inbound call; also returns the gateway's 200.
    pub fn in_call(transport: Transport, extra: &str, fields: &str) -> (Self, Heard) {
        let mut hand = Self::new(transport, extra);
        hand.calls(fields, Some(&sdp(1, "sendrecv")));
        let ok = hand.answered();
        hand.acks(&ok, None);
        assert_eq!(hand.state(), "connected");
        (hand, ok)
    }

    /// The gateway calls; returns its INVITE.
    pub fn is_called(&mut self) -> Heard {
        let param = self.at.transport.as_param();
        self.is_called_as(&format!("sip:hand@{HOME}{param}"))
    }

    /// The same with another URI of this far end.
    pub fn is_called_as(&mut self, uri: &str) -> Heard {
        let call = call_to(uri);
        self.leg = self.gw.legs(self.now, |l| l.originate(call)).unwrap().id;
        let invite = self.hears().into_iter().find(|h| h.is("INVITE")).expect("an INVITE");
        self.from = format!("{};tag=hand", invite.field("To").unwrap());
        self.to = invite.field("From").unwrap().to_owned();
        self.call_id = invite.field("Call-ID").unwrap().to_owned();
        invite
    }

    /// Sends a request within the dialog, or before it is established.
    pub fn asks(&mut self, method: &str, fields: &str, body: Option<&str>) -> Vec<Heard> {
        let text = self.request(method, fields, body);
        self.says(&text)
    }

    /// The text of its next request.
    pub fn request(&mut self, method: &str, fields: &str, body: Option<&str>) -> String {
        self.seq += 1;
        let seq = self.seq;
        self.numbered(method, seq, fields, body)
    }

    fn numbered(&mut self, method: &str, seq: u32, fields: &str, body: Option<&str>) -> String {
        self.branch += 1;
        let (transport, param) = (self.at.transport.as_str(), self.at.transport.as_param());
        let (branch, from, to, call_id) = (self.branch, &self.from, &self.to, &self.call_id);
        format!(
            "{method} sip:desk@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} {HOME};branch=z9hG4bKh{branch}\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {seq} {method}\r\n\
             Contact: <sip:hand@{HOME}{param}>\r\n{fields}{}",
            Self::with(body)
        )
    }

    fn with(body: Option<&str>) -> String {
        let body = body.unwrap_or_default();
        let kind = match body {
            "" => "",
            b if b.starts_with("SIP/2.0") => "Content-Type: message/sipfrag\r\n",
            _ => "Content-Type: application/sdp\r\n",
        };
        format!("{kind}Content-Length: {}\r\n\r\n{body}", body.len())
    }

    /// Acknowledges a 200.
    pub fn acks(&mut self, ok: &Heard, answer: Option<&str>) {
        let seq = ok.field("CSeq").unwrap().split(' ').next().unwrap().parse().unwrap();
        let text = self.numbered("ACK", seq, "", answer);
        self.says(&text);
    }

    /// Answers a request of the gateway.
    pub fn replies(&mut self, to: &Heard, status: &str, fields: &str, body: Option<&str>) -> Vec<Heard> {
        let text = Self::reply(to, status, fields, body, self.at);
        self.says(&text)
    }

    fn reply(to: &Heard, status: &str, fields: &str, body: Option<&str>, at: Flow) -> String {
        let field = |name: &str| to.field(name).unwrap_or_else(|| panic!("{name} in {}", to.text));
        let tag = if field("To").contains("tag=") { "" } else { ";tag=hand" };
        let listens = at.addr.ip();
        format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:hand@{listens}:5060{}>\r\n{fields}{}",
            field("Via"),
            field("From"),
            field("To"),
            field("Call-ID"),
            field("CSeq"),
            at.transport.as_param(),
            Self::with(body)
        )
    }

    /// Another party sends a response from the destination of a request.
    pub fn other_replies(&mut self, to: &Heard, status: &str, body: Option<&str>) -> Vec<Heard> {
        let text = Self::reply(to, status, "", body, to.target);
        self.gw.handle_message(self.now, to.target, text.as_bytes());
        self.hears()
    }

    /// Another party redirects a call of the gateway, from its destination.
    pub fn other_moves(&mut self, to: &Heard, contact: &str) -> Vec<Heard> {
        let text = Self::reply(to, "302 Moved Temporarily", "", None, to.target);
        let own = text.lines().find(|l| l.starts_with("Contact:")).unwrap();
        let text = text.replace(own, &format!("Contact: {contact}"));
        self.gw.handle_message(self.now, to.target, text.as_bytes());
        self.hears()
    }

    /// Sends a message; returns the gateway's immediate responses.
    pub fn says(&mut self, text: &str) -> Vec<Heard> {
        self.gw.handle_message(self.now, self.at, text.as_bytes());
        self.hears()
    }

    /// Messages received since the last look.
    pub fn hears(&mut self) -> Vec<Heard> {
        self.pump();
        std::mem::take(&mut self.heard)
    }

    fn address_of(&self, host: &Host) -> Option<IpAddr> {
        match host {
            Host::Ip(ip) => Some(*ip),
            Host::Name(name) => self.hosts.iter().find(|(n, _)| n == name).map(|(_, ip)| ip.parse().unwrap()),
        }
    }

    fn pump(&mut self) {
        loop {
            let mut busy = false;
            while let Some(t) = self.gw.poll_transmit() {
                busy = true;
                let (text, at) = (String::from_utf8(t.bytes.to_vec()).unwrap(), self.elapsed());
                self.heard.push(Heard { target: t.target, text, at });
            }
            while let Some(e) = next_event(&mut self.gw) {
                self.events.push(e);
            }
            while let Some(c) = self.gw.poll_media() {
                if let Command::Close { slot } = c {
                    busy = true;
                    self.gw.handle_media(self.now, MediaEvent::Closed { slot, quality: Quality::default() });
                }
            }
            while let Some(work) = self.gw.poll_work() {
                if let Work::Locate { id, hop, .. } = work
                    && let Some(ip) = self.address_of(&hop.host)
                {
                    busy = true;
                    self.gw.handle_work(self.now, id, WorkResult::Located(vec![hop.at(ip)]));
                }
            }
            if !busy {
                return;
            }
        }
    }

    /// Advances the time; returns the messages received meanwhile.
    pub fn waits(&mut self, ms: u64) -> Vec<Heard> {
        self.waits_and(ms, |_, _| ())
    }

    /// The same; `each` is called for every message.
    pub fn waits_and(&mut self, ms: u64, mut each: impl FnMut(&mut Self, &Heard)) -> Vec<Heard> {
        let until = self.now.mono + Duration::from_millis(ms);
        let mut all = Vec::new();
        loop {
            for h in self.hears() {
                each(self, &h);
                all.push(h);
            }
            let next = self.gw.poll_timeout().filter(|at| *at <= until);
            let at = next.unwrap_or(until);
            self.now = self.now.after(at.saturating_duration_since(self.now.mono));
            if next.is_none() && self.heard.is_empty() {
                return all;
            }
            self.gw.handle_timeout(self.now);
        }
    }

    pub fn elapsed(&self) -> u64 {
        (self.now.mono - self.start.mono).as_millis() as u64
    }

    /// Reports a message as undeliverable: no listener, or (`open`) the connection was lost.
    pub fn refuses(&mut self, message: &Heard, open: bool) {
        self.gw.handle_unreachable(self.now, message.target, open);
    }

    /// Requests hold or resume; returns the gateway's INVITE, if sent at once.
    pub fn is_held(&mut self, on: bool) -> Option<Heard> {
        let leg = self.leg.clone();
        self.gw.legs(self.now, |l| l.hold(&leg, on)).unwrap();
        self.hears().into_iter().find(|h| h.is("INVITE"))
    }

    /// Reply to the API call.
    pub fn told(&mut self) -> Option<Result<Reply, String>> {
        self.gw.replies().poll().map(|(_, outcome)| outcome.map_err(|e| e.to_string()))
    }

    pub fn state(&self) -> &'static str {
        self.gw.view().leg(&self.leg).map_or("gone", |l| l.state)
    }

    /// Disconnect reason of the leg.
    pub fn reason(&mut self) -> Option<String> {
        self.pump();
        let ended = |e: &&Event| e.kind() == "leg.disconnected" && e.leg_id.as_ref() == Some(&self.leg);
        self.events.iter().find(ended)?.to_json("")["cdr"]["reason"].as_str().map(str::to_owned)
    }

    /// Types of the leg's events, in order.
    pub fn story(&mut self) -> Vec<&'static str> {
        self.pump();
        let own = self.events.iter().filter(|e| e.leg_id.as_ref() == Some(&self.leg));
        own.map(|e| e.kind()).collect()
    }
}

/// The code of the final response among these.
pub fn final_code(heard: &[Heard]) -> u16 {
    heard
        .iter()
        .map(Heard::code)
        .find(|c| *c >= 200)
        .unwrap_or_else(|| panic!("no final response: {heard:?}"))
}
