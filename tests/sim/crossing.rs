//! Every pair of requests that can cross in a call, with and without an offer (RFC 3261 §14.1, §14.2, RFC 3311 §5.2,
//! RFC 3262 §5).

use branchline::sip::flow::Transport;

use crate::hand::{Hand, Heard, final_code, sdp};

const INSISTS: &str =
    "Require: 100rel\r\nSupported: timer\r\nSession-Expires: 90;refresher=uas\r\nAllow: INVITE, UPDATE\r\n";
const UPDATES: &str = "Require: timer\r\nSession-Expires: 90;refresher=uac\r\nAllow: INVITE, UPDATE\r\n";

/// Open transaction when a request of the far end arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    /// Our hold is waiting for its answer.
    OurInvite,
    /// Our refresh, without an offer.
    OurUpdate,
    /// Their re-INVITE is answered; its ACK is outstanding.
    TheirInvite,
    /// The same, but the offer is ours and the ACK contains the answer.
    TheirOfferless,
    /// Their call is ringing; our 180 without SDP is not acknowledged.
    Ringing,
    /// Their call is ringing with early media that it has acknowledged.
    EarlyMedia,
    /// Their call is answered; the ACK is outstanding.
    Answered,
    /// The same, but the offer is ours.
    AnsweredOfferless,
    /// Our call is ringing.
    Calling,
    /// Our call is ringing with early media; our PRACK is unanswered.
    OurPrack,
}

/// An inbound call; `rack` is set to the RAck value of the reliable response.
fn inbound(open: Open, rack: &mut String) -> Hand {
    let mut hand = Hand::new(Transport::Udp, "");
    let early = open == Open::EarlyMedia;
    let offer = (open != Open::AnsweredOfferless).then(|| sdp(1, "sendrecv"));
    // Without an offer, no reliable provisional response can be sent.
    let fields = if offer.is_some() { INSISTS } else { "Allow: UPDATE\r\n" };
    let mut heard = hand.calls(fields, offer.as_deref());
    let rseq = |heard: &[Heard]| heard.iter().find_map(|h| h.field("RSeq")).map(str::to_owned);
    *rack = format!("RAck: {} 1 INVITE\r\n", rseq(&heard).unwrap_or_default());
    if early {
        let leg = hand.leg.clone();
        hand.asks("PRACK", rack, None);
        hand.gw.legs(hand.now, |l| l.early_media(&leg)).unwrap();
        heard = hand.hears();
        *rack = format!("RAck: {} 1 INVITE\r\n", rseq(&heard).unwrap());
        hand.asks("PRACK", rack, None);
    }
    if matches!(open, Open::Ringing | Open::EarlyMedia) {
        return hand;
    }
    let ok = hand.answered();
    if !matches!(open, Open::Answered | Open::AnsweredOfferless) {
        hand.acks(&ok, None);
    }
    match open {
        Open::OurInvite => assert!(hand.is_held(true).is_some()),
        Open::OurUpdate => assert!(hand.waits(45_000).iter().any(|h| h.is("UPDATE"))),
        Open::TheirInvite => assert_eq!(final_code(&hand.asks("INVITE", "", Some(&sdp(2, "sendrecv")))), 200),
        Open::TheirOfferless => assert_eq!(final_code(&hand.asks("INVITE", "", None)), 200),
        _ => {}
    }
    hand
}

/// An outbound call.
fn outbound(open: Open) -> Hand {
    let mut hand = Hand::new(Transport::Udp, "[sip]\nsession_expires_s = 90\n");
    let invite = hand.is_called();
    let early = sdp(1, "sendrecv");
    match open {
        Open::Calling => {
            hand.replies(&invite, "180 Ringing", "", None);
        }
        Open::OurPrack => {
            let said = hand.replies(&invite, "183 Progress", "Require: 100rel\r\nRSeq: 1\r\n", Some(&early));
            assert!(said[0].is("PRACK"));
        }
        _ => {
            hand.replies(&invite, "200 OK", UPDATES, Some(&early));
            match open {
                Open::OurInvite => assert!(hand.is_held(true).is_some()),
                Open::OurUpdate => assert!(hand.waits(45_000).iter().any(|h| h.is("UPDATE"))),
                Open::TheirInvite => {
                    assert_eq!(final_code(&hand.asks("INVITE", "", Some(&sdp(2, "sendrecv")))), 200)
                }
                Open::TheirOfferless => assert_eq!(final_code(&hand.asks("INVITE", "", None)), 200),
                _ => {}
            }
        }
    }
    hand
}

/// Expected responses to INVITE, UPDATE and PRACK, each with and without an offer.
const TABLE: [(Open, [u16; 6]); 11] = [
    (Open::Nothing, [200, 200, 200, 200, 200, 200]),
    (Open::OurInvite, [491, 491, 491, 200, 491, 200]),
    (Open::OurUpdate, [200, 200, 200, 200, 200, 200]),
    (Open::TheirInvite, [500, 500, 200, 200, 200, 200]),
    (Open::TheirOfferless, [500, 500, 491, 200, 491, 200]),
    (Open::Ringing, [500, 500, 500, 200, 500, 200]),
    (Open::EarlyMedia, [500, 500, 200, 200, 200, 200]),
    (Open::Answered, [200, 200, 200, 200, 200, 200]),
    // There is nothing to acknowledge.
    (Open::AnsweredOfferless, [491, 491, 491, 200, 481, 481]),
    (Open::Calling, [491, 491, 491, 200, 481, 481]),
    (Open::OurPrack, [491, 491, 200, 200, 481, 481]),
];

fn check(context: &str, hand: &mut Hand, column: usize, rack: &str, want: u16) {
    let offer = column.is_multiple_of(2).then(|| sdp(3, "sendonly"));
    let (method, fields) = [("INVITE", ""), ("UPDATE", ""), ("PRACK", rack)][column / 2];
    let before = hand.state();
    let said = hand.asks(method, fields, offer.as_deref());
    let context = format!("{context}, {method}, offer: {}", offer.is_some());
    let answer = said.iter().find(|h| h.code() >= 200).unwrap_or_else(|| panic!("{context}: {said:?}"));
    assert_eq!(answer.code(), want, "{context}: {}", answer.text);
    let wait = answer.field("Retry-After").map(|s| s.parse::<u32>().unwrap());
    assert_eq!(wait.is_some_and(|s| s <= 10), want == 500, "{context}: {}", answer.text);
    // Refused or not, there is no other effect; PRACK was answered.
    if want == 200 && column.is_multiple_of(2) {
        assert!(answer.body().contains("a=recvonly"), "{context}: {}", answer.text);
    } else {
        assert_eq!(hand.state(), before, "{context}");
    }
    assert!(said.iter().all(|h| !h.is("BYE")) && hand.state() != "gone", "{context}");
}

#[test]
fn crossing_requests_wait_only_if_necessary() {
    for (open, codes) in TABLE {
        for (column, want) in codes.into_iter().enumerate() {
            let ours_only = matches!(open, Open::Calling | Open::OurPrack);
            if !ours_only {
                let mut rack = String::new();
                let mut hand = inbound(open, &mut rack);
                check(&format!("their call, {open:?}"), &mut hand, column, &rack, want);
            }
            let theirs_only =
                matches!(open, Open::Ringing | Open::EarlyMedia | Open::Answered | Open::AnsweredOfferless);
            if !theirs_only {
                let want = if column >= 4 { 481 } else { want };
                check(
                    &format!("our call, {open:?}"),
                    &mut outbound(open),
                    column,
                    "RAck: 1 1 INVITE\r\n",
                    want,
                );
            }
        }
    }
}

#[test]
fn our_requests_wait_only_if_necessary() {
    for open in [Open::Nothing, Open::TheirInvite, Open::TheirOfferless] {
        // A hold is an offer in an INVITE: not before the ACK.
        let mut hand = outbound(open);
        let at_once = hand.is_held(true).is_some();
        assert_eq!(at_once, open == Open::Nothing, "{open:?}");
        if !at_once {
            let copies = hand.waits(1_000);
            let ok = copies.iter().find(|h| h.code() == 200).expect("the 200 is repeated").clone();
            hand.acks(&ok, (open == Open::TheirOfferless).then(|| sdp(2, "sendrecv")).as_deref());
            assert!(hand.waits(300).iter().any(|h| h.is("INVITE")), "{open:?}: it follows the ACK");
        }
    }
    let mut rack = String::new();
    let mut hand = inbound(Open::OurUpdate, &mut rack);
    let leg = hand.leg.clone();
    assert!(hand.gw.legs(hand.now, |l| l.hold(&leg, true)).is_err(), "one change of ours at a time");
}

#[test]
fn a_change_rejected_with_491_or_500_is_retried() {
    // First response of the far end, and minimum and maximum delay before the retry, ms; inbound calls.
    for (status, field, least, most) in [
        ("491 Request Pending", "", 0, 2_000),
        ("500 Later", "Retry-After: 7\r\n", 7_000, 7_000),
        ("500 Later", "Retry-After: 0\r\n", 0, 0),
        ("500 Later", "Retry-After: 10 (busy)\r\n", 10_000, 10_000),
    ] {
        let (mut hand, _) = Hand::in_call(Transport::Udp, "", "");
        let first = hand.is_held(true).unwrap();
        let at = hand.elapsed();
        let mut said = hand.replies(&first, status, field, None);
        said.extend(hand.waits(10_500));
        let again =
            said.iter().find(|h| h.is("INVITE")).unwrap_or_else(|| panic!("{status} {field}: {said:?}"));
        assert!((least..=most).contains(&(again.at - at)), "{status} {field}: after {} ms", again.at - at);
        assert_eq!(again.body(), first.body(), "{status}: the same offer under the same version");
        let again = again.clone();
        hand.replies(&again, "200 OK", "", Some(&sdp(2, "recvonly")));
        assert_eq!(hand.state(), "held", "{status} {field}");
    }
    // These are final refusals.
    for (status, field) in
        [("500 Broken", ""), ("500 Broken", "Retry-After: 3600\r\n"), ("503 Full", "Retry-After: 5\r\n")]
    {
        let (mut hand, _) = Hand::in_call(Transport::Udp, "", "");
        let first = hand.is_held(true).unwrap();
        hand.replies(&first, status, field, None);
        let told = hand.told().expect("an outcome").unwrap_err();
        assert!(told.contains(&status[..3]), "{told}");
        assert_eq!((hand.state(), hand.waits(20_000).iter().any(|h| h.is("INVITE"))), ("connected", false));
    }
}

#[test]
fn the_answer_repeats_the_session_updated_during_early_media() {
    let mut rack = String::new();
    let mut hand = inbound(Open::EarlyMedia, &mut rack);
    let said = hand.asks("UPDATE", "", Some(&sdp(2, "sendonly")));
    let updated = said.iter().find(|h| h.code() == 200).unwrap().clone();
    let ok = hand.answered();
    assert_eq!(ok.body(), updated.body());
    assert!(ok.body().contains("a=recvonly"), "{}", ok.text);
}
