//! Session timers in both roles: refreshed by UPDATE and by re-INVITE, too short, and expired.

use branchline::wire::Method;

use crate::calls::{A, B, FOREVER, call_to, originate, phone_calls, report, seeds, total, until_ringing};
use crate::net::{HARSH, Injected, NONE, Net};
use crate::phone::sdp;

const NINETY: &str = "[sip]\nsession_expires_s = 90\n";

/// An established call from A to B.
fn in_call(net: &mut Net) -> [String; 2] {
    let a = originate(net, 0);
    let b = until_ringing(net).expect("B rings");
    net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
    [a, b]
}

/// In some hundred thousand refreshes, all retransmissions of one are lost. Then the session ends, with an
/// event.
fn check_unlucky(net: &Net, seed: u64, legs: &[(usize, &str)]) {
    for (node, leg) in legs {
        let reason = net.reason(*node, leg).unwrap_or_default();
        let allowed = ["session_expired", "timeout", "remote_bye"];
        assert!(allowed.contains(&reason.as_str()), "seed {seed}: {reason}");
    }
}

#[test]
fn refreshed_sessions_go_on_and_the_others_end() {
    let mut sum = Injected::default();
    let mut unlucky = 0;
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, NINETY);
        let legs = in_call(&mut net);
        net.run_for(900_000);
        if net.state(B, &legs[B]) == "gone" {
            unlucky += 1;
            check_unlucky(&net, seed, &[(A, &legs[A]), (B, &legs[B])]);
            net.run_for(FOREVER);
            net.check_end(&format!("seed {seed}"));
            continue;
        }
        assert_eq!([net.state(A, &legs[A]), net.state(B, &legs[B])], ["connected"; 2], "seed {seed}");
        // A is the refresher. One end is disconnected: each detects it separately.
        let gone = seed as usize % 2;
        (net.nodes[gone].deaf, net.nodes[gone].dumb) = (true, true);
        net.run_for(95_000);
        assert_eq!(net.reason(B, &legs[B]).as_deref(), Some("session_expired"), "seed {seed}");
        assert_eq!(
            net.reason(A, &legs[A]).as_deref(),
            Some("timeout"),
            "seed {seed}: its refresh was not answered"
        );
        net.run_for(FOREVER);
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    assert!(unlucky * 1000 <= seeds(), "{unlucky} refreshes lost for good");
    report("session timers", sum);
}

#[test]
fn a_phone_without_update_is_refreshed_by_reinvite_on_hold_too() {
    let mut unlucky = 0;
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 1, HARSH, "");
        net.phone.fields = vec![("Supported", "timer"), ("Session-Expires", "90;refresher=uas")];
        let leg = phone_calls(&mut net);
        assert!(net.run_until(60_000, |n| n.state(A, &leg) == "connected"), "seed {seed}");
        net.run_for(5_000);
        // Its answers contain 90 s and make us the refresher: uac.
        net.phone.fields = vec![("Session-Expires", "90;refresher=uac")];
        net.phone.agrees = Some(sdp(2, "recvonly"));
        if seed % 2 == 0 {
            net.with(A, |gw, now| gw.legs(now, |l| l.hold(&leg, true))).unwrap();
        } else {
            net.phone.agrees = Some(sdp(2, "sendrecv"));
        }
        net.run_for(600_000);
        if net.state(A, &leg) == "gone" {
            unlucky += 1;
            check_unlucky(&net, seed, &[(A, &leg)]);
            continue;
        }
        let shown = if seed % 2 == 0 { "held" } else { "connected" };
        assert_eq!(net.state(A, &leg), shown, "seed {seed}");
        let asked = net.phone.asked.iter().filter(|m| **m == Method::Invite).count();
        assert!((9..=30).contains(&asked), "seed {seed}: {asked} refreshes in ten minutes");
        assert!(net.phone.sessions.iter().all(|s| s == "90;refresher=uac"), "{:?}", net.phone.sessions);
        net.with_phone(crate::phone::Phone::bye);
        net.run_for(FOREVER);
        assert_eq!(net.reason(A, &leg).as_deref(), Some("remote_bye"), "seed {seed}");
        net.check_end(&format!("seed {seed}"));
    }
    assert!(unlucky * 1000 <= seeds(), "{unlucky} refreshes lost for good");
}

#[test]
fn a_session_that_became_too_short_is_asked_for_again_and_stays_longer() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 1, HARSH, NINETY);
        let to = call_to("sip:phone@10.0.0.99:5060");
        let leg = net.with(A, |gw, now| gw.legs(now, |l| l.originate(to))).unwrap().id;
        assert!(net.run_until(60_000, |n| n.phone.ringing.is_some()), "seed {seed}");
        net.phone.fields = vec![("Session-Expires", "90;refresher=uac")];
        net.with_phone(|p, now| p.pick_up(now, &sdp(1, "sendrecv")));
        net.run_for(5_000);
        // A proxy raises the minimum to five minutes; it is reported in the response to a hold, or to a
        // refresh.
        net.phone.least_session = 300;
        net.phone.fields = vec![("Session-Expires", "300;refresher=uac")];
        let holds = seed % 2 == 0;
        net.phone.agrees = Some(sdp(2, if holds { "recvonly" } else { "sendrecv" }));
        if holds {
            net.with(A, |gw, now| gw.legs(now, |l| l.hold(&leg, true))).unwrap();
        }
        net.run_for(900_000);
        let shown = if holds { "held" } else { "connected" };
        assert_eq!(net.state(A, &leg), shown, "seed {seed}: {:?}", net.reason(A, &leg));
        let refused = net.phone.sessions.iter().filter(|s| s.starts_with("90")).count();
        let longer = net.phone.sessions.iter().filter(|s| *s == "300;refresher=uac").count();
        assert!(refused >= 2 && longer >= 4, "seed {seed}: {:?}", net.phone.sessions);
        assert_eq!(net.phone.sessions.last().unwrap(), "300;refresher=uac", "seed {seed}");
        assert_eq!(net.phone.least_seen, 300, "seed {seed}: refreshes say what was asked for");
        net.with_phone(crate::phone::Phone::bye);
        net.run_for(FOREVER);
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("sessions that became too short", sum);
}

#[test]
fn sessions_that_are_too_short_are_refused_and_asked_for_again() {
    let mut net = Net::new(1, 1, NONE, "");
    net.phone.fields = vec![("Supported", "timer"), ("Session-Expires", "60")];
    net.with_phone(|p, now| p.call(now, Some(&sdp(1, "sendrecv"))));
    net.run_for(FOREVER);
    assert_eq!(net.phone.outcome(1).map(|o| o.0), Some(422));
    assert!(net.legs(A).is_empty(), "no leg comes of it");
    net.check_end("too short");

    let mut net = Net::new(2, 1, NONE, NINETY);
    net.phone.least_session = 300;
    let leg =
        net.with(A, |gw, now| gw.legs(now, |l| l.originate(call_to("sip:phone@10.0.0.99:5060")))).unwrap().id;
    assert!(net.run_until(5_000, |n| n.phone.ringing.is_some()));
    assert_eq!(net.phone.sessions, ["90", "300"]);
    net.phone.fields = vec![("Session-Expires", "300;refresher=uas")];
    net.with_phone(|p, now| p.pick_up(now, &sdp(1, "sendrecv")));
    net.run_for(200_000);
    assert_eq!(net.state(A, &leg), "connected");
    // The phone is the refresher, but does not refresh.
    net.run_for(80_000);
    assert_eq!(net.reason(A, &leg).as_deref(), Some("session_expired"));
    net.run_for(FOREVER);
    net.check_end("not refreshed");
}
