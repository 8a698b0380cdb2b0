//! Hold and resume by re-INVITE: accepted, simultaneous, refused, unanswered, too long.

use branchline::gateway::interface::error::GatewayError;
use branchline::gateway::interface::replies::{Handle, Reply};

use crate::calls::{A, B, FOREVER, originate, phone_calls, report, seeds, total, until_ringing};
use crate::net::{HARSH, Injected, NONE, Net};
use crate::phone::sdp;

/// An established call from A to B.
fn in_call(net: &mut Net) -> [String; 2] {
    let a = originate(net, 0);
    let b = until_ringing(net).expect("B rings");
    net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
    let up = |n: &Net| [(A, &a), (B, &b)].iter().all(|(i, l)| n.state(*i, l) == "connected");
    assert!(net.run_until(40_000, up));
    // Nothing of the INVITE transaction is in flight any more.
    net.run_for(40_000);
    [a, b]
}

fn ask(net: &mut Net, node: usize, leg: &str, on: bool) -> Handle {
    net.with(node, |gw, now| gw.legs(now, |l| l.hold(leg, on))).unwrap()
}

/// The reply to an API call, advancing the time.
fn reply(net: &mut Net, node: usize, handle: Handle) -> Result<Reply, GatewayError> {
    let mut got = None;
    for _ in 0..4000 {
        if let Some((h, outcome)) = net.nodes[node].gw.replies().poll() {
            assert_eq!(h, handle);
            got = Some(outcome);
            break;
        }
        net.run_for(10);
    }
    got.expect("a reply comes")
}

fn count(net: &Net, node: usize, leg: &str, kind: &str) -> usize {
    net.story(node, leg).iter().filter(|k| **k == kind).count()
}

#[test]
fn hold_and_resume_are_seen_at_both_ends_once() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, "");
        let legs = in_call(&mut net);
        let who = seed as usize % 2;
        for (on, shown) in [(true, "held"), (false, "connected")] {
            let handle = ask(&mut net, who, &legs[who], on);
            let again = net.with(who, |gw, now| gw.legs(now, |l| l.hold(&legs[who], on)));
            assert!(matches!(again, Err(GatewayError::Conflict(_))), "seed {seed}: {again:?}");
            // Ten seconds are not always sufficient on this network: then the event reports the result.
            let outcome = reply(&mut net, who, handle);
            assert!(matches!(outcome, Ok(Reply::Changed) | Err(GatewayError::Conflict(_))), "seed {seed}");
            net.run_for(40_000);
            assert_eq!([net.state(A, &legs[A]), net.state(B, &legs[B])], [shown; 2], "seed {seed}");
            let again = net.with(who, |gw, now| gw.legs(now, |l| l.hold(&legs[who], on)));
            assert!(matches!(again, Err(GatewayError::Conflict(_))), "seed {seed}: {again:?}");
        }
        net.with(1 - who, |gw, now| gw.legs(now, |l| l.hang_up(&legs[1 - who], None))).unwrap();
        net.run_for(FOREVER);
        for node in [A, B] {
            for kind in ["leg.hold", "leg.unhold"] {
                assert_eq!(count(&net, node, &legs[node], kind), 1, "seed {seed}: {kind} at {node}");
            }
        }
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("hold and resume", sum);
}

#[test]
fn both_ends_hold_at_once() {
    let mut sum = Injected::default();
    let mut collided = 0;
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, "");
        let legs = in_call(&mut net);
        ask(&mut net, A, &legs[A], true);
        ask(&mut net, B, &legs[B], true);
        net.run_for(60_000);
        assert_eq!([net.state(A, &legs[A]), net.state(B, &legs[B])], ["held"; 2], "seed {seed}");
        collided += u32::from(net.nodes.iter().all(|n| n.gw.view().numbers().sip.timers.contains_key("D")));
        ask(&mut net, A, &legs[A], false);
        net.run_for(60_000);
        assert_eq!([net.state(A, &legs[A]), net.state(B, &legs[B])], ["held"; 2], "B's hold stays: {seed}");
        let theirs = net.with(A, |gw, now| gw.legs(now, |l| l.hold(&legs[A], false))).unwrap_err();
        assert!(theirs.to_string().contains("only it can resume"), "{theirs}");
        ask(&mut net, B, &legs[B], false);
        net.run_for(60_000);
        assert_eq!([net.state(A, &legs[A]), net.state(B, &legs[B])], ["connected"; 2], "seed {seed}");
        net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&legs[A], None))).unwrap();
        net.run_for(FOREVER);
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    println!("both refused with 491 in {collided} runs");
    assert!(collided > 100);
    report("hold at both ends at once", sum);
}

#[test]
fn a_call_ends_in_the_middle_of_a_hold() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, "");
        let legs = in_call(&mut net);
        let handle = ask(&mut net, A, &legs[A], true);
        let wait = u64::from(net.rng.below(200));
        net.run_for(wait);
        let who = seed as usize % 2;
        net.with(who, |gw, now| gw.legs(now, |l| l.hang_up(&legs[who], None))).unwrap();
        let outcome = reply(&mut net, A, handle);
        assert!(matches!(outcome, Ok(Reply::Changed) | Err(GatewayError::Conflict(_))), "seed {seed}");
        net.run_for(FOREVER);
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("hang-up during a hold", sum);
}

#[test]
fn a_far_end_that_vanished_ends_the_call() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, "");
        let legs = in_call(&mut net);
        net.nodes[B].deaf = true;
        let handle = ask(&mut net, A, &legs[A], true);
        let why = reply(&mut net, A, handle).unwrap_err().to_string();
        assert!(why.contains("within 10 s"), "seed {seed}: {why}");
        net.run_for(40_000);
        assert_eq!(net.reason(A, &legs[A]).as_deref(), Some("timeout"), "seed {seed}");
        net.nodes[B].deaf = false;
        // B learns of it by a retransmitted BYE, or hangs up itself.
        let _gone = net.with(B, |gw, now| gw.legs(now, |l| l.hang_up(&legs[B], None)));
        net.run_for(FOREVER);
        net.check_end(&format!("seed {seed}"));
    }
}

#[test]
fn a_refused_hold_leaves_the_call_as_it_was() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 1, HARSH, "");
        let leg = phone_calls(&mut net);
        net.run_for(40_000);
        assert_eq!(net.state(A, &leg), "connected", "seed {seed}");
        let handle = ask(&mut net, A, &leg, true);
        net.run_for(40_000);
        let late = match reply(&mut net, A, handle) {
            Err(GatewayError::Conflict(why)) => {
                assert!(why.contains("refused: 405") || why.contains("within"), "seed {seed}: {why}");
                why.contains("within")
            }
            other => panic!("seed {seed}: {other:?}"),
        };
        assert_eq!(count(&net, A, &leg, "leg.command_failed"), usize::from(late), "seed {seed}");
        assert_eq!((net.state(A, &leg), count(&net, A, &leg, "leg.hold")), ("connected", 0));
        net.with_phone(crate::phone::Phone::bye);
        net.run_for(FOREVER);
        assert_eq!(net.reason(A, &leg).as_deref(), Some("remote_bye"), "seed {seed}");
        net.check_end(&format!("seed {seed}"));
    }
}

#[test]
fn a_hold_never_answered_leaves_no_state() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 1, HARSH, "");
        let leg = phone_calls(&mut net);
        net.run_for(40_000);
        net.phone.ponders = true;
        let handle = ask(&mut net, A, &leg, true);
        net.run_for(5_000);
        if seed % 2 == 0 {
            // We hang up meanwhile.
            net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&leg, None))).unwrap();
        }
        let outcome = reply(&mut net, A, handle);
        assert!(matches!(outcome, Err(GatewayError::Conflict(_))), "seed {seed}");
        net.run_for(FOREVER);
        let reason = if seed % 2 == 0 { "api_hangup" } else { "timeout" };
        assert_eq!(net.reason(A, &leg).as_deref(), Some(reason), "seed {seed}");
        // If the API call timed out, the result is reported by an event; otherwise it is not.
        let told = count(&net, A, &leg, "leg.command_failed");
        assert_eq!(told, usize::from(seed % 2 == 1), "seed {seed}: {:?}", net.story(A, &leg));
        assert_eq!(net.story(A, &leg).last(), Some(&"leg.disconnected"), "seed {seed}");
        net.check_end(&format!("seed {seed}"));
    }
}

#[test]
fn two_hours_of_hold_are_enough() {
    let mut net = Net::new(1, 2, NONE, "");
    let legs = in_call(&mut net);
    let handle = ask(&mut net, A, &legs[A], true);
    assert_eq!(reply(&mut net, A, handle), Ok(Reply::Changed));
    net.run_for(7_190_000);
    assert_eq!(net.state(A, &legs[A]), "held");
    net.run_for(20_000);
    assert_eq!(net.reason(A, &legs[A]).as_deref(), Some("hold_timeout"));
    assert_eq!(net.reason(B, &legs[B]).as_deref(), Some("remote_bye"));
    net.run_for(FOREVER);
    net.check_end("two hours");

    // Both hold, and we resume: the remote hold has its own limit of two hours.
    let mut net = Net::new(3, 1, NONE, "");
    let leg = phone_calls(&mut net);
    net.run_for(5_000);
    net.phone.agrees = Some(sdp(2, "recvonly"));
    net.with(A, |gw, now| gw.legs(now, |l| l.hold(&leg, true))).unwrap();
    net.run_for(6_900_000);
    net.with_phone(|p, now| p.reinvite(now, Some(&sdp(3, "inactive"))));
    net.run_for(5_000);
    net.phone.agrees = Some(sdp(4, "sendonly"));
    net.with(A, |gw, now| gw.legs(now, |l| l.hold(&leg, false))).unwrap();
    net.run_for(7_100_000);
    assert_eq!(net.state(A, &leg), "held");
    net.with_phone(crate::phone::Phone::bye);
    net.run_for(FOREVER);
    net.check_end("both hold");

    // By a far end that has vanished: there is no other end of the call.
    let mut net = Net::new(2, 1, NONE, "");
    let leg = phone_calls(&mut net);
    net.run_for(5_000);
    net.with_phone(|p, now| p.reinvite(now, Some(&sdp(2, "sendonly"))));
    net.run_for(5_000);
    net.nodes[A].deaf = true;
    net.run_for(7_230_000);
    assert_eq!(net.state(A, &leg), "held");
    net.run_for(30_000);
    assert_eq!(net.reason(A, &leg).as_deref(), Some("hold_timeout"));
    net.run_for(FOREVER);
    net.check_end("two hours of the far end's hold");
}
