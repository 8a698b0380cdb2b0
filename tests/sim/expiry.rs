//! Ringing time: until the INVITE expires, or either side's time-out.

use branchline::gateway::interface::command::Originate;

use crate::calls::{A, B, FOREVER, call_to, until_ringing};
use crate::net::{NONE, Net};
use crate::phone::sdp;

/// A phone calls with this Expires: final response, reason and time, seconds.
fn rings(expires: &'static str, early: bool) -> (u16, String, u64) {
    let mut net = Net::new(1, 1, NONE, "[sip]\nring_timeout_s = 20\n");
    net.phone.fields = vec![("Expires", expires)];
    net.with_phone(|p, now| p.call(now, Some(&sdp(1, "sendrecv"))));
    assert!(net.run_until(1_000, |n| !n.legs(A).is_empty()));
    let leg = net.legs(A)[0].clone();
    if early {
        net.with(A, |gw, now| gw.legs(now, |l| l.early_media(&leg))).unwrap();
    }
    assert!(net.run_until(30_000, |n| n.phone.outcome(1).is_some()));
    let (code, at) = (net.phone.outcome(1).unwrap().0, net.elapsed());
    net.run_for(FOREVER);
    net.check_end(expires);
    (code, net.reason(A, &leg).unwrap(), at / 1000)
}

#[test]
fn an_invite_that_expires_gets_487() {
    let over = |code, seconds| (code, "ring_timeout".to_owned(), seconds);
    assert_eq!(rings("3", false), over(487, 3));
    assert_eq!(rings("0", false), over(487, 0));
    assert_eq!(rings(" 12 ", true), over(487, 12));
    assert_eq!(rings("20", false), over(487, 20));
    assert_eq!(rings("21", false), over(480, 20), "we have had enough before");
    assert_eq!(rings("4294967295", false), over(480, 20));
    assert_eq!(rings("soon", false), over(480, 20), "what is no time is left out");
}

#[test]
fn an_invite_that_is_answered_in_time_never_expires() {
    let mut net = Net::new(1, 1, NONE, "");
    net.phone.fields = vec![("Expires", "3")];
    let leg = crate::calls::phone_calls(&mut net);
    net.run_for(10_000);
    assert_eq!(net.state(A, &leg), "connected");
}

#[test]
fn a_call_of_ours_is_cancelled_when_its_invite_expires() {
    for (expires, limit, seconds) in [("4", 0, 4), ("4", 9, 4), ("9", 4, 4), ("never", 5, 5)] {
        let mut net = Net::new(1, 2, NONE, "");
        let headers = vec![("Expires".to_owned(), expires.to_owned())];
        let wanted = Originate { headers, ring_timeout: limit, ..call_to("sip:desk@10.0.0.2") };
        let a = net.with(A, |gw, now| gw.legs(now, |l| l.originate(wanted))).unwrap().id;
        let b = until_ringing(&mut net).unwrap();
        assert!(net.run_until(15_000, |n| n.state(A, &a) == "gone"));
        assert_eq!(net.elapsed() / 1000, seconds, "{expires} {limit}");
        net.run_for(FOREVER);
        assert_eq!(net.reason(A, &a).as_deref(), Some("ring_timeout"), "{expires} {limit}");
        let theirs = net.reason(B, &b).unwrap();
        assert!(["caller_cancel", "ring_timeout"].contains(&theirs.as_str()), "{theirs}");
        net.check_end(expires);
    }
}
