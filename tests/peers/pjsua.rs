//! Calls with pjsua: it differs from baresip in holds, transfers, digits, session timers and silence
//! suppression.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::Reply;
use crate::office::{Office, done};
use crate::phone::{Phone, rms};

const DIALS: &[(&str, &str)] = &[("SIP_REFER_AUTO_DIAL", "true")];

fn plain(_: &Path) -> String {
    String::new()
}

fn office(name: &str, text: &str) -> Office {
    Office::open_with(name, &[], |_| text.to_owned())
}

fn pjsua(office: &Office, port: u16, parameters: &[&str]) -> Phone {
    Phone::pjsua(office.dir(), port, "user", parameters)
}

/// A pjsua that has called into room `r`, and its leg.
fn caller(office: &Office, port: u16, parameters: &[&str]) -> (Phone, String) {
    let mut phone = pjsua(office, port, parameters);
    let leg = office.call_in(&mut phone, "r");
    (phone, leg)
}

/// The gateway calls a pjsua into room `r`, which answers; returns its leg.
fn called(office: &Office, phone: &mut Phone, port: u16) -> String {
    let body = format!(r#"{{"type":"sip","uri":"sip:user@127.0.0.1:{port}","room_id":"r"}}"#);
    let leg = office.originate(&body);
    phone.wait("incoming");
    phone.say("answer");
    phone.wait("established");
    office.event_of("leg.connected", &leg);
    leg
}

/// The next SIP message reported by the phone, by direction and start of its first line.
fn message(phone: &Phone, is: &str, start: &str) -> String {
    phone.lines.wait(start, 20, |line| {
        let v: Value = serde_json::from_str(line).ok()?;
        let found = v["is"] == is && v["start"].as_str()?.starts_with(start);
        found.then(|| v["text"].as_str().map(str::to_owned))?
    })
}

/// The value of a header field or SDP line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|l| l.strip_prefix(name)).map(str::trim)
}

/// The 200 response to the next request of this method sent by the phone.
fn answer(phone: &Phone, method: &str) -> String {
    let request = message(phone, "sent", method);
    loop {
        let text = message(phone, "received", "SIP/2.0 200");
        if field(&text, "CSeq:") == field(&request, "CSeq:") {
            return text;
        }
    }
}

fn digits(office: &Office, leg: &str, digits: &str) -> Reply {
    office.gateway.post(&format!("/v1/legs/{leg}/dtmf"), &format!(r#"{{"digits":"{digits}"}}"#))
}

fn heard_by_the_phone(phone: &Phone, digits: &str, method: &str) {
    for digit in digits.chars() {
        let v = phone.wait("digit");
        assert_eq!((&v["digit"], &v["method"]), (&digit.to_string().into(), &method.into()));
    }
}

#[test]
fn audio_is_bidirectional_for_both_call_directions() {
    let office = office("pjsua-sound", "");
    let (a, _) = caller(&office, 5700, &[]);
    let mut b = pjsua(&office, 5702, &[]);
    called(&office, &mut b, 5702);
    a.hears(&b);
    b.hears(&a);
    b.say("hangup");
    assert_eq!(office.event("leg.disconnected")["cdr"]["reason"], "remote_bye");
}

#[test]
fn digits_go_both_ways_as_events_and_come_by_info() {
    let office = office("pjsua-events", "");
    let (mut a, leg) = caller(&office, 5704, &[]);
    assert_eq!(digits(&office, &leg, "19#").status, 200);
    heard_by_the_phone(&a, "19#", "rfc4733");
    for (order, sent) in [("digits 4*", "4*"), ("info 7", "7"), ("info D", "D")] {
        a.order(order);
        for digit in sent.chars() {
            assert_eq!(office.event("leg.dtmf")["digit"], digit.to_string());
        }
    }
}

#[test]
fn digits_are_sent_by_info_where_configured() {
    let office = office("pjsua-info", "[sip]\ndtmf = \"info\"\n");
    let (a, leg) = caller(&office, 5706, &[]);
    assert_eq!(digits(&office, &leg, "19#").status, 200);
    heard_by_the_phone(&a, "19#", "info");
}

#[test]
fn digits_during_remote_hold_are_refused_and_never_sent() {
    let office = office("pjsua-hold", "");
    let (mut a, leg) = caller(&office, 5708, &[]);
    let (b, _) = caller(&office, 5702, &[]);
    a.order("hold");
    office.event_of("leg.hold", &leg);
    assert_eq!(digits(&office, &leg, "9").status, 409);
    b.hear(0.5);
    assert!(rms(&b.hear(0.5)) < 20.0, "a phone that holds is not heard");
    a.order("resume");
    office.event_of("leg.unhold", &leg);
    // The first digit received by the phone is one sent after it resumed.
    assert_eq!(digits(&office, &leg, "5").status, 200);
    heard_by_the_phone(&a, "5", "rfc4733");
    a.hears(&b);
    b.hears(&a);
}

#[test]
fn digits_are_sent_during_local_hold() {
    let office = office("pjsua-held", "");
    let (a, leg) = caller(&office, 5710, &[]);
    let path = format!("/v1/legs/{leg}/hold");
    done(office.gateway.post(&path, ""), "held");
    assert_eq!(digits(&office, &leg, "3").status, 200);
    heard_by_the_phone(&a, "3", "rfc4733");
    done(office.gateway.delete(&path), "resumed");
}

#[test]
fn the_second_transfer_of_a_call_is_identified_by_its_id() {
    let office = Office::open_with("pjsua-refer", DIALS, plain);
    let (mut a, leg) = caller(&office, 5712, &[]);
    let nobody = office.phone(5714);
    for round in 0..2 {
        a.say("transfer sip:nobody@127.0.0.1:5714");
        let refer = message(&a, "sent", "REFER");
        let id = field(&refer, "CSeq:").unwrap().split(' ').next().unwrap().to_owned();
        let notify = message(&a, "received", "NOTIFY");
        let event = field(&notify, "Event:").unwrap();
        // The first REFER of a dialog may omit it (RFC 3515 section 2.4.6).
        assert!(event == format!("refer;id={id}") || round == 0 && event == "refer", "{event}, not {id}");
        assert_eq!(office.event("leg.transfer_failed")["status_code"], 404);
    }
    assert_eq!(office.gateway.get(&format!("/v1/legs/{leg}")).json()["state"], "connected");
    drop(nobody);
}

#[test]
fn the_from_of_our_call_is_reachable() {
    let office = office("pjsua-from", "");
    let mut a = pjsua(&office, 5716, &[]);
    let leg = called(&office, &mut a, 5716);
    let mut b = pjsua(&office, 5718, &[]);
    a.say("dial sip:user@127.0.0.1:5718");
    b.wait("incoming");
    b.say("answer");
    b.wait("established");
    a.wait("established");
    // The phone builds Refer-To from the From of our call; the other phone calls it and replaces the first
    // call (Replaces).
    a.say("attended");
    let refer = message(&a, "sent", "REFER");
    let target = field(&refer, "Refer-To:").unwrap();
    assert!(target.contains(&format!("@{}?", office.sip())), "{target}, not {}", office.sip());
    assert_eq!(a.wait("transfer")["code"], 200);
    office.event_of("leg.disconnected", &leg);
    // It has done its part, and ends its call to the other phone.
    a.say("hangup");
    b.wait("ended");
    let (c, _) = caller(&office, 5702, &[]);
    c.hears(&b);
    b.hears(&c);
}

#[test]
fn an_answer_that_changes_nothing_keeps_its_version() {
    let office = office("pjsua-version", "");
    let (mut a, _) = caller(&office, 5720, &[]);
    let mut origins = Vec::new();
    for order in ["reinvite", "update", "reinvite"] {
        a.say(order);
        let method = if order == "update" { "UPDATE" } else { "INVITE" };
        origins.push(field(&answer(&a, method), "o=").unwrap().to_owned());
    }
    assert!(origins.iter().all(|o| *o == origins[0]), "{origins:?}");
    a.say("hold");
    let held = answer(&a, "INVITE");
    assert_ne!(field(&held, "o=").unwrap(), origins[0], "a change of direction is one");
}

#[test]
fn unacceptable_offers_get_488_before_ringing() {
    let office = office("pjsua-488", "");
    let offers: [(&str, &[&str]); 2] = [
        ("an address of IPv6", &["sdp:c=IN IP4 127.0.0.1=>c=IN IP6 fd00:9::2"]),
        ("no codec of ours", &["sdp:RTP/AVP 0 =>RTP/AVP 98 ", "sdp:rtpmap:0 PCMU=>rtpmap:98 FOO"]),
    ];
    for (n, (what, changes)) in offers.iter().enumerate() {
        let mut a = pjsua(&office, 5722 + 2 * n as u16, changes);
        a.say(&format!("dial sip:desk@{}", office.sip()));
        assert_eq!(a.wait("not established")["code"], 488, "{what}");
    }
    assert_eq!(office.gateway.get("/v1/legs").json(), serde_json::json!([]));
}

#[test]
fn plain_media_gets_488_where_encryption_is_required() {
    let office = office("pjsua-plain", "[sip]\nsrtp = \"required\"\n");
    let mut a = pjsua(&office, 5726, &[]);
    a.say(&format!("dial sip:desk@{}", office.sip()));
    assert_eq!(a.wait("not established")["code"], 488);
    let (mut b, leg) = caller(&office, 5728, &["set:srtp=required"]);
    let (c, _) = caller(&office, 5702, &["set:srtp=required"]);
    b.hears(&c);
    b.order("hold");
    office.event_of("leg.hold", &leg);
    b.order("resume");
    office.event_of("leg.unhold", &leg);
    c.hears(&b);
}

#[test]
fn the_second_audio_line_is_used_if_only_it_is_acceptable() {
    let office = office("pjsua-lines", "");
    let changes = ["set:lines=2", "sdp:RTP/AVP 0 =>RTP/AVP 98 ", "sdp:rtpmap:0 PCMU=>rtpmap:98 FOO"];
    let mut a = pjsua(&office, 5730, &changes);
    a.say(&format!("dial sip:desk@{}", office.sip()));
    office.answered();
    let answer = answer(&a, "INVITE");
    let lines: Vec<_> = answer.lines().filter(|l| l.starts_with("m=audio ")).collect();
    assert_eq!(lines.len(), 2, "{answer}");
    assert!(lines[0].starts_with("m=audio 0 ") && !lines[1].starts_with("m=audio 0 "), "{lines:?}");
}

#[test]
fn silence_suppression_of_the_phone_is_no_loss() {
    let office = office("pjsua-vad", "");
    let (mut a, leg) = caller(&office, 5732, &["set:vad=yes", "set:pauses=yes"]);
    let quality = || office.gateway.get(&format!("/v1/legs/{leg}/quality")).json();
    // Half of the time it is silent: fewer packets than without.
    let until = Instant::now() + Duration::from_secs(20);
    while quality()["rtp_packets_received"].as_u64().unwrap() < 150 {
        assert!(Instant::now() < until, "{}", quality());
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let q = quality();
    assert_eq!(q["rtp_packets_lost"], 0, "{q}");
    assert!(q["mos_score"].as_f64().unwrap() > 4.2, "{q}");
    a.say("hangup");
    assert_eq!(office.ended(&leg), "remote_bye");
}

#[test]
fn a_call_survives_its_tcp_connection() {
    let office = office("pjsua-tcp", "");
    let mut a = pjsua(&office, 5734, &["set:transport=tcp"]);
    a.say(&format!("dial sip:desk@{};transport=tcp", office.sip()));
    let leg = office.event("leg.ringing")["leg_id"].as_str().unwrap().to_owned();
    done(office.gateway.post("/v1/rooms/r/legs", &format!(r#"{{"leg_id":"{leg}"}}"#)), "added");
    a.wait("established");
    let (b, _) = caller(&office, 5702, &[]);
    a.order("disconnect");
    a.wait("disconnected");
    // Its Contact contains the port of the closed connection: refused, but no reason to end the call.
    let hold = office.gateway.post(&format!("/v1/legs/{leg}/hold"), "");
    assert_ne!(hold.status, 404, "{hold:?}");
    assert_ne!(office.gateway.get(&format!("/v1/legs/{leg}")).status, 404);
    b.hears(&a);
    // A request of the phone opens another.
    a.say("hangup");
    assert_eq!(office.ended(&leg), "remote_bye");
}

/// The gateway holds while the phone sends `order`, before either has read the other's request: the answer to
/// the phone's.
fn crossing(name: &str, port: u16, order: &str) -> String {
    let office = office(name, "");
    let (mut a, leg) = caller(&office, port, &[]);
    let path = format!("/v1/legs/{leg}/hold");
    let status = std::thread::scope(|all| {
        a.say(&format!("crossing {order}"));
        a.wait("waits");
        let holding = all.spawn(|| office.gateway.post(&path, ""));
        let status = a.lines.wait("an answer to UPDATE", 20, |line| {
            let v: Value = serde_json::from_str(line).ok()?;
            let text = v["text"].as_str().filter(|_| v["is"] == "received")?;
            let ours = text.starts_with("SIP/2.0") && field(text, "CSeq:")?.ends_with("UPDATE");
            ours.then(|| text[8..11].to_owned())
        });
        done(holding.join().unwrap(), "held");
        status
    });
    office.event_of("leg.hold", &leg);
    status
}

#[test]
fn an_update_without_offer_may_cross_a_hold() {
    assert_eq!(crossing("pjsua-cross", 5736, "refresh"), "200");
}

#[test]
fn an_offer_that_crosses_ours_gets_491() {
    assert_eq!(crossing("pjsua-glare", 5738, "update"), "491");
}

#[test]
fn a_phone_registers_whichever_challenge_comes_first() {
    for (port, order) in
        [(5740, ""), (5742, "digest_order = \"md5_first\"\n"), (5744, "digest_order = \"sha256_first\"\n")]
    {
        let text = format!(
            "[sip]\ndomains = [\"branch.test\"]\n{order}[[sip.user]]\nname = \"anna\"\npassword = \"secret\"\n"
        );
        let office = office("pjsua-register", &text);
        let registrar = format!("set:registrar=sip:{}", office.sip());
        let account = ["set:domain=branch.test", "set:password=secret", registrar.as_str()];
        let mut phone = Phone::pjsua(office.dir(), port, "anna", &account);
        phone.say("register");
        assert_eq!(office.event("sip.registration_active")["aor"], "sip:anna@branch.test");
        assert_eq!(phone.wait("registration")["code"], 200);
        let leg = office.originate(r#"{"type":"sip","uri":"sip:anna@branch.test"}"#);
        phone.wait("incoming");
        phone.say("answer");
        office.event_of("leg.connected", &leg);
        phone.say("unregister");
        office.event("sip.registration_expired");
    }
}
