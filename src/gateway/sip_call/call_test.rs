//! Tests of a call from INVITE to end, without the rest of the core.

use super::testing::{Harness, sdp};
use crate::gateway::interface::error::GatewayError;
use crate::gateway::legs::leg_id::LegId;
use crate::wire::replaces::ReferTo;

const CONFLICT: &str = "leg is already held";

fn lines(of: &[&str]) -> Vec<String> {
    of.iter().map(|&l| l.to_owned()).collect()
}

fn transfer(h: &mut Harness, replaced: Option<(LegId, String)>) {
    let target = ReferTo::parse("<sip:carol@192.0.2.7>").expect("a target");
    h.ask(|call, ctx, now| call.transfer(ctx, now, target, replaced)).expect("a transfer");
}

fn hold(h: &mut Harness, on: bool) -> Result<(), GatewayError> {
    h.ask(|call, ctx, now| call.hold(ctx, now, on)).map(|_handle| ())
}

#[test]
fn a_call_of_ours_is_acknowledged_and_ends_with_a_bye() {
    let mut h = Harness::outbound();
    assert_eq!(h.lines(), ["INVITE sip:bob@192.0.2.9 SIP/2.0"]);
    let mut h = Harness::outbound();
    h.respond(180, "Ringing", "", None);
    h.respond(200, "OK", "", Some(&sdp("sendrecv")));
    assert_eq!(h.lines(), ["INVITE sip:bob@192.0.2.9 SIP/2.0", "ACK sip:bob@192.0.2.9 SIP/2.0"]);
    assert_eq!(h.events(), ["leg.connected"]);
    assert_eq!(h.reports(), ["Progressed", "SessionChanged", "Connected"]);
    h.ask(|call, ctx, now| call.hang_up(ctx, now, "api_hangup", None));
    assert_eq!((h.lines(), h.end()), (vec!["BYE sip:bob@192.0.2.9 SIP/2.0".to_owned()], Some("api_hangup")));
    assert_eq!(h.reports(), ["Ended"]);
}

#[test]
fn a_call_of_ours_that_nobody_answers_is_cancelled() {
    let mut h = Harness::outbound();
    h.respond(180, "Ringing", "", None);
    h.sent.clear();
    h.wait(59);
    assert_eq!((h.lines().len(), h.end()), (0, None));
    h.wait(1);
    assert_eq!(
        (h.lines(), h.end()),
        (vec!["CANCEL sip:bob@192.0.2.9 SIP/2.0".to_owned()], Some("ring_timeout"))
    );
}

#[test]
fn a_refusal_says_why_a_call_of_ours_has_ended() {
    for (code, reason) in [(486, "busy"), (603, "declined"), (404, "not_found"), (480, "unavailable")] {
        let mut h = Harness::outbound();
        h.respond(code, "No", "", None);
        assert_eq!((h.reports(), h.end()), (vec!["Ended".to_owned()], Some(reason)), "{code}");
    }
}

#[test]
fn a_call_to_us_rings_is_answered_and_acknowledged() {
    let mut h = Harness::inbound("");
    h.ask(|call, ctx, now| call.ring(ctx, now)).unwrap();
    h.ask(|call, ctx, now| call.answer(ctx, now, None)).unwrap();
    assert_eq!(h.lines(), ["SIP/2.0 180 Ringing", "SIP/2.0 200 OK"]);
    assert!(h.call.is_answered() && h.events().is_empty(), "nobody has acknowledged it");
    assert_eq!(h.reports(), ["SessionChanged", "Unproven"]);
    h.receive("ACK", "", None);
    assert_eq!((h.call.is_up(), h.events()), (true, vec!["leg.connected".to_owned()]));
    let again = h.ask(|call, ctx, now| call.answer(ctx, now, None));
    assert!(matches!(again, Err(GatewayError::Conflict(_))), "{again:?}");
    h.receive("BYE", "", None);
    assert_eq!((h.lines(), h.end()), (vec!["SIP/2.0 200 OK".to_owned()], Some("remote_bye")));
}

#[test]
fn a_call_to_us_that_is_never_acknowledged_ends() {
    let mut h = Harness::inbound("");
    h.ask(|call, ctx, now| call.answer(ctx, now, None)).unwrap();
    h.wait(40);
    assert_eq!(h.end(), Some("ack_timeout"));
    let repeats = h.lines().iter().filter(|l| l.starts_with("SIP/2.0 200")).count();
    assert_eq!(repeats, 11, "RFC 3261 §13.3.1.4: after 0.5, 1, 2, 4, 4, … s");
}

#[test]
fn a_caller_that_hangs_up_before_the_answer_ends_its_invite() {
    let mut h = Harness::inbound("");
    h.receive("BYE", "", None);
    assert_eq!(
        (h.lines(), h.end()),
        (lines(&["SIP/2.0 200 OK", "SIP/2.0 487 Request Terminated"]), Some("remote_bye"))
    );
}

#[test]
fn hold_is_agreed_with_the_far_end_before_it_is_published() {
    let mut h = Harness::connected("");
    h.events();
    hold(&mut h, true).unwrap();
    assert!(h.sent[0].contains("a=sendonly\r\n") && h.events().is_empty());
    assert_eq!(
        hold(&mut h, true),
        Err(GatewayError::Conflict("a hold or resume of this leg is in progress".to_owned()))
    );
    h.respond(200, "OK", "", Some(&sdp("recvonly")));
    assert_eq!((h.events(), h.call.is_held_by_us()), (vec!["leg.hold".to_owned()], true));
    assert_eq!(hold(&mut h, true), Err(GatewayError::Conflict(CONFLICT.to_owned())));
    h.sent.clear();
    hold(&mut h, false).unwrap();
    assert!(h.sent[0].contains("a=sendrecv\r\n"));
    h.respond(200, "OK", "", Some(&sdp("sendrecv")));
    assert_eq!((h.events(), h.call.is_held()), (vec!["leg.unhold".to_owned()], false));
}

#[test]
fn a_far_end_that_holds_is_the_one_to_resume() {
    let mut h = Harness::connected("");
    h.receive("INVITE", "", Some(&sdp("sendonly")));
    assert!(h.sent[0].contains("a=recvonly\r\n"), "{}", h.sent[0]);
    h.receive("ACK", "", None);
    assert_eq!(h.events(), ["leg.connected", "leg.hold"]);
    let why = "the far end holds the call: only it can resume";
    assert_eq!(hold(&mut h, false), Err(GatewayError::Conflict(why.to_owned())));
    h.receive("INVITE", "", Some(&sdp("sendrecv")));
    assert_eq!(h.events(), ["leg.unhold"]);
}

#[test]
fn a_hold_that_crosses_a_change_of_the_far_end_is_asked_for_again() {
    let mut h = Harness::connected("");
    hold(&mut h, true).unwrap();
    h.respond(491, "Request Pending", "", None);
    h.sent.clear();
    h.wait(4);
    assert!(
        h.sent[0].starts_with("INVITE") && h.sent[0].contains("a=sendonly"),
        "RFC 3261 §14.1: within 4 s"
    );
    h.respond(200, "OK", "", Some(&sdp("recvonly")));
    assert!(h.call.is_held_by_us());
}

#[test]
fn a_hold_that_is_refused_leaves_the_call_as_it_was() {
    let mut h = Harness::connected("");
    h.events();
    hold(&mut h, true).unwrap();
    h.respond(488, "Not Acceptable Here", "", None);
    assert!(h.call.is_up() && !h.call.is_held() && h.events().is_empty());
    hold(&mut h, true).unwrap();
    h.respond(481, "Call/Transaction Does Not Exist", "", None);
    assert_eq!(h.end(), Some("timeout"), "RFC 3261 §12.2.1.2");
}

#[test]
fn nobody_is_held_for_more_than_two_hours() {
    let mut h = Harness::connected("");
    hold(&mut h, true).unwrap();
    h.respond(200, "OK", "", Some(&sdp("recvonly")));
    h.wait(7199);
    assert_eq!(h.end(), None);
    h.wait(1);
    assert_eq!(h.end(), Some("hold_timeout"));
}

#[test]
fn we_refresh_a_session_at_half_its_interval() {
    let mut h = Harness::connected("Session-Expires: 600;refresher=uac\r\nRequire: timer\r\n");
    h.wait(299);
    assert_eq!(h.lines().len(), 0);
    h.wait(1);
    let sent = h.lines();
    assert!(matches!(&*sent, [l] if l.starts_with("UPDATE") || l.starts_with("INVITE")), "{sent:?}");
}

#[test]
fn the_least_interval_that_a_422_to_the_invite_has_named_goes_into_every_refresh() {
    let mut h = Harness::outbound();
    h.respond(422, "Session Interval Too Small", "Min-SE: 2400\r\n", None);
    h.respond(200, "OK", "Session-Expires: 2400;refresher=uac\r\nRequire: timer\r\n", Some(&sdp("sendrecv")));
    h.sent.clear();
    h.wait(1200);
    assert!(h.sent[0].contains("Min-SE: 2400\r\n"), "RFC 4028 §7.4: {}", h.sent[0]);
}

#[test]
fn a_prack_for_nothing_that_was_sent_reliably_gets_481() {
    let mut h = Harness::inbound("");
    h.ask(|call, ctx, now| call.ring(ctx, now)).unwrap();
    h.sent.clear();
    h.receive("PRACK", "RAck: 0 0 INVITE\r\n", None);
    assert_eq!(h.lines(), ["SIP/2.0 481 No Such Provisional Response"]);
}

#[test]
fn a_session_that_the_far_end_does_not_refresh_ends_before_its_interval_does() {
    let mut h = Harness::connected("Session-Expires: 600;refresher=uas\r\nRequire: timer\r\n");
    h.wait(567);
    assert_eq!(h.end(), None);
    h.wait(1);
    assert_eq!((h.lines().len(), h.end()), (1, Some("session_expired")), "RFC 4028 §10: by a BYE");
}

#[test]
fn a_transfer_ends_the_call_when_the_far_end_talks_to_its_target() {
    let mut h = Harness::connected("");
    h.events();
    transfer(&mut h, None);
    let refer = h.sent.pop().unwrap();
    assert!(refer.starts_with("REFER ") && refer.contains("Refer-To: <sip:carol@192.0.2.7>\r\n"), "{refer}");
    let again = h.call.may_transfer();
    assert!(matches!(again, Err(GatewayError::Conflict(_))), "{again:?}");
    h.respond_to(&refer, 202, "Accepted", "", None);
    h.notify("active", "SIP/2.0 100 Trying");
    assert_eq!(
        (h.events(), h.end()),
        (vec!["leg.transfer_initiated".to_owned(), "leg.transfer_progress".to_owned()], None)
    );
    h.notify("terminated;reason=noresource", "SIP/2.0 200 OK");
    assert_eq!(
        (h.events(), h.end()),
        (vec!["leg.transfer_completed".to_owned()], Some("transfer_completed"))
    );
    assert_eq!(h.reports().last().map(String::as_str), Some("Transferred"));
}

#[test]
fn a_transfer_that_fails_leaves_the_call_up() {
    let mut h = Harness::connected("");
    transfer(&mut h, None);
    h.respond(603, "Decline", "", None);
    assert!(h.events().contains(&"leg.transfer_failed".to_owned()));
    assert!(h.call.is_up() && h.call.may_transfer().is_ok());
}

#[test]
fn digits_go_out_by_info_one_after_the_other() {
    let mut h = Harness::connected("");
    h.ask(|call, ctx, now| call.send_digits(ctx, now, "42"));
    assert!(h.sent.len() == 1 && h.sent[0].contains("Signal=4\r\n"), "{:?}", h.sent);
    h.respond(200, "OK", "", None);
    h.wait(1);
    assert!(h.sent.len() > 1 && h.sent[1].contains("Signal=2\r\n"), "{:?}", h.sent);
    h.respond(481, "Call/Transaction Does Not Exist", "", None);
    assert_eq!(h.end(), Some("timeout"));
}

#[test]
fn the_requests_of_others_are_left_to_them_and_unknown_ones_refused() {
    use super::Handled;
    let mut h = Harness::connected("");
    for (method, handled) in
        [("REFER", Handled::Refer), ("SUBSCRIBE", Handled::Subscribe), ("OPTIONS", Handled::Done)]
    {
        h.receive(method, "", None);
        assert_eq!(h.handled, handled, "{method}");
    }
    h.receive("BREW", "", None);
    h.receive("PUBLISH", "", None);
    assert_eq!(
        h.lines(),
        ["SIP/2.0 200 OK", "SIP/2.0 501 Not Implemented", "SIP/2.0 405 Method Not Allowed"]
    );
}

#[test]
fn everything_that_is_asked_of_a_call_is_given_up_with_it() {
    let mut h = Harness::connected("");
    let ports = |h: &Harness| h.ctx.ports.stock("192.0.2.1".parse().unwrap());
    let free = ports(&h);
    hold(&mut h, true).unwrap();
    transfer(&mut h, None);
    h.events();
    h.receive("BYE", "", None);
    assert_eq!((h.end(), ports(&h)), (Some("remote_bye"), free + 1), "its port is free");
    assert_eq!(h.events(), ["leg.transfer_failed"]);
    assert!(h.ctx.replies.poll().is_some(), "the API hears that the hold has failed");
    h.wait(60);
    assert!(h.ctx.requests.is_empty(), "nothing is on its way any more");
}
