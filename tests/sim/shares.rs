//! A source with many requests does not affect other sources, nor existing calls.

use std::net::SocketAddr;
use std::time::Duration;

use branchline::config::TrunkFields;
use branchline::sip::flow::Transport;

use crate::calls::{A, B, acquaint, originate, said_to, until_ringing};
use crate::hand::Hand;
use crate::net::{NONE, Net};

const FLOODER: &str = "10.0.0.50:5060";
const TRUNK: &str = "10.0.0.60:5060";
const MANY: &str = "[limits]\nlegs = 64\n";

/// A gateway with 64 legs, and a trunk to an unused address.
fn many() -> Net {
    let mut net = Net::new(1, 2, NONE, MANY);
    let trunk = TrunkFields {
        id: "t".into(),
        kind: "ip_ip".into(),
        peer_uri: format!("sip:{TRUNK}"),
        ..TrunkFields::default()
    };
    net.with(B, |gw, now| gw.accounts(now, |a| a.add_trunk(trunk)).map(|_| ())).unwrap();
    net.run_for(1_000);
    net
}

fn request(method: &str, from: &str, n: u32, more: &str) -> String {
    format!(
        "{method} sip:desk@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{n}\r\nFrom: <sip:x@{from}>;tag=f{n}\r\n\
         To: <sip:desk@10.0.0.2>\r\nCall-ID: {n}\r\nCSeq: 1 {method}\r\nContact: <sip:x@{from}>\r\nMax-Forwards: 70\r\n{more}\r\n"
    )
}

/// The immediate response codes of a node.
fn codes(net: &mut Net, from: &str, text: &str) -> Vec<u16> {
    let said = said_to(net, B, from.parse().unwrap(), text);
    said.iter().filter_map(|s| s.split(' ').nth(1)?.parse().ok()).collect()
}

fn address(n: u32) -> String {
    let [a, b, c, d] = (0x0a01_0000 + n).to_be_bytes();
    SocketAddr::from(([a, b, c, d], 5060)).to_string()
}

#[test]
fn requests_without_effect_are_answered_without_state() {
    let mut net = many();
    for (method, code) in
        [("OPTIONS", 200), ("MESSAGE", 405), ("NOTIFY", 481), ("NONSENSE", 501), ("BYE", 481)]
    {
        for n in 0..400 {
            let text = request(method, FLOODER, n, "");
            assert_eq!(codes(&mut net, FLOODER, &text), [code], "{method}");
        }
        let text = request(method, FLOODER, 7, "");
        let twice = [(); 2].map(|()| said_to(&mut net, B, FLOODER.parse().unwrap(), &text));
        assert_eq!(twice[0], twice[1], "{method}");
        let other = said_to(&mut net, B, FLOODER.parse().unwrap(), &request(method, FLOODER, 8, ""));
        let tag =
            |said: &[String]| said[0].split("To: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
        assert!(tag(&twice[0]).contains(";tag=") && tag(&twice[0]) != tag(&other), "{method}");
    }
    let numbers = net.nodes[B].gw.view().numbers();
    assert_eq!((numbers.transactions.1, numbers.sip.overload), (0, 0));
}

#[test]
fn unanswered_calls_of_one_source_are_limited() {
    let mut net = many();
    let mut taken = 0;
    for n in 0..500 {
        taken += usize::from(codes(&mut net, FLOODER, &request("INVITE", FLOODER, n, "")).contains(&180));
    }
    assert_eq!(taken, 16, "a quarter of 64");
    let mut others = 0;
    for n in 500..600 {
        let from = address(n);
        others += usize::from(codes(&mut net, &from, &request("INVITE", &from, n, "")).contains(&180));
    }
    assert_eq!(others, 16, "strangers have half");
    let mut trunks = 0;
    for n in 600..700 {
        trunks += usize::from(codes(&mut net, TRUNK, &request("INVITE", TRUNK, n, "")).contains(&180));
    }
    assert_eq!(trunks, 16, "known sources have three quarters");
    assert!(
        net.with(B, |gw, now| gw.legs(now, |l| l.originate(crate::calls::call_to("sip:a@10.0.0.1")))).is_ok()
    );
    assert_eq!(net.nodes[B].gw.view().numbers().counters.signalling.calls_over_share, 484 + 84 + 84);
}

#[test]
fn forged_sources_do_not_affect_calls_and_known_sources() {
    let mut net = many();
    acquaint(&mut net, B, A);
    let a = originate(&mut net, 0);
    let b = until_ringing(&mut net).unwrap();
    net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
    net.run_for(1_000);
    // More than there are transactions, each from a different address, refused because of a limit or as
    // invalid.
    for n in 0..10_000 {
        let from = address(n);
        codes(&mut net, &from, &request("INVITE", &from, n, "Require: what-nobody-knows\r\n"));
    }
    assert!(net.nodes[B].gw.view().numbers().sip.overload > 0);
    let trunk = codes(&mut net, TRUNK, &request("INVITE", TRUNK, 20_000, ""));
    assert_eq!(trunk, [100, 180]);
    net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))).unwrap();
    net.run_for(2_000);
    assert_eq!(net.reason(B, &b).as_deref(), Some("remote_bye"));
    let bye = net.traffic.get("200").copied();
    assert!(bye.is_some());
}

#[test]
fn memory_used_for_one_source_is_bounded() {
    let mut net = many();
    let pad = format!("Via: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKq;x={}\r\n", "p".repeat(57_000));
    for n in 0..150 {
        for method in ["INVITE", "OPTIONS"] {
            codes(&mut net, FLOODER, &request(method, FLOODER, n, &pad));
        }
    }
    let kept = net.nodes[B].gw.view().numbers().transaction_bytes;
    assert!(
        (57_000..1_200_000).contains(&kept),
        "{kept} bytes are kept: a quarter of 4 MiB, and the answers of some"
    );
    let from = address(1);
    assert_eq!(codes(&mut net, &from, &request("INVITE", &from, 9_000, "")), [100, 180]);
    net.run_for(200_000);
    let numbers = net.nodes[B].gw.view().numbers();
    assert_eq!((numbers.transactions.1, numbers.transaction_bytes), (0, 0));
}

#[test]
fn a_ringing_call_keeps_only_the_headers_needed_for_responses() {
    let mut hand = Hand::new(Transport::Udp, "");
    let long: String = (0..30).map(|n| format!("X-Long-{n}: {}\r\n", "p".repeat(1000))).collect();
    let fields = "Record-Route: <sip:10.0.0.77;lr>\r\nk: timer\r\nx: 1800;refresher=uac\r\nMin-SE: 90\r\n";
    hand.calls(&(long + fields), None);
    let kept = hand.gw.view().numbers().transaction_bytes;
    assert!((300..2_500).contains(&kept), "{kept} bytes are kept of 30,000");
    let ok = hand.answered();
    let expected = [
        ("Record-Route", "<sip:10.0.0.77;lr>"),
        ("Session-Expires", "1800;refresher=uac"),
        ("Require", "timer"),
    ];
    for (name, value) in expected {
        assert_eq!(ok.field(name), Some(value), "{}", ok.text);
    }
}

#[test]
fn a_refusal_to_an_unverified_source_is_retransmitted_twice() {
    let mut net = many();
    let text = request("INVITE", FLOODER, 1, "Require: what-nobody-knows\r\n");
    assert_eq!(codes(&mut net, FLOODER, &text), [100, 420]);
    let mut later = Vec::new();
    for _ in 0..40 {
        net.now.mono += Duration::from_secs(1);
        let now = net.now;
        let gw = &mut net.nodes[B].gw;
        gw.handle_timeout(now);
        later.extend(std::iter::from_fn(|| gw.poll_transmit()).map(|t| t.bytes));
        if net.elapsed() < 30_000 {
            // A retransmitted request gets its response nevertheless (RFC 3261 §17.2.1).
            assert_eq!(codes(&mut net, FLOODER, &text), [420]);
        }
    }
    assert_eq!(later.len(), 2, "at 0.5 s and 1.5 s");
    // A source that has acknowledged one gets retransmissions until the last timer.
    acquaint(&mut net, B, A);
    let known = net.nodes[A].addr.to_string();
    assert_eq!(codes(&mut net, &known, &text.replace(FLOODER, &known)), [100, 420]);
    let mut later = 0;
    for _ in 0..330 {
        net.now.mono += Duration::from_millis(100);
        let now = net.now;
        let gw = &mut net.nodes[B].gw;
        gw.handle_timeout(now);
        later += std::iter::from_fn(|| gw.poll_transmit()).count();
    }
    assert_eq!(later, 10);
}
