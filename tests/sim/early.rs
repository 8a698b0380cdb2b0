//! Early dialogs of an outbound call: which response is an answer, whose early media is used, and what a 2xx
//! confirms.

use branchline::media::command::Command;
use branchline::sdp::Direction;

use crate::calls::{A, call_to, said};
use crate::net::{NONE, Net};
use crate::phone::{PHONE, sdp};

/// A call to proxies and phones whose responses are written by the test.
pub struct Called {
    pub net: Net,
    pub leg: String,
    invite: String,
    /// Ports and directions passed to the media engine.
    media: Vec<(u16, Direction)>,
    /// Number of requests sent by the far end.
    asked: u32,
}

impl Called {
    pub fn new() -> Self {
        let mut net = Net::new(1, 1, NONE, "");
        let leg =
            net.nodes[A].gw.legs(net.now, |l| l.originate(call_to(&format!("sip:bob@{PHONE}")))).unwrap().id;
        let invite = net.nodes[A].gw.poll_transmit().unwrap();
        let invite = String::from_utf8(invite.bytes.to_vec()).unwrap();
        Self { net, leg, invite, media: Vec::new(), asked: 0 }
    }

    /// Sends a response to the INVITE, with a To tag unless empty; returns the messages sent by the gateway.
    pub fn says(&mut self, status: &str, tag: &str, more: &str, body: &str) -> Vec<String> {
        let has = |l: &&str| ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|n| l.starts_with(n));
        let same: Vec<&str> = self.invite.lines().filter(has).collect();
        let to = self.invite.lines().find(|l| l.starts_with("To:")).unwrap();
        let to = if tag.is_empty() { to.to_owned() } else { format!("{to};tag={tag}") };
        let message = format!(
            "SIP/2.0 {status}\r\n{}\r\n{to}\r\nContact: <sip:{}@{PHONE}>\r\n{more}Content-Length: {}\r\n\r\n{body}",
            same.join("\r\n"),
            if tag.is_empty() { "nobody" } else { tag },
            body.len()
        );
        let sent = said(&mut self.net, A, &message);
        self.media.extend(std::iter::from_fn(|| self.net.nodes[A].gw.poll_media()).filter_map(|c| match c {
            Command::Open { stream, .. } | Command::Update { stream, .. } => {
                Some((stream.rtp.port(), stream.direction))
            }
            _ => None,
        }));
        self.net.with(A, |_, _| ());
        sent
    }

    /// Sends a response with a session description for this port.
    fn describes(&mut self, status: &str, tag: &str, port: u16) -> Vec<String> {
        self.says(status, tag, "Content-Type: application/sdp\r\n", &described(port))
    }

    /// Destination port of our RTP, if any.
    pub fn port(&self) -> Option<u16> {
        self.media.last().filter(|(_, d)| d.sends()).map(|(port, _)| *port)
    }

    pub fn state(&self) -> &'static str {
        self.net.state(A, &self.leg)
    }

    fn early_events(&self) -> usize {
        self.net.story(A, &self.leg).iter().filter(|k| **k == "leg.early_media").count()
    }
}

fn described(port: u16) -> String {
    sdp(1, "sendrecv").replace("4000 RTP", &format!("{port} RTP"))
}

#[test]
fn sdp_is_an_answer_in_any_provisional_response_but_100_and_199() {
    for (status, early) in [
        ("100 Trying", false),
        ("101 Dialog Establishment", true),
        ("180 Ringing", true),
        ("181 Call Is Being Forwarded", true),
        ("182 Queued", true),
        ("183 Session Progress", true),
        ("198 Whatever", true),
        ("199 Early Dialog Terminated", false),
    ] {
        let mut call = Called::new();
        call.describes(status, "t", 40_002);
        assert_eq!(call.port(), early.then_some(40_002), "{status}");
        assert_eq!(call.state(), if early { "early_media" } else { "ringing" }, "{status}");
        // A 2xx without SDP confirms it; without a previous answer it ends the call.
        let sent = call.says("200 OK", "t", "", "");
        assert!(sent[0].starts_with("ACK sip:t@"), "{status}: {sent:?}");
        assert_eq!(sent.iter().any(|m| m.starts_with("BYE")), !early, "{status}");
        assert_eq!(call.state(), if early { "connected" } else { "gone" }, "{status}");
        assert_eq!(
            (call.early_events(), call.port()),
            (usize::from(early), early.then_some(40_002)),
            "{status}"
        );
    }
}

#[test]
fn a_body_other_than_sdp_is_no_answer() {
    let mut call = Called::new();
    call.says("183 Progress", "t", "Content-Type: text/plain\r\n", &described(40_002));
    let early = "Content-Type: application/sdp\r\nContent-Disposition: early-session\r\n";
    call.says("183 Progress", "t", early, &described(40_002));
    call.describes("183 Progress", "t", 0);
    call.says("183 Progress", "t", "Content-Type: application/sdp\r\n", "v=9\r\n");
    assert_eq!((call.state(), call.port()), ("ringing", None));
    call.describes("180 Ringing", "t", 40_002);
    assert_eq!(call.port(), Some(40_002), "the first that is one counts");
    call.says("200 OK", "t", "Content-Type: text/plain\r\n", "Welcome");
    assert_eq!((call.state(), call.port()), ("connected", Some(40_002)));
}

#[test]
fn the_first_answer_of_a_dialog_holds_until_a_2xx_brings_another() {
    let mut call = Called::new();
    call.describes("180 Ringing", "t", 40_002);
    call.describes("183 Progress", "t", 40_004);
    assert_eq!((call.port(), call.early_events()), (Some(40_002), 1));
    let other = described(40_006).replace("o=phone 77 1", "o=sbc 9 9");
    call.says("200 OK", "t", "Content-Type: application/sdp\r\n", &other);
    assert_eq!((call.state(), call.port()), ("connected", Some(40_006)));
}

#[test]
fn each_fork_has_a_separate_answer() {
    for (tag, port) in [("a", 40_002), ("b", 40_004), ("c", 40_006)] {
        let mut call = Called::new();
        call.describes("183 Progress", "a", 40_002);
        call.describes("180 Ringing", "b", 40_004);
        call.describes("181 Forwarded", "c", 40_006);
        assert_eq!(call.port(), Some(40_002), "the first one is heard");
        call.says("200 OK", tag, "", "");
        assert_eq!((call.state(), call.port()), ("connected", Some(port)), "{tag}");
    }
    // RFC 2543 peers send no tag before the answer.
    let mut call = Called::new();
    call.describes("183 Progress", "", 40_002);
    call.says("200 OK", "t", "", "");
    assert_eq!((call.state(), call.port()), ("connected", Some(40_002)));
}

#[test]
fn a_199_ends_its_early_dialog_alone() {
    let mut call = Called::new();
    call.describes("183 Progress", "a", 40_002);
    call.describes("183 Progress", "b", 40_004);
    call.says("199 Over", "c", "", "");
    assert_eq!(call.port(), Some(40_002), "another's end is none of it");
    call.describes("199 Over", "a", 40_008);
    assert_eq!(call.port(), Some(40_004), "the next one is heard");
    call.says("199 Over", "b", "", "");
    assert_eq!((call.port(), call.state()), (None, "early_media"), "nothing is sent where nobody listens");
    call.describes("180 Ringing", "d", 40_006);
    assert_eq!((call.port(), call.early_events()), (Some(40_006), 1));
    call.says("200 OK", "d", "", "");
    assert_eq!((call.state(), call.port()), ("connected", Some(40_006)));

    // The answer of a terminated early dialog is ignored.
    let mut call = Called::new();
    call.describes("183 Progress", "a", 40_002);
    call.says("199 Over", "a", "", "");
    let sent = call.says("200 OK", "b", "", "");
    assert!(sent.iter().any(|m| m.starts_with("BYE sip:b@")), "{sent:?}");
    // But a 2xx with one is valid.
    let mut call = Called::new();
    call.describes("183 Progress", "a", 40_002);
    call.says("199 Over", "a", "", "");
    call.describes("200 OK", "a", 40_004);
    assert_eq!((call.state(), call.port()), ("connected", Some(40_004)));
}

#[test]
fn reliable_199s_are_acknowledged_and_free_the_dialog() {
    let mut call = Called::new();
    let reliable = "Require: 100rel\r\nRSeq: 1\r\n";
    for n in 0..30 {
        let tag = format!("t{n}");
        let sent = call.says("180 Ringing", &tag, reliable, "");
        assert!(sent[0].starts_with(&format!("PRACK sip:{tag}@")), "{n}: {sent:?}");
        let over = call.says("199 Over", &tag, "Require: 100rel\r\nRSeq: 2\r\n", "");
        assert!(over[0].starts_with(&format!("PRACK sip:{tag}@")), "{n}: {over:?}");
    }
    call.describes("200 OK", "t29", 40_004);
    assert_eq!((call.state(), call.port()), ("connected", Some(40_004)));
}

#[test]
fn an_early_dialog_ended_by_199_cannot_be_replaced() {
    let mut call = Called::new();
    call.says("180 Ringing", "a", "", "");
    let from = call.invite.lines().find(|l| l.starts_with("From:")).unwrap();
    let ours = from.split(";tag=").nth(1).unwrap().to_owned();
    let id = call.invite.lines().find_map(|l| l.strip_prefix("Call-ID: ")).unwrap().to_owned();
    let replacing = |n: u8| {
        format!(
            "INVITE sip:x@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKr{n}\r\nMax-Forwards: 70\r\n\
             From: <sip:p@h>;tag=r{n}\r\nTo: <sip:x@10.0.0.1>\r\nCall-ID: r{n}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:p@{PHONE}>\r\nReplaces: {id};to-tag={ours};from-tag=a;early-only\r\nContent-Length: 0\r\n\r\n"
        )
    };
    call.says("199 Over", "a", "", "");
    let answers = said(&mut call.net, A, &replacing(1));
    assert!(answers.iter().any(|m| m.starts_with("SIP/2.0 481")), "{answers:?}");
    call.says("180 Ringing", "a", "", "");
    let answers = said(&mut call.net, A, &replacing(2));
    assert!(!answers.iter().any(|m| m.starts_with("SIP/2.0 4")), "{answers:?}");
}

/// A request by someone who knows the INVITE, with this From tag; returns the status line of the response.
fn asked(call: &mut Called, method: &str, tag: &str, more: &str, body: &str) -> String {
    let field = |name: &str| call.invite.lines().find(|l| l.starts_with(name)).unwrap();
    let (from, to) = (field("To:").replacen("To", "From", 1), field("From:").replacen("From", "To", 1));
    call.asked += 1;
    let n = call.asked;
    let message = format!(
        "{method} sip:x@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKasked{n}\r\n{from};tag={tag}\r\n\
         {to}\r\n{}\r\nCSeq: {n} {method}\r\n{more}Content-Length: {}\r\n\r\n{body}",
        field("Call-ID:"),
        body.len()
    );
    let sent = said(&mut call.net, A, &message);
    sent.iter().rfind(|m| m.starts_with("SIP/2.0")).unwrap().lines().next().unwrap().to_owned()
}

#[test]
fn no_bye_ends_a_call_of_ours_that_rings() {
    let mut call = Called::new();
    assert!(asked(&mut call, "BYE", "early", "", "").starts_with("SIP/2.0 481 "), "before anybody rings");
    call.describes("183 Progress", "real", 40_002);
    for tag in ["madeup", "real"] {
        assert!(asked(&mut call, "BYE", tag, "", "").starts_with("SIP/2.0 481 "), "{tag}");
        assert_eq!((call.state(), call.port()), ("early_media", Some(40_002)), "{tag}");
    }
    call.says("200 OK", "real", "", "");
    assert_eq!(call.state(), "connected");
    assert!(asked(&mut call, "BYE", "other", "", "").starts_with("SIP/2.0 481 "));
    assert_eq!(call.state(), "connected");
    assert!(asked(&mut call, "BYE", "real", "", "").starts_with("SIP/2.0 200 "));
    assert_eq!(call.state(), "gone");
}

#[test]
fn only_ringing_far_ends_may_send_requests_in_a_ringing_call() {
    let mut call = Called::new();
    call.describes("183 Progress", "real", 40_002);
    let body = described(40_008).replace("o=phone 77 1", "o=phone 77 2");
    for (method, code) in [("UPDATE", 491), ("INVITE", 491), ("INFO", 481), ("REFER", 481), ("NOTIFY", 481)] {
        let contact = format!("Contact: <sip:x@{PHONE}>\r\nContent-Type: application/sdp\r\n");
        let answer = asked(&mut call, method, "madeup", &contact, &body);
        assert!(answer.starts_with(&format!("SIP/2.0 {code} ")), "{method}: {answer}");
        assert_eq!((call.state(), call.port()), ("early_media", Some(40_002)), "{method}");
    }
    assert!(asked(&mut call, "UPDATE", "madeup", "", "").starts_with("SIP/2.0 491 "), "without an offer");
    // A ringing far end gets a specific response: an answer in an unreliable 183 is not yet final (RFC 3311
    // §5.1).
    assert!(asked(&mut call, "UPDATE", "real", "", "").starts_with("SIP/2.0 200 "));
}
