//! Other versions and protocols in Via, Allow of a 405, Timestamp, and the address in our requests.

use std::rc::Rc;
use std::time::{Duration, Instant};

use branchline::base::rng::Rng;
use branchline::base::time::{Now, Utc};
use branchline::codec::Codec;
use branchline::config::{Sources, load};
use branchline::gateway::Gateway;
use branchline::gateway::interface::command::Originate;
use branchline::gateway::interface::work::{Work, WorkResult};
use branchline::gateway::resources::ports::Port;
use branchline::sip::flow::{Flow, Transport};
use branchline::sip::locals::Locals;
use branchline::wire::Uri;

use super::{Verdict, put};

const FROM: &str = "192.168.7.9:5060";

fn request(method: &str, version: &str, via: &str, fields: &str) -> Verdict {
    let text = format!(
        "{method} sip:desk@192.168.7.1 {version}\r\nVia: {via};branch=z9hG4bKver\r\nMax-Forwards: 70\r\n\
         From: <sip:a@h>;tag=1\r\nTo: <sip:desk@192.168.7.1>\r\nCall-ID: versions\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:a@{FROM}>\r\n{fields}Content-Length: 0\r\n\r\n"
    );
    put(text.as_bytes(), FROM)
}

#[test]
fn another_version_is_505_wherever_it_stands() {
    for (version, via, code) in [
        ("SIP/2.0", "SIP/2.0/UDP 192.168.7.9", 200),
        ("SIP/7.0", "SIP/7.0/UDP 192.168.7.9", 505),
        ("SIP/7.0", "SIP/2.0/UDP 192.168.7.9", 505),
        ("SIP/2.0", "SIP/7.0/UDP 192.168.7.9", 505),
        ("SIP/2.0", "sip / 3.0 / TCP 192.168.7.9:5062", 505),
        ("SIP/2.0", "SIP/2/UDP 192.168.7.9", 505),
        ("SIP/3.0", "HTTP/1.1/TCP 192.168.7.9", 505),
        ("SIP/2.0", "HTTP/2.0/UDP 192.168.7.9", 400),
        ("SIP/2.0", "SIPX/2.0/UDP 192.168.7.9", 400),
    ] {
        let got = request("OPTIONS", version, via, "");
        assert_eq!(got.codes, [code], "{version} {via}: {}", got.text);
        // The sent version is returned, so that the sender can recognize the response.
        let (protocol, host) = via.rsplit_once(' ').unwrap();
        let sent = format!("Via: {} {host}", protocol.replace(' ', "").replace("sip/", "SIP/"));
        assert!(got.text.contains(&sent) && got.text.contains("branch=z9hG4bKver"), "{sent}: {}", got.text);
    }
    for method in ["INVITE", "CANCEL", "REGISTER", "BYE"] {
        let got = request(method, "SIP/2.0", "SIP/7.0/UDP 192.168.7.9", "");
        assert_eq!((got.codes, got.legs), (vec![505], 0), "{method}");
    }
    assert_eq!(request("ACK", "SIP/2.0", "SIP/7.0/UDP 192.168.7.9", "").text, "", "nothing answers an ACK");
    // The protocol of further hops is not checked.
    let got = request(
        "OPTIONS",
        "SIP/2.0",
        "SIP/2.0/UDP 192.168.7.9",
        "Via: SIP/7.0/UDP far, HTTP/1.1/TCP gate\r\n",
    );
    assert_eq!(got.codes, [200], "{}", got.text);
    assert!(got.text.contains("Via: SIP/7.0/UDP far") && got.text.contains("Via: HTTP/1.1/TCP gate"));
}

#[test]
fn a_405_does_not_allow_what_it_refuses() {
    let allowed = |method: &str| {
        let got =
            request(method, "SIP/2.0", "SIP/2.0/UDP 192.168.7.9", "Refer-To: <sip:x@h>\r\nEvent: refer\r\n");
        assert_eq!(got.codes, [405], "{method}");
        let list = got.text.lines().find_map(|l| l.strip_prefix("Allow: ")).unwrap().to_owned();
        list.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    for method in ["REFER", "SUBSCRIBE", "MESSAGE", "PUBLISH", "REGISTER"] {
        let allowed = allowed(method);
        assert!(!allowed.iter().any(|m| m == method || m == "REFER"), "{method}: {allowed:?}");
        assert!(allowed.iter().any(|m| m == "INVITE"), "{method}: {allowed:?}");
    }
    let options = request("OPTIONS", "SIP/2.0", "SIP/2.0/UDP 192.168.7.9", "");
    assert!(options.text.contains("REFER"), "in a call it is taken");
}

#[test]
fn the_timestamp_comes_back_in_the_100_alone() {
    for (sent, want) in [("54", "54"), ("54.21", "54.21"), ("0.000001 0.5", "0.000001 0.5")] {
        let got = request("INVITE", "SIP/2.0", "SIP/2.0/UDP 192.168.7.9", &format!("timestamp : {sent}\r\n"));
        let (trying, ringing) = got.text.split_once("SIP/2.0 180").unwrap();
        assert!(
            trying.starts_with("SIP/2.0 100") && trying.contains(&format!("Timestamp: {want}\r\n")),
            "{trying}"
        );
        assert!(!ringing.contains("Timestamp"), "{ringing}");
    }
    let got = request("INVITE", "SIP/2.0", "SIP/2.0/UDP 192.168.7.9", "");
    assert!(!got.text.contains("Timestamp"), "{}", got.text);
}

const TRUNKS: &str = "[[sip.trunk]]\nid = \"account\"\ntype = \"sip_register\"\nregistrar_uri = \"sip:192.168.7.9\"\n\
                      aor = \"sip:100@example.net\"\n[[sip.trunk]]\nid = \"peer\"\ntype = \"ip_ip\"\n\
                      peer_uri = \"sip:192.168.7.8\"\n";

/// The first INVITE of a call from `from` to `to`, by a gateway at this port.
fn invite(port: u16, from: &str, to: &str) -> String {
    let config = load(&Sources { file: Some(("f", TRUNKS)), env: &[] }).unwrap();
    let locals = Locals {
        v4: Some(format!("192.168.7.1:{port}").parse().unwrap()),
        v6: Some(format!("[fd00::1]:{port}").parse().unwrap()),
        tls_port: Some(5071),
        ..Locals::default()
    };
    let mut gw = Gateway::new(Rc::new(config), locals, Rng::from_number(1));
    gw.ports().add(Port { id: 1, address: "192.168.7.1".parse().unwrap(), port: 10_000 });
    gw.ports().add(Port { id: 2, address: "fd00::1".parse().unwrap(), port: 10_002 });
    let now = Now { mono: Instant::now(), utc: Utc(Duration::from_secs(1_776_330_000)) };
    gw.accounts(now, |a| a.restore_trunks(Vec::new()));
    gw.legs(now, |l| {
        l.originate(Originate {
            amd: None,
            uri: Uri::parse(to).unwrap(),
            from: from.into(),
            privacy: String::new(),
            ring_timeout: 0,
            max_duration: 0,
            codecs: Codec::ALL.to_vec(),
            headers: Vec::new(),
            room_id: String::new(),
            accept_dtmf: true,
            auth: None,
            webhook: None,
        })
    })
    .unwrap();
    while let Some(work) = gw.poll_work() {
        if let Work::Locate { id, .. } = work {
            let addr = "192.168.7.9:5061".parse().unwrap();
            let target = Flow { transport: Transport::Tls, addr, conn: None };
            gw.handle_work(now, id, WorkResult::Located(vec![target]));
        }
    }
    let sent =
        std::iter::from_fn(|| gw.poll_transmit()).map(|t| String::from_utf8(t.bytes.to_vec()).unwrap());
    sent.into_iter().find(|m| m.starts_with("INVITE")).unwrap()
}

#[test]
fn our_own_address_has_its_port_and_a_domain_has_none() {
    for (port, from, to, want) in [
        (5060, "", "sip:bob@192.168.7.7", "\"branchline\" <sip:branchline@192.168.7.1>"),
        (5080, "", "sip:bob@192.168.7.7", "\"branchline\" <sip:branchline@192.168.7.1:5080>"),
        (5060, "alice", "sip:bob@192.168.7.7", "<sip:alice@192.168.7.1>"),
        (5080, "alice", "sip:bob@192.168.7.7", "<sip:alice@192.168.7.1:5080>"),
        (5080, "alice", "sip:bob@192.168.7.7;transport=tcp", "<sip:alice@192.168.7.1:5080>"),
        (5080, "alice", "sip:bob@192.168.7.7;transport=tls", "<sip:alice@192.168.7.1:5080>"),
        (5080, "alice", "sip:bob@[fd00::9]", "<sip:alice@[fd00::1]:5080>"),
        (5060, "alice", "sip:bob@[fd00::9]", "<sip:alice@[fd00::1]>"),
        (5080, "alice", "sip:bob@192.168.7.8", "<sip:alice@192.168.7.1:5080>"),
        (5080, "100", "sip:bob@192.168.7.7", "<sip:100@example.net>"),
        (5080, "sip:alice@example.org", "sip:bob@192.168.7.7", "<sip:alice@example.org>"),
    ] {
        let invite = invite(port, from, to);
        let field = |name: &str| invite.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
        let shown = field("From: ").split(";tag=").next().unwrap();
        assert_eq!(shown, want, "{port} {from} {to}");
        if !from.is_empty() {
            assert_eq!(field("P-Asserted-Identity: "), want, "{port} {from} {to}");
        }
        let contact = field("Contact: ");
        let ours = if to.contains("tls") { 5071 } else { port };
        assert!(contact.contains(&format!(":{ours}")), "{contact}");
    }
}
