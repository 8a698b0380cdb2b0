//! Toll fraud protection: who may transfer to paid destinations with `sip.refer_auto_dial`.

use branchline::sip::flow::Transport;
use branchline::wire::challenge::fields;
use serde_json::json;

use crate::hand::{Hand, Heard, along, final_code, sdp};
use crate::passwords::answer;

/// An account at 10.0.0.5, a peer at 10.0.0.6; further settings from the tests.
const OFFICE: &str = "[sip]\nrefer_auto_dial = true\naccept_from = [\"10.0.0.64/26\"]\ndomains = [\"b.example\"]\n\
    user = [{ name = \"anna\", password = \"pa\" }, { name = \"boss\", password = \"pb\" }]\n\
    [[sip.trunk]]\nid = \"prov\"\ntype = \"sip_register\"\nregistrar_uri = \"sip:reg.example\"\naor = \"sip:4912345@prov.example\"\n\
    password = \"pw\"\n";
const PEER: &str = "[[sip.trunk]]\nid = \"pbx\"\ntype = \"ip_ip\"\npeer_uri = \"sip:10.0.0.6\"\n";

fn office(at: &str, trunk: &str) -> Hand {
    let mut hand = Hand::new(Transport::Udp, &format!("{OFFICE}{trunk}{PEER}"));
    hand.hosts =
        vec![("reg.example", "10.0.0.5"), ("alias.example", "10.0.0.5"), ("away.example", "10.0.0.88")];
    hand.at = along(Transport::Udp, at, None);
    hand.to = "<sip:4912345@10.0.0.1>".to_owned();
    let now = hand.now;
    hand.gw.accounts(now, |a| a.restore_trunks(Vec::new()));
    hand.waits(10);
    hand
}

/// A call from there to the account's number, accepted by the gateway.
fn in_call(at: &str, trunk: &str) -> Hand {
    let mut hand = office(at, trunk);
    dials(&mut hand);
    hand
}

fn dials(hand: &mut Hand) {
    let heard = hand.asks("INVITE", "", Some(&sdp(1, "sendrecv")));
    assert!(heard.iter().any(|h| h.code() == 180), "{heard:?}");
    let rang = hand.events.iter().rfind(|e| e.kind() == "leg.ringing").unwrap();
    hand.leg = rang.leg_id.clone().unwrap();
    let ok = hand.answered();
    hand.acks(&ok, None);
    assert_eq!(hand.state(), "connected");
}

/// The far end requests a transfer: the final code, and the INVITE sent, if any.
fn refers(hand: &mut Hand, target: &str, more: &str) -> (u16, Option<Heard>) {
    let said = hand.asks("REFER", &format!("Refer-To: <{target}>\r\n{more}"), None);
    for notify in said.iter().filter(|h| h.is("NOTIFY")) {
        hand.replies(notify, "200 OK", "", None);
    }
    (final_code(&said), said.into_iter().find(|h| h.is("INVITE")))
}

fn registers(hand: &mut Hand, name: &str, password: &str) {
    let mut credentials = String::new();
    for n in 0..2 {
        let text = format!(
            "REGISTER sip:b.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.77:5060;branch=z9hG4bKreg{n}\r\nMax-Forwards: 70\r\n\
             From: <sip:{name}@b.example>;tag=r\r\nTo: <sip:{name}@b.example>\r\nCall-ID: reg\r\nCSeq: {} REGISTER\r\n\
             Contact: <sip:{name}@{}>\r\n{credentials}Content-Length: 0\r\n\r\n",
            n + 1,
            hand.at.addr
        );
        let said = hand.says(&text);
        let Some(challenge) = said[0].field("WWW-Authenticate") else {
            assert_eq!(said[0].code(), 200);
            return;
        };
        let nonce = fields(challenge).unwrap().into_iter().find(|(n, _)| n == "nonce").unwrap().1;
        credentials = answer("REGISTER", "sip:b.example", name, password, &nonce, 0);
    }
    panic!("{name} is not registered");
}

#[test]
fn a_caller_of_a_trunk_cannot_dial_through_an_account() {
    let mut hand = in_call("10.0.0.5:5060", "");
    for target in [
        "sip:+19005550100@prov.example",
        "sip:+19005550100@PROV.example:5080",
        "sip:+19005550100@reg.example",
        "sip:+19005550100@10.0.0.5",
        "sip:+19005550100@10.0.0.6",
        "sip:+19005550100@10.0.0.6:5062;transport=tcp",
    ] {
        let (code, invite) = refers(&mut hand, target, "");
        assert_eq!((code, invite.is_none()), (603, true), "{target}");
        let told = hand.events.iter().rfind(|e| e.kind() == "leg.transfer_requested").unwrap();
        assert_eq!(told.to_json("")["declined"], json!(true), "{target}: {told:?}");
    }
    assert_eq!(hand.state(), "connected");
    // Other targets are called, but not through the account, though its number was called.
    let (code, invite) = refers(&mut hand, "sip:c@10.0.0.88", "");
    let invite = invite.unwrap();
    assert_eq!((code, invite.target.addr.to_string().as_str()), (202, "10.0.0.88:5060"));
    assert!(
        invite.field("Route").is_none() && !invite.field("From").unwrap().contains("prov"),
        "{}",
        invite.text
    );
}

#[test]
fn the_operator_lets_callers_of_a_trunk_transfer_through_accounts() {
    let mut hand = in_call("10.0.0.5:5060", "allow_refer = true\n");
    // This does not apply to callers of another trunk.
    let (code, invite) = refers(&mut hand, "sip:+4930@prov.example", "Referred-By: <sip:x@far.example>\r\n");
    let invite = invite.unwrap();
    assert_eq!((code, invite.target.addr.to_string().as_str()), (202, "10.0.0.5:5060"));
    assert_eq!(invite.field("Referred-By"), Some("<sip:x@far.example>"));
    assert!(invite.field("From").unwrap().starts_with("<sip:4912345@prov.example>"), "{}", invite.text);
    let mut hand = in_call("10.0.0.6:5060", "allow_refer = true\n");
    assert_eq!(refers(&mut hand, "sip:+4930@prov.example", "").0, 603);
}

#[test]
fn neither_another_name_nor_a_redirection_leads_to_a_trunk() {
    let last = |said: &[Heard]| said.iter().rfind(|h| h.is("NOTIFY")).unwrap().body().trim().to_owned();
    let mut hand = in_call("10.0.0.77:5060", "");
    let said = hand.asks("REFER", "Refer-To: <sip:+1900@alias.example>\r\n", None);
    assert!(final_code(&said) == 202 && !said.iter().any(|h| h.is("INVITE")), "{said:?}");
    assert_eq!(last(&said), "SIP/2.0 603 Decline");
    for there in ["sip:+1900@prov.example", "sip:+1900@alias.example", "sip:+1900@10.0.0.6"] {
        let mut hand = in_call("10.0.0.77:5060", "");
        let (code, invite) = refers(&mut hand, "sip:c@away.example", "");
        let invite = invite.unwrap();
        assert_eq!((code, invite.target.addr.to_string().as_str()), (202, "10.0.0.88:5060"));
        let moved = format!("<{there}>");
        let said = hand.other_moves(&invite, &moved);
        assert!(!said.iter().any(|h| h.is("INVITE")), "{there}: {said:?}");
        assert_eq!(last(&said), "SIP/2.0 603 Decline", "{there}");
        assert_eq!(hand.state(), "connected");
    }
}

#[test]
fn registered_users_transfer_through_accounts() {
    // A registered user who calls, and one who is called.
    for called in [false, true] {
        let mut hand = office("10.0.0.77:5060", "");
        registers(&mut hand, "anna", "pa");
        if called {
            let invite = hand.is_called_as("sip:anna@b.example");
            hand.replies(&invite, "200 OK", "", Some(&sdp(1, "sendrecv")));
            assert_eq!(hand.state(), "connected");
        } else {
            hand.to = "<sip:desk@10.0.0.1>".to_owned();
            dials(&mut hand);
        }
        let pretends = "Referred-By: <sip:boss@b.example>\r\n";
        let (code, invite) = refers(&mut hand, "sip:+4930@10.0.0.6", pretends);
        let invite = invite.unwrap();
        assert_eq!(
            (code, invite.target.addr.to_string().as_str()),
            (202, "10.0.0.6:5060"),
            "called: {called}"
        );
        // The authenticated identity of the referrer counts.
        assert_eq!(invite.field("Referred-By"), Some("<sip:anna@b.example>"), "called: {called}");
    }
    // Another port of its address is another source, and is not identified as a user.
    let mut hand = office("10.0.0.77:5060", "");
    registers(&mut hand, "anna", "pa");
    hand.at = along(Transport::Udp, "10.0.0.77:6060", None);
    dials(&mut hand);
    assert_eq!(refers(&mut hand, "sip:+4930@10.0.0.6", "").0, 603);
    let (code, invite) = refers(&mut hand, "sip:c@10.0.0.88", "Referred-By: <sip:boss@b.example>\r\n");
    assert_eq!((code, invite.unwrap().field("Referred-By")), (202, None));
}
