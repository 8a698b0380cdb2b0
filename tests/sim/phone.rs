//! A far end that is not a gateway: it calls node 0 and behaves like a phone. It uses the same transaction
//! layer, so its messages are retransmitted.

use std::net::SocketAddr;
use std::time::Instant;

use branchline::base::pool::Standing;
use branchline::base::rng::Rng;
use branchline::sip::dialog::Dialog;
use branchline::sip::flow::{Flow, Transport};
use branchline::sip::locals::Locals;
use branchline::sip::transactions::{Admission, ClientId, Event, ServerId, Transactions, Transmit};
use branchline::wire::{Draft, Message, Method, Request, Response, Uri, parse};

use crate::guard::Guard;

pub const PHONE: &str = "10.0.0.99:5060";

/// A session description of the phone; `direction` is an attribute, `version` counts its changes.
pub fn sdp(version: u32, direction: &str) -> String {
    format!(
        "v=0\r\no=phone 77 {version} IN IP4 10.0.0.99\r\ns=-\r\nc=IN IP4 10.0.0.99\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\n"
    )
}

pub struct Phone {
    pub tx: Transactions,
    pub dialog: Option<Dialog>,
    /// Final and provisional responses to its INVITEs: CSeq, code and body.
    pub heard: Vec<(u32, u16, String)>,
    /// Requests of the other side.
    pub asked: Vec<Method>,
    /// Offers in their INVITEs.
    pub offers: Vec<String>,
    /// SDP for the ACK to the next 2xx (INVITE without an offer).
    pub answer: Option<String>,
    /// A call to the phone, not yet answered.
    pub ringing: Option<ServerId>,
    /// An answered call whose ACK is outstanding.
    accepted: Option<ServerId>,
    /// Withholds ACKs.
    pub withholds_ack: bool,
    /// Additional header fields of its INVITEs.
    pub fields: Vec<(&'static str, &'static str)>,
    /// Its answer to a re-INVITE, with the fields of [`Self::fields`]; otherwise it refuses.
    pub agrees: Option<String>,
    /// Its response to an INFO.
    pub info: u16,
    /// Does not answer a re-INVITE until it is cancelled.
    pub ponders: bool,
    /// Redirects callers to this URI.
    /// Contact of its responses.
    pub contact: String,
    pub moved_to: Option<&'static str>,
    /// Minimum session interval it accepts, seconds.
    pub least_session: u32,
    /// `Session-Expires` of the INVITEs received.
    pub sessions: Vec<String>,
    /// Min-SE of the last of them, seconds.
    pub least_seen: u32,
    /// Acknowledges reliable provisional responses.
    pub pracks: bool,
    /// RAck of the response not yet acknowledged.
    pub unpracked: Option<String>,
    /// Its 180 is reliable.
    pub reliable: bool,
    /// Answers when the CANCEL arrives.
    pub crosses: bool,
    /// CSeq of each request received.
    pub numbers: Vec<u32>,
    /// The early dialog of its call, and the last RSeq acknowledged.
    early: Option<(Dialog, u32)>,
    /// Requires authentication.
    pub guard: Option<Guard>,
    gateway: Flow,
}

impl Phone {
    pub fn new(gateway: SocketAddr, rng: Rng) -> Self {
        let addr = PHONE.parse().unwrap();
        Self {
            tx: Transactions::new(Locals { v4: Some(addr), ..Locals::default() }, rng, 1024),
            dialog: None,
            heard: Vec::new(),
            asked: Vec::new(),
            offers: Vec::new(),
            answer: None,
            ringing: None,
            accepted: None,
            withholds_ack: false,
            fields: Vec::new(),
            agrees: None,
            info: 200,
            ponders: false,
            contact: format!("<sip:phone@{PHONE}>"),
            moved_to: None,
            least_session: 0,
            sessions: Vec::new(),
            least_seen: 0,
            pracks: false,
            unpracked: None,
            reliable: false,
            crosses: false,
            numbers: Vec::new(),
            early: None,
            guard: None,
            gateway: Flow { transport: Transport::Udp, addr: gateway, conn: None },
        }
    }

    /// Calls the gateway, with or without an offer.
    pub fn call(&mut self, now: Instant, offer: Option<&str>) {
        let desk = format!("sip:desk@{}", self.gateway.addr);
        let mut draft = Draft::request(&Method::Invite, &Uri::parse(&desk).unwrap());
        for (name, value) in [
            ("Max-Forwards", "70"),
            ("From", &format!("<sip:phone@{PHONE}>;tag=ph1")),
            ("To", &format!("<{desk}>")),
            ("Call-ID", "from-the-phone"),
            ("CSeq", "1 INVITE"),
        ] {
            draft.push(name, value);
        }
        self.invite(now, draft, offer);
    }

    fn invite(&mut self, now: Instant, mut draft: Draft, offer: Option<&str>) {
        draft.push("Contact", format!("<sip:phone@{PHONE}>"));
        self.fields.iter().for_each(|(name, value)| draft.push(*name, *value));
        if let Some(offer) = offer {
            draft.set_body("application/sdp", offer.as_bytes().to_vec());
        }
        self.tx.request(now, &Method::Invite, draft, self.gateway).unwrap();
    }

    /// Sends a re-INVITE; returns its CSeq.
    pub fn reinvite(&mut self, now: Instant, offer: Option<&str>) -> u32 {
        let dialog = self.dialog.as_mut().expect("in a call");
        let (draft, _) = dialog.request(&Method::Invite);
        let cseq = dialog.local_seq;
        self.invite(now, draft, offer);
        cseq
    }

    pub fn bye(&mut self, now: Instant) {
        let (draft, _) = self.dialog.as_mut().expect("in a call").request(&Method::Bye);
        self.tx.request(now, &Method::Bye, draft, self.gateway).unwrap();
    }

    /// Code and body of the final response to the INVITE with this CSeq.
    pub fn outcome(&self, cseq: u32) -> Option<(u16, &str)> {
        self.heard.iter().find(|h| h.0 == cseq && h.1 >= 200).map(|h| (h.1, h.2.as_str()))
    }

    pub fn handle(&mut self, now: Instant, source: Flow, bytes: &[u8]) {
        match parse(bytes) {
            Ok(Message::Request(mut r)) => {
                r.stamp(source.addr);
                self.tx.handle_request(now, r, source, Admission::Kept(Standing::Own));
            }
            Ok(Message::Response(r)) => self.tx.handle_response(now, r),
            Err(e) => panic!("the gateway sent nonsense: {e:?}"),
        }
        self.drain(now);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.tx.handle_timeout(now);
        self.drain(now);
    }

    fn drain(&mut self, now: Instant) {
        while let Some(event) = self.tx.poll_event() {
            match event {
                Event::Request(id, request, _) => {
                    let tx = &mut self.tx;
                    if self.guard.as_mut().is_some_and(|g| !g.judge(now, tx, id, &request)) {
                        continue;
                    }
                    self.asked.push(request.method.clone());
                    self.numbers.push(request.common.cseq);
                    if request.method == Method::Invite {
                        self.offers.push(String::from_utf8_lossy(&request.common.body).into_owned());
                    }
                    self.reply(now, id, &request);
                }
                Event::Response(id, response) => {
                    self.acknowledge(now, &response);
                    self.response(id, &response);
                }
                Event::Ack(_) => self.accepted.take().into_iter().for_each(|id| self.tx.confirm(id)),
                Event::Cancelled(_) if self.crosses => self.pick_up(now, &sdp(1, "sendrecv")),
                Event::Cancelled(id) => {
                    let draft = self.tx.draft(id, 487, "Terminated").unwrap();
                    self.tx.respond(now, id, 487, &draft);
                }
                Event::Failed(..) | Event::AckMissing(..) | Event::Gone(_) => {}
            }
        }
    }

    /// The ACK to its last answer was received.
    pub fn is_acknowledged(&self) -> bool {
        self.accepted.is_none()
    }

    /// Answers the call that rings.
    pub fn pick_up(&mut self, now: Instant, answer: &str) {
        let id = self.ringing.take().expect("rings");
        let mut draft = self.tx.draft(id, 200, "OK").unwrap();
        draft.push("Contact", self.contact.as_str());
        self.fields.iter().for_each(|(name, value)| draft.push(*name, *value));
        draft.set_body("application/sdp", answer.as_bytes().to_vec());
        self.tx.respond(now, id, 200, &draft);
        self.accepted = Some(id);
    }

    fn reply(&mut self, now: Instant, id: ServerId, request: &Request) {
        if let Some(asked) = request.common.headers.get("Session-Expires") {
            self.sessions.push(asked.to_owned());
            let least = request.common.headers.get("Min-SE");
            self.least_seen = least.map_or(0, |s| s.parse().unwrap());
            let seconds: u32 = asked.split(';').next().unwrap().parse().unwrap();
            if seconds < self.least_session {
                let mut draft = self.tx.draft(id, 422, "Too Short").unwrap();
                draft.push("Min-SE", self.least_session.to_string());
                return self.tx.respond(now, id, 422, &draft);
            }
        }
        if let (Some(there), Method::Invite) = (self.moved_to, &request.method) {
            let mut draft = self.tx.draft(id, 302, "Moved").unwrap();
            draft.push("Contact", format!("<{there}>"));
            return self.tx.respond(now, id, 302, &draft);
        }
        if request.method == Method::Invite && self.dialog.is_none() {
            self.dialog = Some(Dialog::uas(request, self.tx.tag_of(id).unwrap()).unwrap());
            self.ringing = Some(id);
            let mut draft = self.tx.draft(id, 180, "Ringing").unwrap();
            draft.push("Contact", format!("<sip:phone@{PHONE}>"));
            if self.reliable {
                draft.push("Require", "100rel");
                draft.push("RSeq", "1");
            }
            return self.tx.respond(now, id, 180, &draft);
        }
        if self.ponders && request.method == Method::Invite {
            return;
        }
        let changed = self.agrees.as_ref().filter(|_| request.method == Method::Invite);
        let agrees = matches!(request.method, Method::Bye | Method::Prack) || changed.is_some();
        let code = match (&request.method, agrees) {
            (Method::Info, _) => self.info,
            (_, true) => 200,
            (_, false) => 405,
        };
        let mut draft = self.tx.draft(id, code, "Said").unwrap();
        if let Some(answer) = changed {
            draft.push("Contact", format!("<sip:phone@{PHONE}>"));
            self.fields.iter().for_each(|(name, value)| draft.push(*name, *value));
            draft.set_body("application/sdp", answer.clone().into_bytes());
            self.accepted = Some(id);
        }
        self.tx.respond(now, id, code, &draft);
    }

    fn response(&mut self, id: ClientId, response: &Response) {
        let c = &response.common;
        if c.cseq_method != Method::Invite {
            return;
        }
        let body = String::from_utf8_lossy(&c.body).into_owned();
        self.heard.push((c.cseq, response.code, body));
        if !(200..300).contains(&response.code) {
            return;
        }
        let asked = c.to.uri.clone();
        let dialog = self.dialog.get_or_insert_with(|| Dialog::uac(response, &asked).unwrap());
        if let Some((early, _)) = &self.early {
            dialog.local_seq = dialog.local_seq.max(early.local_seq);
        }
        if self.withholds_ack {
            return;
        }
        let (mut ack, _) = dialog.ack(c.cseq);
        if let Some(answer) = self.answer.take() {
            ack.set_body("application/sdp", answer.into_bytes());
        }
        let tag = c.to.tag().unwrap_or_default().to_owned();
        self.tx.ack(id, &tag, &ack, self.gateway);
    }

    fn acknowledge(&mut self, now: Instant, response: &Response) {
        let rseq = response.common.headers.get("RSeq").and_then(|v| v.parse::<u32>().ok());
        let Some(rseq) = rseq else { return };
        let asked = response.common.to.uri.clone();
        let (_, last) =
            self.early.get_or_insert_with(|| (Dialog::uac(response, &asked).unwrap(), rseq.wrapping_sub(1)));
        if rseq == last.wrapping_add(1) {
            *last = rseq;
            let rack = format!("{rseq} {} INVITE", response.common.cseq);
            if self.pracks {
                self.prack(now, &rack, None);
            } else {
                self.unpracked = Some(rack);
            }
        }
    }

    /// Sends PRACK in the early dialog of its call, with or without an offer.
    pub fn prack(&mut self, now: Instant, rack: &str, offer: Option<&str>) {
        let early = &mut self.early.as_mut().expect("an early dialog").0;
        let (mut draft, _) = early.request(&Method::Prack);
        let last = early.local_seq;
        self.dialog.iter_mut().for_each(|d| d.local_seq = d.local_seq.max(last));
        draft.push("RAck", rack);
        if let Some(offer) = offer {
            draft.set_body("application/sdp", offer.as_bytes().to_vec());
        }
        self.tx.request(now, &Method::Prack, draft, self.gateway).unwrap();
    }

    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.tx.poll_transmit()
    }
}
