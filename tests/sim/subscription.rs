//! Subscriptions created by REFER, from both ends: identified, refreshed, ended (RFC 3515 §2.4, RFC 6665 §4).

use branchline::gateway::events::Event;
use branchline::sip::flow::Transport;
use branchline::wire::Uri;

use crate::hand::{Hand, Heard, final_code, sdp};

const DIALS: &str = "[sip]\nrefer_auto_dial = true\nring_timeout_s = 60\n";

/// Event, first line of the body, Subscription-State.
type Notice<'a> = (&'a str, &'a str, &'a str);

fn notices(heard: &[Heard]) -> Vec<Notice<'_>> {
    heard
        .iter()
        .filter(|h| h.is("NOTIFY"))
        .map(|h| (h.field("Event").unwrap(), h.body().trim(), h.field("Subscription-State").unwrap()))
        .collect()
}

/// The far end requests a transfer: returns the INVITE, the CSeq of its REFER, and further messages.
fn refer(hand: &mut Hand) -> (Heard, String, Vec<Heard>) {
    let text = hand.request("REFER", "Refer-To: <sip:c@10.0.0.88>\r\n", None);
    let number =
        text.lines().find_map(|l| l.strip_prefix("CSeq: ")).unwrap().split(' ').next().unwrap().to_owned();
    let said = hand.says(&text);
    assert_eq!(final_code(&said), 202);
    accept(hand, &said);
    (said.iter().find(|h| h.is("INVITE")).unwrap().clone(), number, said)
}

/// The far end accepts these NOTIFYs.
fn accept(hand: &mut Hand, heard: &[Heard]) {
    for n in heard.iter().filter(|h| h.is("NOTIFY")) {
        hand.replies(n, "200 OK", "", None);
    }
}

fn referred(fields: &str) -> (Hand, Heard) {
    let (mut hand, _) = Hand::in_call(Transport::Udp, DIALS, fields);
    let (invite, _, _) = refer(&mut hand);
    (hand, invite)
}

#[test]
fn notifys_name_every_refer_but_the_first() {
    for declined in [false, true] {
        let (mut hand, _) = Hand::in_call(Transport::Udp, DIALS, "");
        if declined {
            // It was the first of the dialog nevertheless.
            assert_eq!(final_code(&hand.asks("REFER", "", None)), 400);
        }
        for n in 0..3 {
            let (invite, number, said) = refer(&mut hand);
            let event = if n == 0 && !declined { "refer".to_owned() } else { format!("refer;id={number}") };
            assert_eq!(notices(&said), [(event.as_str(), "SIP/2.0 100 Trying", "active;expires=120")]);
            let rings = hand.other_replies(&invite, "180 Ringing", None);
            assert_eq!(notices(&rings), [(event.as_str(), "SIP/2.0 180 Ringing", "active;expires=120")]);
            accept(&mut hand, &rings);
            let over = hand.other_replies(&invite, "486 Busy Here", None);
            let last = [(event.as_str(), "SIP/2.0 486 Busy Here", "terminated;reason=noresource")];
            assert_eq!(notices(&over), last);
            accept(&mut hand, &over);
        }
        assert_eq!(hand.state(), "connected");
    }
}

#[test]
fn a_subscriber_refreshes_shortens_and_ends_its_subscription() {
    let (mut hand, invite) = referred("");
    hand.waits(30_000);
    let rings = hand.other_replies(&invite, "180 Ringing", None);
    assert_eq!(notices(&rings)[0].2, "active;expires=90", "what is left of it");
    accept(&mut hand, &rings);
    let said = hand.asks("SUBSCRIBE", "Event: refer\r\nExpires: 300\r\n", None);
    assert_eq!((final_code(&said), said[0].field("Expires")), (200, Some("300")));
    assert_eq!(notices(&said), [("refer", "SIP/2.0 180 Ringing", "active;expires=300")]);
    accept(&mut hand, &said);
    // Shorter, until it expires.
    let said = hand.asks("SUBSCRIBE", "Event: refer\r\nExpires: 5\r\n", None);
    assert_eq!(notices(&said), [("refer", "SIP/2.0 180 Ringing", "active;expires=5")]);
    accept(&mut hand, &said);
    let over = hand.waits(5_000);
    assert_eq!(notices(&over), [("refer", "SIP/2.0 180 Ringing", "terminated;reason=timeout")]);
    accept(&mut hand, &over);
    assert_eq!(final_code(&hand.asks("SUBSCRIBE", "Event: refer\r\n", None)), 481);
    // No further NOTIFYs; the transfer continues, and its success ends the referrer's call at once.
    let up = hand.other_replies(&invite, "200 OK", Some(&sdp(1, "sendrecv")));
    assert!(notices(&up).is_empty() && up.iter().any(|h| h.is("BYE")), "{up:?}");
    assert_eq!(hand.reason().as_deref(), Some("transfer_completed"));

    let (mut hand, invite) = referred("");
    let said = hand.asks("SUBSCRIBE", "Event: refer\r\nExpires: 0\r\n", None);
    assert_eq!((final_code(&said), said[0].field("Expires")), (200, Some("0")));
    assert_eq!(notices(&said), [("refer", "SIP/2.0 100 Trying", "terminated;reason=timeout")]);
    accept(&mut hand, &said);
    assert!(notices(&hand.other_replies(&invite, "486 Busy Here", None)).is_empty());
    assert_eq!(hand.state(), "connected");
}

#[test]
fn only_existing_subscriptions_can_be_refreshed() {
    let (mut hand, invite) = referred("");
    for (fields, code) in [
        ("Event: refer;id=77\r\n", 481),
        ("Event: refer;id=x\r\n", 481),
        ("Event: presence\r\n", 489),
        ("", 489),
        ("Event: refer\r\nExpires: soon\r\n", 400),
    ] {
        assert_eq!(final_code(&hand.asks("SUBSCRIBE", fields, None)), code, "{fields}");
    }
    let over = hand.other_replies(&invite, "486 Busy Here", None);
    accept(&mut hand, &over);
    let (_, number, _) = refer(&mut hand);
    assert_eq!(final_code(&hand.asks("SUBSCRIBE", "Event: refer\r\n", None)), 481, "the first is over");
    let said = hand.asks("SUBSCRIBE", &format!("Event: refer;id={number}\r\nExpires: 60\r\n"), None);
    assert_eq!(final_code(&said), 200);
    assert_eq!(notices(&said)[0].0, format!("refer;id={number}"));
}

#[test]
fn notifys_stop_after_481_or_timeout() {
    for answer in ["481 No Subscription", "408 Request Timeout", "", "503 Busy", "200 OK"] {
        let (mut hand, _) = Hand::in_call(Transport::Udp, DIALS, "");
        let said = hand.asks("REFER", "Refer-To: <sip:c@10.0.0.88>\r\n", None);
        let invite = said.iter().find(|h| h.is("INVITE")).unwrap().clone();
        let first = said.iter().find(|h| h.is("NOTIFY")).unwrap().clone();
        hand.other_replies(&invite, "100 Trying", None);
        if answer.is_empty() {
            hand.waits(33_000);
        } else {
            hand.replies(&first, answer, "", None);
        }
        let told = notices(&hand.other_replies(&invite, "180 Ringing", None)).len();
        assert_eq!(told, usize::from(["503 Busy", "200 OK"].contains(&answer)), "{answer}");
        assert_eq!(hand.state(), "connected", "{answer}");
    }
}

/// We send REFER, which is accepted: returns its CSeq.
fn transfer(hand: &mut Hand) -> String {
    let leg = hand.leg.clone();
    hand.gw.legs(hand.now, |l| l.transfer(&leg, Uri::parse("sip:c@10.0.0.88").unwrap(), None)).unwrap();
    let refer = hand.hears().into_iter().find(|h| h.is("REFER")).unwrap();
    hand.replies(&refer, "202 Accepted", "", None);
    refer.field("CSeq").unwrap().split(' ').next().unwrap().to_owned()
}

fn notify(hand: &mut Hand, event: &str, state: &str, status: &str) -> u16 {
    let fields = format!("Event: {event}\r\nSubscription-State: {state}\r\n");
    final_code(&hand.asks("NOTIFY", &fields, Some(&format!("SIP/2.0 {status}\r\n"))))
}

fn outcomes(hand: &Hand) -> Vec<(&'static str, Option<u64>)> {
    let is = |e: &&Event| e.kind().starts_with("leg.transfer_") && e.kind() != "leg.transfer_initiated";
    let code = |e: &Event| e.to_json("")["status_code"].as_u64();
    hand.events.iter().filter(is).map(|e| (e.kind(), code(e))).collect()
}

#[test]
fn notifys_of_an_earlier_transfer_are_not_attributed_to_the_present_one() {
    let (mut hand, _) = Hand::in_call(Transport::Udp, "", "");
    let first = transfer(&mut hand);
    assert_eq!(notify(&mut hand, "refer", "active;expires=300", "486 Busy Here"), 200);
    assert_eq!(outcomes(&hand), [("leg.transfer_failed", Some(486))]);
    let second = transfer(&mut hand);
    // The first has not ended: a NOTIFY without id belongs to it, and its id is known.
    for event in ["refer".to_owned(), format!("refer;id={first}"), format!("Refer; ID={first}")] {
        assert_eq!(notify(&mut hand, &event, "active", "486 Busy Here"), 200, "{event}");
    }
    assert_eq!(outcomes(&hand).len(), 1);
    for event in ["refer;id=9999", "refer;id=", "refer;id=x"] {
        assert_eq!(notify(&mut hand, event, "active", "200 OK"), 481, "{event}");
    }
    assert_eq!(notify(&mut hand, &format!("refer;id={second}"), "active", "180 Ringing"), 200);
    assert_eq!(outcomes(&hand)[1..], [("leg.transfer_progress", Some(180))]);
    assert_eq!(notify(&mut hand, "refer", "terminated;reason=noresource", "486 Busy Here"), 200);
    assert_eq!(
        notify(&mut hand, &format!("refer;id={first}"), "active", "486 Busy Here"),
        481,
        "it has ended"
    );
    // From a far end that sends no ids, it belongs to the present one.
    assert_eq!(notify(&mut hand, "refer", "terminated;reason=noresource", "404 Not Found"), 200);
    assert_eq!(outcomes(&hand)[2..], [("leg.transfer_failed", Some(404))]);
    assert_eq!(notify(&mut hand, "refer", "active", "200 OK"), 481);
    assert_eq!(hand.state(), "connected");
}

#[test]
fn a_refused_or_timed_out_refer_has_no_subscription() {
    let (mut hand, _) = Hand::in_call(Transport::Udp, "", "");
    let leg = hand.leg.clone();
    hand.gw.legs(hand.now, |l| l.transfer(&leg, Uri::parse("sip:c@10.0.0.88").unwrap(), None)).unwrap();
    let refer = hand.hears().remove(0);
    hand.replies(&refer, "603 Decline", "", None);
    assert_eq!(notify(&mut hand, "refer", "active", "200 OK"), 481);
    transfer(&mut hand);
    hand.waits(121_000);
    assert_eq!(outcomes(&hand).len(), 2);
    assert_eq!(notify(&mut hand, "refer", "active", "200 OK"), 481, "which ends it there too");
    assert_eq!(hand.state(), "connected");
}

#[test]
fn our_subscription_is_refreshed_until_the_result() {
    let (mut hand, _) = Hand::in_call(Transport::Udp, "", "");
    for named in [false, true] {
        let number = transfer(&mut hand);
        let event = if named { format!("refer;id={number}") } else { "refer".to_owned() };
        assert_eq!(notify(&mut hand, &event, "active;expires=40", "100 Trying"), 200);
        let begun = hand.elapsed();
        let heard = hand.waits(31_000);
        let subscribe = heard.iter().find(|h| h.is("SUBSCRIBE")).expect("before it ends");
        assert_eq!((subscribe.at - begun, subscribe.field("Event")), (30_000, Some(event.as_str())));
        let asked: u64 = subscribe.field("Expires").unwrap().parse().unwrap();
        assert!((90..=91).contains(&asked), "as long as the outcome is waited for: {asked}");
        let subscribe = subscribe.clone();
        hand.replies(&subscribe, "200 OK", "Expires: 91\r\n", None);
        assert_eq!(notify(&mut hand, &event, "active;expires=91", "180 Ringing"), 200);
        // The interval is long enough; a missing one is, too.
        assert!(hand.waits(40_000).iter().all(|h| !h.is("SUBSCRIBE")));
        assert_eq!(notify(&mut hand, &event, "active", "180 Ringing"), 200);
        assert!(hand.waits(40_000).iter().all(|h| !h.is("SUBSCRIBE")));
        assert_eq!(notify(&mut hand, &event, "terminated;reason=noresource", "486 Busy Here"), 200);
    }
    assert_eq!(hand.state(), "connected");
}

#[test]
fn a_referrer_that_hangs_up_at_once_still_gets_notifys() {
    for ours in [false, true] {
        let (mut hand, invite) = referred("");
        if ours {
            let leg = hand.leg.clone();
            hand.gw.legs(hand.now, |l| l.hang_up(&leg, None)).unwrap();
            let bye = hand.hears().into_iter().find(|h| h.is("BYE")).unwrap();
            hand.replies(&bye, "200 OK", "", None);
        } else {
            assert_eq!(final_code(&hand.asks("BYE", "", None)), 200);
        }
        assert!(hand.reason().is_some());
        let mut last = 0;
        for (status, body, state) in [
            ("180 Ringing", None, "active;expires=120"),
            ("200 OK", Some(sdp(1, "sendrecv")), "terminated;reason=noresource"),
        ] {
            let said = hand.other_replies(&invite, status, body.as_deref());
            assert_eq!(notices(&said), [("refer", format!("SIP/2.0 {status}").as_str(), state)], "{ours}");
            let told = said.iter().find(|h| h.is("NOTIFY")).unwrap();
            let number: u32 = told.field("CSeq").unwrap().split(' ').next().unwrap().parse().unwrap();
            assert!(number > last.max(1 + u32::from(ours)), "{ours}: {number} after {last}");
            last = number;
            accept(&mut hand, &said);
        }
        // After 481, no further NOTIFYs are sent.
        let (mut hand, invite) = referred("");
        hand.asks("BYE", "", None);
        let said = hand.other_replies(&invite, "180 Ringing", None);
        hand.replies(said.iter().find(|h| h.is("NOTIFY")).unwrap(), "481 Gone", "", None);
        assert!(notices(&hand.other_replies(&invite, "486 Busy Here", None)).is_empty());
    }
}

#[test]
fn a_referrer_is_notified_of_the_end_when_both_legs_end_at_once() {
    // Legs are ended in the order of their UUIDs.
    for earlier in 0..8 {
        let (mut hand, invite) = referred("");
        let mut invite = invite;
        for _ in 0..earlier {
            let over = hand.other_replies(&invite, "486 Busy Here", None);
            accept(&mut hand, &over);
            invite = refer(&mut hand).0;
        }
        let rings = hand.other_replies(&invite, "180 Ringing", None);
        accept(&mut hand, &rings);
        hand.events.clear();
        hand.gw.shut_down(hand.now);
        let said = hand.hears();
        let last = notices(&said).into_iter().map(|(_, _, state)| state).collect::<Vec<_>>();
        assert_eq!(last, ["terminated;reason=noresource"], "after {earlier} others: {said:#?}");
    }
}
