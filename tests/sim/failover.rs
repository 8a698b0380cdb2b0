//! Names with several servers: the call reaches one that works, and leaves no state at the others.

use crate::calls::{A, FOREVER, acquaint, call_to, report, seeds, total};
use crate::net::{Faults, HARSH, Injected, NONE, Net};

const FIRST: usize = 1;
const SECOND: usize = 2;

fn answered_by(net: &mut Net, node: usize, seed: u64, a: &str) {
    assert!(net.run_until(60_000, |n| !n.legs(node).is_empty()), "seed {seed}: node {node} never rang");
    let b = net.legs(node)[0].clone();
    net.with(node, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
    net.run_for(40_000);
    assert_eq!((net.state(A, a), net.state(node, &b)), ("connected", "connected"), "seed {seed}");
    net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(a, None))).unwrap();
    net.run_for(FOREVER);
    assert_eq!(net.reason(node, &b).as_deref(), Some("remote_bye"), "seed {seed}");
}

#[test]
fn a_call_fails_over_to_the_next_server() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 3, HARSH, "");
        acquaint(&mut net, FIRST, A);
        let full = seed % 2 == 0;
        if full {
            net.with(FIRST, |gw, _| gw.refuse_new_calls());
        } else {
            (net.nodes[FIRST].deaf, net.nodes[FIRST].dumb) = (true, true);
        }
        let a =
            net.with(A, |gw, now| gw.legs(now, |l| l.originate(call_to("sip:bob@node1-2.test")))).unwrap().id;
        answered_by(&mut net, SECOND, seed, &a);
        assert!(net.legs(FIRST).is_empty(), "seed {seed}");
        assert_eq!(net.nodes[A].gw.view().numbers().counters.signalling.failovers, 1, "seed {seed}");
        (net.nodes[FIRST].deaf, net.nodes[FIRST].dumb) = (false, false);
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("failover", sum);
}

#[test]
fn in_dialog_requests_go_to_the_server_that_answered() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, "");
        // The first server of the name is down; or the name is unknown.
        net.nodes[FIRST].deaf = true;
        net.phone.contact = ["<sip:x@node1-99.test>", "<sip:x@nowhere.test>"][seed as usize % 2].to_owned();
        let leg = net
            .with(A, |gw, now| gw.legs(now, |l| l.originate(call_to("sip:bob@node1-99.test"))))
            .unwrap()
            .id;
        assert!(net.run_until(60_000, |n| n.phone.ringing.is_some()), "seed {seed}");
        net.with_phone(|p, now| p.pick_up(now, &crate::phone::sdp(1, "sendrecv")));
        net.run_for(60_000);
        assert_eq!(net.state(A, &leg), "connected", "seed {seed}");
        assert!(net.phone.is_acknowledged(), "seed {seed}");
        net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&leg, None))).unwrap();
        net.run_for(FOREVER);
        assert_eq!(net.phone.asked.last(), Some(&branchline::wire::Method::Bye), "seed {seed}");
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("requests in a call after a failover", sum);
}

#[test]
fn a_late_server_does_not_ring_for_long() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 3, HARSH, "");
        net.nodes[FIRST].deaf = true;
        let a =
            net.with(A, |gw, now| gw.legs(now, |l| l.originate(call_to("sip:bob@node1-2.test")))).unwrap().id;
        assert!(net.run_until(60_000, |n| !n.legs(SECOND).is_empty()), "seed {seed}");
        net.nodes[FIRST].deaf = false;
        answered_by(&mut net, SECOND, seed, &a);
        // Retransmissions of the INVITE still received by the first server were cancelled.
        for leg in net.legs(FIRST) {
            assert_eq!(net.reason(FIRST, &leg).as_deref(), Some("caller_cancel"), "seed {seed}");
        }
        net.check_end(&format!("seed {seed}"));
    }
}

#[test]
fn a_refusal_is_no_failover_and_failure_of_all_ends_the_call() {
    let mut net = Net::new(1, 3, NONE, "");
    let a = net.with(A, |gw, now| gw.legs(now, |l| l.originate(call_to("sip:bob@node1-2.test")))).unwrap().id;
    assert!(net.run_until(60_000, |n| !n.legs(FIRST).is_empty()));
    let b = net.legs(FIRST)[0].clone();
    net.with(FIRST, |gw, now| gw.legs(now, |l| l.hang_up(&b, Some("busy")))).unwrap();
    net.run_for(FOREVER);
    assert_eq!(net.reason(A, &a).as_deref(), Some("busy"));
    assert!(net.legs(SECOND).is_empty());
    for node in [FIRST, SECOND] {
        net.with(node, |gw, _| gw.refuse_new_calls());
    }
    let a = net.with(A, |gw, now| gw.legs(now, |l| l.originate(call_to("sip:bob@node1-2.test")))).unwrap().id;
    net.run_for(FOREVER);
    assert_eq!(net.reason(A, &a).as_deref(), Some("service_unavailable"));
    net.check_end("refused");
}

#[test]
fn redirections_are_followed_without_loops() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, Faults { duplicate: 15, ..HARSH }, "");
        let circle = seed % 4 == 3;
        net.phone.moved_to = Some(if circle { "sip:phone@10.0.0.99:5060" } else { "sip:bob@10.0.0.2:5060" });
        let a = net
            .with(A, |gw, now| gw.legs(now, |l| l.originate(call_to("sip:phone@10.0.0.99:5060"))))
            .unwrap()
            .id;
        if circle {
            net.run_for(FOREVER);
            assert_eq!(net.reason(A, &a).as_deref(), Some("invite_failed"), "seed {seed}");
            assert!(net.legs(FIRST).is_empty(), "seed {seed}");
        } else {
            answered_by(&mut net, FIRST, seed, &a);
        }
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("redirections", sum);
}
