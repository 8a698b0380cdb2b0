//! Names with several servers (by dnsmasq), redirections, refusals, and calls that end while being set up
//! (SIPp).

use std::process::{Child, Command};

use crate::office::{Office, done};
use crate::phone::script;
use crate::sipp::{quietly, sipp, sipp_file};

/// A far end that refuses one call with this status and these header fields.
fn refuses(office: &Office, port: u16, status: &str, also: &str) -> Child {
    changed(office, port, "uas_refuses", &[("486 Busy Here", status), ("X-Also: nothing", also)], &[])
}

/// SIPp with a modified scenario, for one call.
fn changed(office: &Office, port: u16, scenario: &str, changes: &[(&str, &str)], more: &[&str]) -> Child {
    let mut text = std::fs::read_to_string(script(&format!("tests/peers/{scenario}.xml"))).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{scenario}: {from}");
        text = text.replace(from, to);
    }
    let file = office.dir().join(format!("{scenario}-{port}.xml"));
    std::fs::write(&file, text).unwrap();
    sipp_file(port, &file, more)
}

/// A private name server, which ends with the test.
struct Names(Child, u16);

impl Names {
    fn start(port: u16, records: &[&str]) -> Self {
        let mut command = Command::new("dnsmasq");
        command.args(["--no-daemon", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--user=root"]);
        command.args(["--listen-address=127.0.0.1", "--bind-interfaces", &format!("--port={port}")]);
        Self(quietly(command.args(records)), port)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_call_fails_over_to_the_second_server_of_its_name() {
    let names = Names::start(
        5353,
        &[
            "--srv-host=_sip._udp.full.test,one.test,5704,10,1",
            "--srv-host=_sip._udp.full.test,two.test,5700,20,1",
            "--srv-host=_sip._udp.dead.test,one.test,5709,10,1",
            "--srv-host=_sip._udp.dead.test,two.test,5700,20,1",
            "--naptr-record=rules.test,10,10,s,SIP+D2T,,_sip._tcp.rules.test",
            "--srv-host=_sip._tcp.rules.test,two.test,5710,10,1",
            "--host-record=one.test,127.0.0.1",
            "--host-record=two.test,127.0.0.1",
        ],
    );
    let server = format!("127.0.0.1:{}", names.1);
    let office = Office::open("servers", &[("DNS_SERVERS", &server)]);
    let mut phone = office.phone(5700);
    let mut stream = office.phone_of(5710, "user", &["set:transport=tcp"]);
    let mut full = refuses(&office, 5704, "503 Service Unavailable", "Retry-After: 60");
    // The first server is full, then unavailable, then NAPTR selects TCP.
    for domain in ["full.test", "dead.test", "rules.test"] {
        let phone = if domain == "rules.test" { &mut stream } else { &mut phone };
        let leg = office.originate(&format!(r#"{{"type":"sip","uri":"sip:user@{domain}"}}"#));
        phone.wait("incoming");
        phone.say("answer");
        office.event_of("leg.connected", &leg);
        phone.wait("established");
        done(office.gateway.delete(&format!("/v1/legs/{leg}")), "hung_up");
        phone.wait("ended");
        assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "api_hangup", "{domain}");
    }
    assert!(full.wait().unwrap().success(), "the server without room was asked first");
    let metrics = String::from_utf8(office.gateway.get("/metrics").body).unwrap();
    assert!(metrics.contains("branchline_sip_failovers_total 2\n"), "{metrics}");
    let leg = office.originate(r#"{"type":"sip","uri":"sip:user@nowhere.test"}"#);
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "invite_failed");
}

#[test]
fn refusals_and_redirections_are_understood() {
    let office = Office::open("refused", &[]);
    let mut phone = office.phone(5720);
    for (port, status, reason) in [(5722, "486 Busy Here", "busy"), (5724, "404 Not Found", "not_found")] {
        let mut far = refuses(&office, port, status, "X-Why: not");
        let leg = office.originate(&format!(r#"{{"type":"sip","uri":"sip:far@127.0.0.1:{port}"}}"#));
        assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], reason);
        assert!(far.wait().unwrap().success(), "{status} was acknowledged");
    }
    let mut moved = refuses(&office, 5726, "302 Moved Temporarily", "Contact: <sip:user@127.0.0.1:5720>");
    let leg = office.originate(r#"{"type":"sip","uri":"sip:far@127.0.0.1:5726"}"#);
    phone.wait("incoming");
    phone.say("answer");
    office.event_of("leg.connected", &leg);
    assert!(moved.wait().unwrap().success());
    phone.say("hangup");
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "remote_bye");
}

#[test]
fn an_answer_that_crosses_our_cancel_is_ended_properly() {
    let office = Office::open("too-late", &[]);
    let mut far = sipp(5730, "uas_too_late", &[]);
    let leg = office.originate(r#"{"type":"sip","uri":"sip:far@127.0.0.1:5730"}"#);
    done(office.gateway.delete(&format!("/v1/legs/{leg}")), "hung_up");
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "api_hangup");
    assert!(far.wait().unwrap().success(), "the far end got its ACK and a BYE");
}

#[test]
fn callers_cancel_are_refused_and_require_too_much() {
    let office = Office::open("callers", &[]);
    let ringing = || office.event("leg.ringing")["leg_id"].as_str().unwrap().to_owned();
    let mut far = sipp(5734, "uac_gives_up", &[&office.sip()]);
    let leg = ringing();
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "caller_cancel");
    assert!(far.wait().unwrap().success(), "CANCEL was answered, and so was the INVITE");
    let mut far = sipp(5736, "uac_is_refused", &[&office.sip()]);
    let leg = ringing();
    let busy = office.gateway.delete_with(&format!("/v1/legs/{leg}"), r#"{"reason":"busy"}"#);
    done(busy, "hung_up");
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "busy");
    assert!(far.wait().unwrap().success(), "486");
    let mut far = sipp(5738, "uac_wants_too_much", &[&office.sip()]);
    assert!(far.wait().unwrap().success(), "420, and no leg");
    assert_eq!(office.gateway.get("/v1/legs").json(), serde_json::json!([]));
}

#[test]
fn unsupported_requests_of_callers_are_refused_with_a_reason() {
    let office = Office::open("refused", &[]);
    // A session that is too short (RFC 4028 §9), before there is a leg.
    let least = r#"<recv response="422"><action><ereg regexp="^ *90" search_in="hdr" header="Min-SE:"
        check_it="true" assign_to="least"/></action></recv>"#;
    let short = [
        ("Require: impossible", "Supported: timer\n    Session-Expires: 60"),
        (r#"<recv response="420"/>"#, least),
        ("</scenario>", r#"<Reference variables="least"/></scenario>"#),
    ];
    let mut far = changed(&office, 5750, "uac_wants_too_much", &short, &[&office.sip()]);
    assert!(far.wait().unwrap().success(), "422 with Min-SE");
    assert_eq!(office.gateway.get("/v1/legs").json(), serde_json::json!([]));
    // An ACK without the required answer to our offer (RFC 3261 §13.2.1).
    let body = "Content-Type: application/sdp\n    Content-Length: [len]\n\n    v=0\n    o=far 1 1 IN IP[local_ip_type] \
                [local_ip]\n    s=-\n    c=IN IP[local_ip_type] [local_ip]\n    t=0 0\n    m=audio 6000 RTP/AVP \
                0\n    a=recvonly\n";
    let silent = [(body, "Content-Length: 0\n")];
    let mut far = changed(&office, 5752, "uac_offerless", &silent, &[&office.sip()]);
    let leg = office.answered();
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "not_acceptable");
    assert!(far.wait().unwrap().success(), "a BYE");
    // A re-INVITE with an unsupported codec: refused, and the call continues unchanged.
    let mut far = sipp(5754, "uac_changes_codec", &[&office.sip()]);
    let leg = office.answered();
    office.event_of("leg.connected", &leg);
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "remote_bye");
    assert!(far.wait().unwrap().success(), "488, and the call goes on");
}

#[test]
fn a_hold_may_be_refused_or_collide() {
    let office = Office::open("hold-sipp", &[]);
    for (port, scenario) in [(5740, "uas_no_hold"), (5742, "uas_glare")] {
        let mut far = sipp(port, scenario, &[]);
        let leg = office.originate(&format!(r#"{{"type":"sip","uri":"sip:far@127.0.0.1:{port}"}}"#));
        office.event_of("leg.connected", &leg);
        let hold = office.gateway.post(&format!("/v1/legs/{leg}/hold"), "");
        let held = office.gateway.get(&format!("/v1/legs/{leg}")).json()["held"].as_bool();
        if scenario == "uas_glare" {
            done(hold, "held");
            assert_eq!(held, Some(true));
            office.event_of("leg.hold", &leg);
        } else {
            assert_eq!((hold.status, held), (409, Some(false)), "{hold:?}");
            assert!(hold.error().contains("488"), "{hold:?}");
        }
        done(office.gateway.delete(&format!("/v1/legs/{leg}")), "hung_up");
        office.event_of("leg.disconnected", &leg);
        assert!(far.wait().unwrap().success(), "{scenario}");
    }
}

#[test]
fn a_caller_without_an_offer_gets_ours() {
    let office = Office::open("offerless", &[]);
    let mut far = sipp(5732, "uac_offerless", &[&office.sip()]);
    let leg = office.answered();
    office.event_of("leg.connected", &leg);
    done(office.gateway.delete(&format!("/v1/legs/{leg}")), "hung_up");
    assert!(far.wait().unwrap().success());
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "api_hangup");
}
