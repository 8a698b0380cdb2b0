//! Only a limited number of legs can use Opus; further calls get other codecs, and calls that support those
//! are never refused.

use branchline::codec::Codec;
use branchline::gateway::interface::error::GatewayError;
use branchline::sip::flow::Transport;

use crate::calls::call_to;
use crate::hand::{Hand, sdp};

/// An offer with Opus and the formats in `others`.
fn opus(version: u32, others: &str) -> String {
    sdp(version, "sendrecv")
        .replace("RTP/AVP 0 101", &format!("RTP/AVP 96 {others}101"))
        .replace("a=rtpmap:101", "a=rtpmap:96 opus/48000/2\r\na=rtpmap:101")
}

fn offers_opus(text: &str) -> bool {
    text.contains("opus/48000")
}

#[test]
fn beyond_the_limit_calls_get_other_codecs() {
    let mut hand = Hand::new(Transport::Udp, "[limits]\nopus_legs = 1\n");
    hand.calls("", Some(&opus(1, "0 ")));
    assert_eq!(hand.gw.view().numbers().opus, 0, "one that rings holds none");
    let ok = hand.answered();
    assert!(offers_opus(ok.body()), "{}", ok.text);
    hand.acks(&ok, None);
    assert_eq!(hand.gw.view().numbers().opus, 1);

    hand.gw.legs(hand.now, |l| l.originate(call_to("sip:other@10.0.0.77:5060"))).unwrap();
    let invite = hand.hears().into_iter().find(|h| h.is("INVITE")).expect("an INVITE");
    assert!(!offers_opus(invite.body()) && invite.body().contains("G722"), "{}", invite.text);
    let mut only_opus = call_to("sip:other@10.0.0.77:5060");
    only_opus.codecs = vec![Codec::Opus];
    let refused = hand.gw.legs(hand.now, |l| l.originate(only_opus.clone())).unwrap_err();
    assert!(
        matches!(&refused, GatewayError::Unavailable(why) if why.contains("all 1 legs with Opus are in use")),
        "{refused:?}"
    );

    // A call that changes to another codec keeps its sampling rate and its Opus slot until it ends.
    let heard = hand.asks("INVITE", "", Some(&sdp(2, "sendrecv")));
    let ok = heard.iter().find(|h| h.code() == 200).expect("a 200");
    hand.acks(ok, None);
    assert_eq!((hand.gw.view().numbers().opus, hand.state()), (1, "connected"));
    hand.asks("BYE", "", None);
    assert_eq!(hand.gw.view().numbers().opus, 0);
    hand.gw.legs(hand.now, |l| l.originate(only_opus)).unwrap();
    assert_eq!(hand.gw.view().numbers().opus, 1, "its far end may choose it");
}

#[test]
fn a_call_without_opus_gets_none_while_all_slots_are_used() {
    let (mut hand, _) = Hand::in_call(Transport::Udp, "[limits]\nopus_legs = 1\n", "");
    let mut only_opus = call_to("sip:other@10.0.0.77:5060");
    only_opus.codecs = vec![Codec::Opus];
    hand.gw.legs(hand.now, |l| l.originate(only_opus)).unwrap();
    hand.hears();

    let heard = hand.asks("INVITE", "", Some(&opus(3, "0 ")));
    let ok = heard.iter().find(|h| h.code() == 200).expect("a 200");
    assert!(!offers_opus(ok.body()) && ok.body().contains("RTP/AVP 0"), "{}", ok.text);
    hand.acks(ok, None);
    // When asked for an offer, we offer the codecs in use.
    let heard = hand.asks("INVITE", "", None);
    let ok = heard.iter().find(|h| h.code() == 200).expect("a 200");
    assert!(!offers_opus(ok.body()) && ok.body().contains("G722"), "{}", ok.text);
    hand.acks(ok, Some(&sdp(4, "sendrecv")));
    let heard = hand.asks("INVITE", "", Some(&opus(5, "")));
    assert!(heard.iter().any(|h| h.code() == 488), "there is nothing else in it: {heard:?}");
    assert_eq!(hand.state(), "connected");
}

#[test]
fn a_call_with_opus_only_is_refused_at_the_answer() {
    let mut hand = Hand::new(Transport::Udp, "[limits]\nopus_legs = 0\n[sip]\ncodecs = [\"opus\"]\n");
    hand.calls("", None);
    let (leg, now) = (hand.leg.clone(), hand.now);
    drop(hand.gw.legs(now, |l| l.answer(&leg)));
    let heard = hand.hears();
    assert!(heard.iter().any(|h| h.code() == 503), "{heard:?}");
}

#[test]
fn calls_with_opus_keep_it() {
    let mut hand = Hand::new(Transport::Udp, "[limits]\nopus_legs = 1\n");
    hand.calls("", Some(&opus(1, "0 ")));
    let ok = hand.answered();
    hand.acks(&ok, None);
    let heard = hand.asks("INVITE", "", Some(&opus(2, "0 ").replace("sendrecv", "sendonly")));
    let ok = heard.iter().find(|h| h.code() == 200).expect("a 200");
    assert!(offers_opus(ok.body()), "{}", ok.text);
}
