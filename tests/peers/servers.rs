//! Names with several servers (dnsmasq tells of them), redirections, refusals, and calls that end as they begin (sipp).

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::office::{Office, done};
use crate::phone::script;

fn quietly(command: &mut Command) -> Child {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.expect("the peers are installed by `make test`")
}

/// sipp with a scenario, for one call.
fn sipp(port: u16, scenario: &str, more: &[&str]) -> Child {
    sipp_file(port, &script(&format!("tests/peers/{scenario}.xml")), more)
}

fn sipp_file(port: u16, file: &Path, more: &[&str]) -> Child {
    let mut command = Command::new("sipp");
    command.arg("-sf").arg(file).args(["-i", "127.0.0.1", "-p", &port.to_string(), "-m", "1", "-nostdin"]);
    quietly(command.args(["-timeout", "40", "-timeout_error"]).args(more))
}

/// A far end that refuses one call so, and says this as well.
fn refuses(office: &Office, port: u16, status: &str, also: &str) -> Child {
    let text = std::fs::read_to_string(script("tests/peers/uas_refuses.xml")).unwrap();
    let file = office.dir().join(format!("refuses-{port}.xml"));
    std::fs::write(&file, text.replace("486 Busy Here", status).replace("X-Also: nothing", also)).unwrap();
    sipp_file(port, &file, &[])
}

/// A name server of its own, which ends with the test.
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
fn a_call_goes_on_to_the_second_server_of_its_name() {
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
    // The first has no room, then the first is not there at all, then the rules of the domain ask for TCP.
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
fn a_caller_without_an_offer_gets_ours() {
    let office = Office::open("offerless", &[]);
    let mut far = sipp(5732, "uac_offerless", &[&office.sip()]);
    let leg = office.event("leg.ringing")["leg_id"].as_str().unwrap().to_owned();
    done(office.gateway.post(&format!("/v1/legs/{leg}/answer"), ""), "answering");
    office.event_of("leg.connected", &leg);
    done(office.gateway.delete(&format!("/v1/legs/{leg}")), "hung_up");
    assert!(far.wait().unwrap().success());
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "api_hangup");
}
