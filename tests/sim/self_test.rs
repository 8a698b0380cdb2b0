//! Signalling of the self-test call: encrypted regardless of the configuration, answered at once, not usable
//! by others.

use branchline::sip::flow::Transport;

use crate::hand::{Hand, along};

#[test]
fn the_self_test_is_encrypted_and_answered_at_once_and_not_usable_by_others() {
    let mut hand = Hand::new(Transport::Udp, "[sip]\nsrtp = \"off\"\naccept_from = [\"192.0.2.0/24\"]\n");
    let begun = hand.gw.legs(hand.now, |l| l.begin_self_test()).unwrap();
    let heard = hand.hears();
    let invite = heard.iter().find(|h| h.is("INVITE sip:self-test-")).expect("an INVITE");
    assert!(invite.body().contains("RTP/SAVP") && invite.body().contains("a=crypto:"), "{}", invite.text);
    assert_eq!(invite.target.addr.to_string(), "10.0.0.1:5060");

    // A call of another source to such a name is refused.
    let other =
        invite.text.replace("INVITE sip:self-test-", "INVITE sip:self-test-x").replace("z9hG4bK", "z9hG4bKx");
    hand.gw.handle_message(hand.now, along(Transport::Udp, "10.0.0.66:5060", None), other.as_bytes());
    assert_eq!(hand.hears().len(), 0);

    let home = along(Transport::Udp, "10.0.0.1:5060", None);
    hand.gw.handle_message(hand.now, home, invite.text.as_bytes());
    let heard = hand.hears();
    let ok = heard.iter().find(|h| h.code() == 200).unwrap_or_else(|| panic!("a 200: {heard:?}"));
    assert!(ok.body().contains("RTP/SAVP"), "{}", ok.text);
    hand.gw.handle_message(hand.now, home, ok.text.as_bytes());
    let ack = hand.hears().into_iter().find(|h| h.is("ACK")).expect("an ACK");
    hand.gw.handle_message(hand.now, home, ack.text.as_bytes());
    assert!(hand.gw.view().self_test_answerer(&begun).is_some());
    assert!(hand.gw.legs(hand.now, |l| l.begin_self_test()).is_err(), "one at a time");
    hand.gw.legs(hand.now, |l| l.end_self_test(&begun));
    assert!(hand.hears().iter().any(|h| h.is("BYE")));
    assert!(hand.events.is_empty(), "{:?}", hand.events);
    hand.gw.legs(hand.now, |l| l.begin_self_test()).unwrap();
}
