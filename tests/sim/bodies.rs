//! Messages with bodies other than a single session description: in every request and response that may carry
//! one.

use serde_json::{Value, json};

use crate::calls::{A, said};
use crate::described::next_event;
use crate::early::Called;
use crate::net::{NONE, Net};
use crate::phone::{PHONE, sdp};

/// A far end whose messages are written by the test.
struct Caller {
    net: Net,
    tag: String,
    cseq: u32,
}

/// The first response other than 100.
fn first(answers: &[String]) -> &str {
    answers.iter().find(|m| !m.starts_with("SIP/2.0 100")).map_or("", String::as_str)
}

fn code(answers: &[String]) -> u16 {
    first(answers).get(8..11).and_then(|c| c.parse().ok()).unwrap_or(0)
}

impl Caller {
    fn new() -> Self {
        Self { net: Net::new(1, 1, NONE, ""), tag: String::new(), cseq: 0 }
    }

    /// Sends a request and returns the responses.
    fn asks(&mut self, method: &str, fields: &str, body: &str) -> Vec<String> {
        if method != "ACK" {
            self.cseq += 1;
        }
        let n = self.cseq;
        let to = if self.tag.is_empty() { String::new() } else { format!(";tag={}", self.tag) };
        let message = format!(
            "{method} sip:desk@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK{method}{n}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:me@h>;tag=m\r\nTo: <sip:desk@10.0.0.1>{to}\r\nCall-ID: bodies\r\n\
             CSeq: {n} {method}\r\nContact: <sip:me@{PHONE}>\r\n{fields}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answers = said(&mut self.net, A, &message);
        if let Some(tag) =
            first(&answers).split("To: ").nth(1).and_then(|t| t.lines().next()?.split(";tag=").nth(1))
        {
            tag.clone_into(&mut self.tag);
        }
        let node = &mut self.net.nodes[A];
        node.events.extend(std::iter::from_fn(|| next_event(&mut node.gw)));
        answers
    }

    fn leg(&self) -> String {
        self.net.legs(A)[0].clone()
    }

    fn answers(&mut self) -> String {
        let (leg, now) = (self.leg(), self.net.now);
        let gw = &mut self.net.nodes[A].gw;
        gw.legs(now, |l| l.answer(&leg)).unwrap();
        let sent = gw.poll_transmit().map(|t| String::from_utf8(t.bytes.to_vec()).unwrap());
        sent.unwrap_or_default()
    }

    /// The further bodies listed in `leg.ringing`.
    fn named(&self) -> Option<Value> {
        let rang = self.net.nodes[A].events.iter().find(|e| e.kind() == "leg.ringing")?;
        Some(rang.to_json("").get("bodies").cloned().unwrap_or(Value::Null))
    }
}

/// A multipart with these parts: header fields and content of each.
fn multi(parts: &[(&str, &str)]) -> String {
    let part = |(fields, content): &(&str, &str)| format!("--x\r\n{fields}\r\n\r\n{content}\r\n");
    parts.iter().map(part).collect::<String>() + "--x--\r\n"
}

const MIXED: &str = "Content-Type: multipart/mixed;boundary=x";
const SDP: &str = "Content-Type: application/sdp";
const ISUP: &str = "Content-Type: application/ISUP;version=itu-t92+;base=itu-t92+\r\n\
                    Content-Disposition: signal;handling=optional";
const PIDF: &str = "Content-Type: application/pidf+xml\r\nContent-ID: <here@example.net>\r\n\
                    Content-Disposition: by-reference;handling=optional";
const META: &str = "Content-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session";
const ODD: &str = "Content-Type: application/odd\r\nContent-Disposition: session;handling=required";

fn calls(fields: &str, body: &str) -> (u16, Option<Value>) {
    let mut caller = Caller::new();
    let answers = caller.asks("INVITE", fields, body);
    if code(&answers) == 415 {
        assert!(first(&answers).contains("Accept: application/sdp, multipart/mixed,"), "{answers:?}");
    }
    (code(&answers), caller.named())
}

#[test]
fn a_call_uses_its_sdp_part_and_reports_the_others() {
    let offer = sdp(1, "sendrecv");
    let isup =
        json!({"content_type": "application/isup", "disposition": "signal", "content_id": null, "bytes": 3});
    let pidf = json!({
        "content_type": "application/pidf+xml",
        "disposition": "by-reference",
        "content_id": "here@example.net",
        "bytes": 11
    });
    let meta = json!({
        "content_type": "application/rs-metadata+xml",
        "disposition": "recording-session",
        "content_id": null,
        "bytes": 4
    });
    let location = "<presence/>";
    let required = ISUP.replace("optional", "required");
    let alternative = format!("{MIXED}\r\nX: y").replace("mixed", "alternative");
    for (fields, body, named) in [
        (MIXED, multi(&[(SDP, &offer), (PIDF, location)]), json!([pidf])),
        (MIXED, multi(&[(PIDF, location), (SDP, &offer)]), json!([pidf])),
        (MIXED, multi(&[(ISUP, "\u{1}\u{2}\n"), (SDP, &offer), (META, "meta")]), json!([isup, meta])),
        (MIXED, multi(&[(SDP, &offer), (&required, "\u{1}\u{2}\n")]), json!([isup])),
        (MIXED, multi(&[(SDP, &offer)]), Value::Null),
        (MIXED, multi(&[(SDP, offer.trim_end())]), Value::Null),
        (MIXED, multi(&[(SDP, &offer)]).replace('\r', ""), Value::Null),
        (SDP, offer.clone(), Value::Null),
        (&alternative, multi(&[("Content-Type: text/plain", "call me"), (SDP, &offer)]), {
            json!([{"content_type": "text/plain", "disposition": "render", "content_id": null, "bytes": 7}])
        }),
    ] {
        assert_eq!(calls(fields, &body), (180, Some(named)), "{body}");
    }
}

#[test]
fn only_unsupported_required_parts_are_refused() {
    let offer = sdp(1, "sendrecv");
    let odd = |handling: &str| ODD.replace(";handling=required", handling);
    let code = |fields: &str, body: &str| calls(fields, body).0;
    for (handling, want) in [
        ("", 180),
        (";handling=optional", 180),
        (";handling=Required", 415),
        (";x=y; handling=\"required\"", 415),
    ] {
        assert_eq!(code(MIXED, &multi(&[(SDP, &offer), (&odd(handling), "c")])), want, "{handling}");
    }
    let either = MIXED.replace("mixed", "alternative");
    assert_eq!(code(&either, &multi(&[(SDP, &offer), (ODD, "c")])), 180, "one of them is enough");
    // A single body is required unless its handling says otherwise (RFC 3261 §20.11).
    for (fields, want) in [
        ("Content-Type: application/odd", 415),
        ("Content-Type: application/odd\r\nContent-Disposition: render;handling=optional", 180),
        ("Content-Type: application/isup", 180),
        ("Content-Type: application/sdp\r\nContent-Encoding: gzip", 415),
        ("Content-Type: application/sdp\r\nContent-Transfer-Encoding: x-odd", 415),
        ("X: no type", 415),
    ] {
        assert_eq!(code(fields, &offer), want, "{fields}");
    }
    let zipped = format!("{SDP}\r\nContent-Encoding: gzip");
    assert_eq!(code(MIXED, &multi(&[(&zipped, &offer)])), 415);
    assert_eq!(code(MIXED, &multi(&[(&zipped, "zip"), (SDP, &offer)])), 180, "another can be read");
    // A malformed multipart, and one over the limits.
    assert_eq!(code("Content-Type: multipart/mixed", &multi(&[(SDP, &offer)])), 400);
    assert_eq!(code(MIXED, &offer), 400);
    assert_eq!(code(MIXED, &multi(&[(SDP, offer.as_str()); 40])), 400);
}

#[test]
fn sdp_with_another_disposition_is_no_offer() {
    let offer = sdp(1, "sendrecv");
    let early = format!("{SDP}\r\nContent-Disposition: early-session;handling=optional");
    for (fields, body) in [
        (early.as_str(), offer.clone()),
        ("Content-Type: application/sdp\r\nContent-Disposition: render", offer.clone()),
        (MIXED, multi(&[(&early, &offer), (ISUP, "i")])),
        ("Content-Type: application/isup", "i".to_owned()),
    ] {
        let mut caller = Caller::new();
        assert_eq!(code(&caller.asks("INVITE", fields, &body)), 180, "{fields}");
        let ok = caller.answers();
        assert!(ok.starts_with("SIP/2.0 200") && ok.contains("RTP/AVP 111 9 0 8 "), "our own offer: {ok}");
        // The ACK contains the answer, within a multipart or alone, with or without disposition.
        let sent = match fields {
            MIXED => caller.asks("ACK", MIXED, &multi(&[(ISUP, "i"), (SDP, &offer)])),
            f if f == early => caller.asks("ACK", "X: no type", &offer),
            _ => caller.asks("ACK", SDP, &offer),
        };
        assert_eq!((sent, caller.net.state(A, &caller.leg())), (Vec::new(), "connected"), "{fields}");
    }
    let mut caller = Caller::new();
    caller.asks("INVITE", "X: y", "");
    caller.answers();
    let sent = caller.asks("ACK", MIXED, &multi(&[(ISUP, "i")]));
    assert!(sent[0].starts_with("BYE"), "{sent:?}");
}

#[test]
fn in_a_call_multiparts_are_read_as_well() {
    let mut caller = Caller::new();
    let rang = caller.asks("INVITE", &format!("{SDP}\r\nSupported: 100rel"), &sdp(1, "sendrecv"));
    assert_eq!(code(&rang), 180);
    let (leg, now) = (caller.leg(), caller.net.now);
    let gw = &mut caller.net.nodes[A].gw;
    gw.legs(now, |l| l.early_media(&leg)).unwrap();
    let progress = String::from_utf8(gw.poll_transmit().unwrap().bytes.to_vec()).unwrap();
    let rseq = progress.lines().find_map(|l| l.strip_prefix("RSeq: ")).unwrap().to_owned();
    let offer = |n: u32, direction: &str| multi(&[(PIDF, "<p/>"), (SDP, &sdp(n, direction))]);
    let is_answer = |answers: &[String], direction: &str| {
        let ok = first(answers);
        assert!(ok.starts_with("SIP/2.0 200") && ok.contains(&format!("a={direction}")), "{answers:?}");
    };
    let fields = format!("RAck: {rseq} 1 INVITE\r\n{MIXED}");
    is_answer(&caller.asks("PRACK", &fields, &offer(2, "sendrecv")), "sendrecv");
    assert!(caller.answers().starts_with("SIP/2.0 200"));
    // Its CSeq is that of the INVITE.
    let last = std::mem::replace(&mut caller.cseq, 1);
    caller.asks("ACK", "X: y", "");
    caller.cseq = last;
    assert_eq!(caller.net.state(A, &leg), "connected");
    is_answer(&caller.asks("UPDATE", MIXED, &offer(3, "sendonly")), "recvonly");
    assert_eq!(caller.net.state(A, &leg), "held");
    is_answer(&caller.asks("INVITE", MIXED, &offer(4, "sendrecv")), "sendrecv");
    caller.asks("ACK", "X: y", "");
    assert_eq!(caller.net.state(A, &leg), "connected");
    for method in ["INVITE", "UPDATE"] {
        let refused = caller.asks(method, MIXED, &multi(&[(SDP, &sdp(5, "sendonly")), (ODD, "c")]));
        assert_eq!(code(&refused), 415, "{method}");
        assert!(first(&refused).contains("Accept: application/sdp"), "{refused:?}");
        assert_eq!(caller.net.state(A, &leg), "connected", "{method}");
    }
    let key = multi(&[
        ("Content-Type: text/plain", "five"),
        ("Content-Type: application/dtmf-relay", "Signal=5\r\n"),
    ]);
    let taken = caller.asks("INFO", MIXED, &key);
    assert_eq!(code(&taken), 200);
    // An INFO does not change the dialog.
    assert!(["Contact:", "Record-Route:", "Allow:", "Supported:"].iter().all(|f| !first(&taken).contains(f)));
    assert!(caller.net.story(A, &leg).contains(&"leg.dtmf"));
}

#[test]
fn answers_are_found_in_multiparts() {
    let answer = |port: &str| {
        multi(&[(ISUP, "i"), (SDP, &sdp(1, "sendrecv").replace("4000 RTP", &format!("{port} RTP")))])
    };
    for (status, state) in
        [("180 Ringing", "early_media"), ("183 Progress", "early_media"), ("200 OK", "connected")]
    {
        let mut call = Called::new();
        call.says(status, "t", &format!("{MIXED}\r\n"), &answer("40002"));
        assert_eq!((call.state(), call.port()), (state, Some(40_002)), "{status}");
    }
    let mut call = Called::new();
    call.says("183 Progress", "t", &format!("{MIXED}\r\n"), &answer("40002"));
    let sent = call.says("200 OK", "t", &format!("{MIXED}\r\n"), &multi(&[(ISUP, "i")]));
    assert!(!sent.iter().any(|m| m.starts_with("BYE")), "{sent:?}");
    assert_eq!((call.state(), call.port()), ("connected", Some(40_002)));
}
