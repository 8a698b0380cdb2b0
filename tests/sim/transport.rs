//! Transport errors of our requests and responses in every phase of a call: they count as 503, and only 408,
//! 481 and time-outs end a dialog (RFC 3261 §8.1.3.1, §12.2.1.2, §14.1, §18.4).

use branchline::gateway::interface::replies::Reply;
use branchline::sip::digest::{Authentication, Credentials};
use branchline::sip::flow::Transport;
use branchline::wire::challenge::Challenge;
use branchline::wire::{Message, parse};

use crate::hand::{Hand, Heard, along, final_code, sdp};

const STREAMS: [Transport; 2] = [Transport::Tcp, Transport::Tls];
const ANNA: &str = "[sip]\nuser = [{ name = \"anna\", password = \"secret\" }]\n";
const WE_REFRESH: &str = "Supported: timer\r\nSession-Expires: 90;refresher=uas\r\n";

/// The far end's re-INVITE is answered as usual.
fn goes_on(hand: &mut Hand, context: &str) {
    assert!(["connected", "held"].contains(&hand.state()), "{context}: {:?}", hand.reason());
    let said = hand.asks("INVITE", "", Some(&sdp(8, "sendrecv")));
    assert_eq!(final_code(&said), 200, "{context}");
    let ok = said.into_iter().find(|h| h.code() == 200).unwrap();
    hand.acks(&ok, None);
}

#[test]
fn a_hold_with_a_transport_error_fails_and_the_call_continues() {
    for transport in STREAMS {
        let context = transport.as_str();
        let (mut hand, _) = Hand::in_call(transport, "", "");
        for on in [true, false] {
            let invite = hand.is_held(on).unwrap();
            hand.refuses(&invite, false);
            let told = hand.told().expect("at once").unwrap_err();
            assert!(told.contains("cannot be reached"), "{context}: {told}");
            goes_on(&mut hand, context);
            let invite = hand.is_held(on).unwrap();
            let direction = if on { "recvonly" } else { "sendrecv" };
            hand.replies(&invite, "200 OK", "", Some(&sdp(2, direction)));
            assert_eq!(hand.told(), Some(Ok(Reply::Changed)), "{context}");
            assert_eq!(hand.state(), if on { "held" } else { "connected" }, "{context}");
        }
        assert!(!hand.story().contains(&"leg.disconnected"), "{context}");
    }
}

#[test]
fn what_ends_a_call_and_what_does_not() {
    for (status, ends) in [
        ("408 Request Timeout", true),
        ("481 Gone", true),
        ("503 Service Unavailable", false),
        ("500 Broken", false),
        ("488 Not Here", false),
        ("603 Decline", false),
    ] {
        let (mut hand, _) = Hand::in_call(Transport::Udp, "", "");
        let invite = hand.is_held(true).unwrap();
        hand.replies(&invite, status, "", None);
        let reason = hand.reason();
        assert_eq!(reason.as_deref(), ends.then_some("timeout"), "{status}");
    }
    // A datagram refused by the operating system is retransmitted, and does not count as a time-out.
    for refused in [true, false] {
        let (mut hand, _) = Hand::in_call(Transport::Udp, "", "");
        let invite = hand.is_held(true).unwrap();
        let copies = hand.waits_and(33_000, |hand, h| {
            if refused && h.is("INVITE") {
                hand.gw.handle_unsent(invite.target);
            }
        });
        assert_eq!(copies.iter().filter(|h| h.is("INVITE")).count(), 6);
        assert_eq!(hand.reason().as_deref(), (!refused).then_some("timeout"));
        if refused {
            goes_on(&mut hand, "no route");
        }
    }
    // If only the first ones failed, the following time-out counts.
    let (mut hand, _) = Hand::in_call(Transport::Udp, "", "");
    let invite = hand.is_held(true).unwrap();
    hand.gw.handle_unsent(invite.target);
    hand.waits(33_000);
    assert_eq!(hand.reason().as_deref(), Some("timeout"));
}

/// Our refreshes until the session expires; those after `fails` attempts are answered.
fn refreshes(transport: Transport, update: bool, fails: usize, ms: u64) -> (Hand, Vec<u64>) {
    let allow = if update { "Allow: INVITE, UPDATE\r\n" } else { "Allow: INVITE\r\n" };
    let (mut hand, _) = Hand::in_call(transport, "", &format!("{WE_REFRESH}{allow}"));
    let method = if update { "UPDATE" } else { "INVITE" };
    let mut tries = Vec::new();
    hand.waits_and(ms, |hand, h| {
        if !h.is(method) {
            return;
        }
        tries.push(h.at / 1000);
        if tries.len() <= fails {
            return hand.refuses(h, false);
        }
        let granted = "Require: timer\r\nSession-Expires: 90;refresher=uac\r\n";
        let body = (!update).then(|| sdp(1, "sendrecv"));
        hand.replies(h, "200 OK", granted, body.as_deref());
    });
    (hand, tries)
}

#[test]
fn a_refresh_is_tried_again_until_the_session_is_over() {
    for transport in STREAMS {
        for update in [false, true] {
            let context = format!("{transport:?}, UPDATE: {update}");
            let (mut hand, tries) = refreshes(transport, update, usize::MAX, 89_900);
            assert_eq!(tries[..4], [45, 67, 78, 84], "{context}: {tries:?}");
            assert_eq!((hand.state(), hand.reason()), ("connected", None), "{context}");
            hand.waits(1_000);
            assert_eq!(hand.reason().as_deref(), Some("session_expired"), "{context}");
            // The far end is reachable again in time.
            let (mut hand, tries) = refreshes(transport, update, 3, 300_000);
            assert_eq!(tries[..5], [45, 67, 78, 84, 129], "{context}: {tries:?}");
            goes_on(&mut hand, &context);
        }
    }
}

#[test]
fn a_request_on_a_lost_connection_is_resent_on_a_new_one() {
    for transport in STREAMS {
        let context = transport.as_str();
        let (mut hand, _) = Hand::in_call(transport, "", "");
        let invite = hand.is_held(true).unwrap();
        assert_eq!(invite.target.conn, Some(1), "{context}: along the connection of the call");
        hand.refuses(&invite, true);
        let again: Vec<Heard> = hand.hears();
        assert_eq!(
            again.iter().map(|h| &h.text).collect::<Vec<_>>(),
            [&invite.text],
            "{context}: branch and all"
        );
        let lost = along(transport, "10.0.0.77:5060", Some(2));
        hand.gw.handle_unreachable(hand.now, lost, true);
        assert!(hand.hears().is_empty(), "{context}: not for ever");
        assert!(hand.told().unwrap().unwrap_err().contains("cannot be reached"), "{context}");
        goes_on(&mut hand, context);

        let (mut hand, _) = Hand::in_call(transport, "", "");
        let leg = hand.leg.clone();
        hand.gw.legs(hand.now, |l| l.hang_up(&leg, None)).unwrap();
        let bye = hand.hears().remove(0);
        hand.refuses(&bye, true);
        assert_eq!(hand.hears()[0].text, bye.text, "{context}: a BYE finds its way");
        assert_eq!(hand.reason().as_deref(), Some("api_hangup"), "{context}");
    }
}

#[test]
fn a_hold_on_a_lost_connection_does_not_end_the_call() {
    let (mut hand, _) = Hand::in_call(Transport::Tcp, "", "");
    let invite = hand.is_held(true).unwrap();
    hand.replies(&invite, "100 Trying", "", None);
    hand.refuses(&invite, true);
    let heard = hand.waits(33_000);
    assert!(heard.iter().any(|h| h.is("CANCEL")), "{heard:?}");
    goes_on(&mut hand, "lost while it was pending");
    // With the connection open it is a time-out.
    let (mut hand, _) = Hand::in_call(Transport::Tcp, "", "");
    let invite = hand.is_held(true).unwrap();
    hand.replies(&invite, "100 Trying", "", None);
    hand.waits(33_000);
    assert_eq!(hand.reason().as_deref(), Some("timeout"));
}

#[test]
fn transport_errors_of_other_requests_do_not_end_the_call() {
    for transport in STREAMS {
        let context = transport.as_str();
        // REFER.
        let (mut hand, _) = Hand::in_call(transport, "", "");
        let (leg, target) = (hand.leg.clone(), branchline::wire::Uri::parse("sip:c@10.0.0.88").unwrap());
        hand.gw.legs(hand.now, |l| l.transfer(&leg, target, None)).unwrap();
        let refer = hand.hears().into_iter().find(|h| h.is("REFER")).unwrap();
        hand.refuses(&refer, false);
        assert_eq!(hand.story().last(), Some(&"leg.transfer_failed"), "{context}");
        goes_on(&mut hand, context);
        // NOTIFY: the transfer continues, and so does the next NOTIFY.
        let (mut hand, _) = Hand::in_call(transport, "[sip]\nrefer_auto_dial = true\n", "");
        let said = hand.asks("REFER", "Refer-To: <sip:c@10.0.0.88>\r\n", None);
        hand.refuses(said.iter().find(|h| h.is("NOTIFY")).unwrap(), false);
        let invite = said.iter().find(|h| h.is("INVITE")).unwrap().clone();
        let rings = hand.other_replies(&invite, "180 Ringing", None);
        assert!(rings.iter().any(|h| h.is("NOTIFY") && h.body().contains(" 180 ")), "{context}: {rings:?}");
        let busy = hand.other_replies(&invite, "486 Busy Here", None);
        let last = busy.iter().find(|h| h.is("NOTIFY")).unwrap();
        assert!(last.body().contains(" 486 "), "{context}: {}", last.text);
        hand.refuses(last, false);
        goes_on(&mut hand, context);
        // PRACK: the next retransmission of the response triggers another.
        let mut hand = Hand::new(transport, "");
        if transport == Transport::Tls {
            // With a host name, the I/O layer has to find the path.
            continue;
        }
        let invite = hand.is_called();
        let reliable = "Require: 100rel\r\nRSeq: 9\r\n";
        let prack = hand.replies(&invite, "180 Ringing", reliable, None).remove(0);
        assert!(prack.is("PRACK"));
        assert!(hand.replies(&invite, "180 Ringing", reliable, None).is_empty(), "one is enough");
        hand.refuses(&prack, false);
        let again = hand.replies(&invite, "180 Ringing", reliable, None).remove(0);
        assert_eq!((again.is("PRACK"), again.field("RAck")), (true, prack.field("RAck")));
        hand.replies(&invite, "200 OK", "", Some(&sdp(1, "sendrecv")));
        goes_on(&mut hand, "PRACK");
    }
}

#[test]
fn transport_errors_of_responses_do_not_end_the_call() {
    for transport in STREAMS {
        for lost in [true, false] {
            let context = format!("{transport:?}, lost: {lost}");
            let (mut hand, _) = Hand::in_call(transport, "", "");
            assert_eq!(final_code(&hand.asks("INVITE", "", Some(&sdp(2, "sendrecv")))), 200);
            hand.waits_and(33_000, |hand, h| {
                if lost && h.code() == 200 {
                    hand.refuses(h, false);
                }
            });
            // A received answer without ACK is different (RFC 3261 §14.2).
            assert_eq!(hand.reason().as_deref(), (!lost).then_some("ack_timeout"), "{context}");
            if lost {
                goes_on(&mut hand, &context);
            }
        }
    }
}

#[test]
fn a_far_end_with_a_new_connection_is_reached_there() {
    for transport in STREAMS {
        let context = transport.as_str();
        // A retransmission of the INVITE on the new connection.
        let mut hand = Hand::new(transport, "");
        let text = hand.request("INVITE", "", Some(&sdp(1, "sendrecv")));
        hand.says(&text);
        hand.leg = hand.events[0].leg_id.clone().unwrap();
        hand.at = along(transport, "10.0.0.77:40002", Some(2));
        let copy = hand.says(&text);
        assert_eq!(copy[0].target.conn, Some(2), "{context}: {copy:?}");
        let ok = hand.answered();
        assert_eq!(ok.target.conn, Some(2), "{context}");
        hand.acks(&ok, None);
        // Any in-dialog request.
        hand.at = along(transport, "10.0.0.77:40003", Some(3));
        assert_eq!(final_code(&hand.asks("OPTIONS", "", None)), 200, "{context}");
        let hold = hand.is_held(true).unwrap();
        assert_eq!(hold.target.conn, Some(3), "{context}");
        hand.replies(&hold, "200 OK", "", Some(&sdp(2, "recvonly")));
        // A re-INVITE whose response was not received, followed by a request on another connection.
        let said = hand.asks("INVITE", "", Some(&sdp(3, "recvonly")));
        hand.refuses(said.iter().find(|h| h.code() == 200).unwrap(), true);
        hand.at = along(transport, "10.0.0.77:40004", Some(4));
        hand.asks("OPTIONS", "", None);
        let repeated = hand.waits(1_000).into_iter().find(|h| h.code() == 200).unwrap();
        assert_eq!(repeated.target.conn, Some(4), "{context}");
        hand.acks(&repeated, None);
        // Another host is not accepted.
        hand.at = along(transport, "10.0.0.66:40004", Some(5));
        hand.asks("OPTIONS", "", None);
        let resume = hand.is_held(false).unwrap();
        assert_eq!(resume.target.conn, Some(4), "{context}");
    }
}

/// A phone of a user, identified by its port, registers over its current connection.
fn registers(hand: &mut Hand, port: u16, seq: u32) {
    let transport = hand.at.transport.as_str();
    let mut text = |more: &str, n: u32| {
        let text = format!(
            "REGISTER sip:10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} 192.168.1.5:{port};branch=z9hG4bKr{port}{seq}{n}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:anna@10.0.0.1>;tag=r\r\nTo: <sip:anna@10.0.0.1>\r\nCall-ID: reg{port}\r\n\
             CSeq: {} REGISTER\r\nContact: <sip:anna@192.168.1.5:{port};transport=tcp>\r\n{more}Content-Length: 0\r\n\r\n",
            seq + n
        );
        hand.says(&text)
    };
    let asked = text("", 0);
    let Ok(Message::Response(response)) = parse(asked[0].text.as_bytes()) else { panic!("{asked:?}") };
    let mut digest = Authentication::new(Credentials { username: "anna".into(), password: "secret".into() });
    assert!(digest.challenged(Challenge::all(&response.common.headers)));
    let fields = digest.headers("REGISTER", "sip:10.0.0.1", "c");
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    assert_eq!(final_code(&text(&fields, 1)), 200);
}

#[test]
fn a_call_follows_its_phone_that_registers_anew() {
    let mut hand = Hand::new(Transport::Tcp, ANNA);
    registers(&mut hand, 5060, 1);
    hand.calls("", Some(&sdp(1, "sendrecv")));
    let ok = hand.answered();
    hand.acks(&ok, None);
    let hold = hand.is_held(true).unwrap();
    assert_eq!((hold.target.conn, hold.target.addr), (Some(1), hand.at.addr));
    hand.replies(&hold, "200 OK", "", Some(&sdp(2, "recvonly")));
    // Its connection breaks, and it registers over a new one.
    hand.at = along(Transport::Tcp, "10.0.0.77:40009", Some(2));
    registers(&mut hand, 5060, 3);
    let resume = hand.is_held(false).unwrap();
    assert_eq!((resume.target.conn, resume.target.addr), (Some(2), hand.at.addr));
    hand.replies(&resume, "200 OK", "", Some(&sdp(3, "sendrecv")));
    assert_eq!(hand.state(), "connected");
}

#[test]
fn a_refusal_has_priority_over_an_unreachable_phone() {
    // Result of the second of two ringing phones, if the first cannot be reached.
    for (status, reason) in [("480 Away", "unavailable"), ("486 Busy", "busy"), ("", "service_unavailable")] {
        let mut hand = Hand::new(Transport::Tcp, ANNA);
        registers(&mut hand, 5060, 1);
        hand.at = along(Transport::Tcp, "10.0.0.77:40002", Some(2));
        registers(&mut hand, 5062, 1);
        hand.leg =
            hand.gw.legs(hand.now, |l| l.originate(crate::calls::call_to("sip:anna@10.0.0.1"))).unwrap().id;
        let invites = hand.hears();
        assert_eq!(invites.iter().filter(|h| h.is("INVITE")).count(), 2);
        hand.refuses(&invites[0], false);
        assert_eq!(hand.reason(), None, "the other rings");
        if status.is_empty() {
            hand.refuses(&invites[1], false);
        } else {
            hand.other_replies(&invites[1], status, None);
        }
        assert_eq!(hand.reason().as_deref(), Some(reason), "{status}");
    }
}
