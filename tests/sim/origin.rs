//! The version in our session descriptions increases when they change, and only then (RFC 3264 §8, RFC 4028
//! §7.4).

use branchline::sip::flow::Transport;

use crate::hand::{Hand, Heard, final_code, sdp};

const THEY_REFRESH: &str = "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n";
const WE_REFRESH: &str = "Supported: timer\r\nSession-Expires: 90;refresher=uas\r\n";
const GRANTED: &str = "Require: timer\r\nSession-Expires: 90;refresher=uac\r\n";

fn answer(said: Vec<Heard>) -> Heard {
    assert_eq!(final_code(&said), 200);
    said.into_iter().find(|h| h.code() == 200).unwrap()
}

/// Our next refresh, which is answered with this direction.
fn refreshed(hand: &mut Hand, direction: &str) -> Heard {
    let heard = hand.waits(50_000);
    let invite = heard.iter().find(|h| h.is("INVITE")).unwrap_or_else(|| panic!("{heard:?}")).clone();
    hand.replies(&invite, "200 OK", GRANTED, Some(&sdp(1, direction)));
    assert_ne!(hand.state(), "gone");
    invite
}

#[test]
fn answers_to_refreshes_say_that_nothing_has_changed() {
    let (mut hand, first) = Hand::in_call(Transport::Udp, "", THEY_REFRESH);
    for method in ["INVITE", "UPDATE", "INVITE", "UPDATE"] {
        let again = answer(hand.asks(method, THEY_REFRESH, Some(&sdp(1, "sendrecv"))));
        assert_eq!(again.body(), first.body(), "{method}");
        if method == "INVITE" {
            hand.acks(&again, None);
        }
    }
    // Their hold is a change, and their refreshes on hold are not.
    let held = answer(hand.asks("INVITE", THEY_REFRESH, Some(&sdp(2, "sendonly"))));
    hand.acks(&held, None);
    assert_eq!(held.version(), first.version() + 1);
    for method in ["UPDATE", "INVITE"] {
        let again = answer(hand.asks(method, THEY_REFRESH, Some(&sdp(2, "sendonly"))));
        assert_eq!(again.body(), held.body(), "{method}");
        if method == "INVITE" {
            hand.acks(&again, None);
        }
    }
    // When asked for an offer, we offer all our codecs; the second time the same.
    let offered = answer(hand.asks("INVITE", "", None));
    hand.acks(&offered, Some(&sdp(3, "sendrecv")));
    assert_eq!(offered.version(), held.version() + 1);
    let again = answer(hand.asks("INVITE", "", None));
    hand.acks(&again, Some(&sdp(3, "sendrecv")));
    assert_eq!(again.body(), offered.body());
}

#[test]
fn our_refreshes_repeat_the_current_description_literally() {
    // Inbound call: our answer, unchanged or on hold by either end.
    let (mut hand, first) = Hand::in_call(Transport::Udp, "", WE_REFRESH);
    for _ in 0..3 {
        assert_eq!(refreshed(&mut hand, "sendrecv").body(), first.body());
    }
    let hold = hand.is_held(true).unwrap();
    hand.replies(&hold, "200 OK", GRANTED, Some(&sdp(2, "recvonly")));
    assert_eq!(hold.version(), first.version() + 1);
    for _ in 0..2 {
        assert_eq!(refreshed(&mut hand, "recvonly").body(), hold.body());
        assert_eq!(hand.state(), "held");
    }
    let resume = hand.is_held(false).unwrap();
    hand.replies(&resume, "200 OK", GRANTED, Some(&sdp(3, "sendrecv")));
    let theirs = answer(hand.asks("INVITE", WE_REFRESH, Some(&sdp(4, "sendonly"))));
    hand.acks(&theirs, None);
    assert_eq!((resume.version(), theirs.version()), (first.version() + 2, first.version() + 3));
    assert_eq!(refreshed(&mut hand, "sendonly").body(), theirs.body(), "held by them");
    assert_eq!(hand.state(), "held");

    // Outbound call: our offer, whatever was accepted of it.
    let mut hand = Hand::new(Transport::Udp, "[sip]\nsession_expires_s = 90\n");
    let invite = hand.is_called();
    hand.replies(&invite, "200 OK", GRANTED, Some(&sdp(1, "sendrecv")));
    for _ in 0..3 {
        assert_eq!(refreshed(&mut hand, "sendrecv").body(), invite.body());
    }
    assert_eq!(hand.state(), "connected");
}

#[test]
fn an_offer_that_was_refused_has_used_up_its_version() {
    let (mut hand, first) = Hand::in_call(Transport::Udp, "", WE_REFRESH);
    let refused = hand.is_held(true).unwrap();
    hand.replies(&refused, "488 Not Here", "", None);
    assert_eq!(refused.version(), first.version() + 1);
    let rest = |h: &Heard| h.body().lines().filter(|l| !l.starts_with("o=")).collect::<Vec<_>>().join("\n");
    // A version is never used for two descriptions.
    let after = refreshed(&mut hand, "sendrecv");
    assert_eq!((after.version(), rest(&after)), (refused.version() + 1, rest(&first)));
    assert_eq!(refreshed(&mut hand, "sendrecv").body(), after.body());
    let theirs = answer(hand.asks("INVITE", WE_REFRESH, Some(&sdp(1, "sendrecv"))));
    assert_eq!(theirs.body(), after.body());
}
