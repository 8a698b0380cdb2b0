//! Every timer of RFC 3261 table 4 and RFC 6026, fired by a bad network and a far end that stops answering;
//! both ends are idle afterwards.

use std::collections::BTreeMap;

use crate::calls::{A, B, FOREVER, acquaint, originate, report, seeds, total, until_ringing};
use crate::net::{Faults, HARSH, Injected, Net};

/// Lost datagrams cannot be duplicated: a slightly higher rate, to get a tenth.
const FAULTS: Faults = Faults { duplicate: 14, ..HARSH };

/// Scenarios: the timers that fire in every run, and the disconnect reasons at A and B.
struct Story {
    always: &'static [&'static str],
    reasons: (&'static str, &'static str),
    happens: fn(&mut Net, &str, &str),
}

const STORIES: [Story; 5] = [
    Story {
        // A's INVITE was accepted, B's BYE answered: both transactions absorb retransmissions.
        always: &["J", "K", "L", "M"],
        reasons: ("remote_bye", "api_hangup"),
        happens: |net, _, b| {
            answered(net, b);
            net.with(B, |gw, now| gw.legs(now, |l| l.hang_up(b, None))).unwrap();
        },
    },
    Story {
        always: &["D", "I"],
        reasons: ("busy", "busy"),
        happens: |net, _, b| net.with(B, |gw, now| gw.legs(now, |l| l.hang_up(b, Some("busy")))).unwrap(),
    },
    Story {
        // B does not receive the response to its BYE.
        always: &["E", "F"],
        reasons: ("remote_bye", "api_hangup"),
        happens: |net, _, b| {
            answered(net, b);
            net.nodes[B].deaf = true;
            net.with(B, |gw, now| gw.legs(now, |l| l.hang_up(b, None))).unwrap();
        },
    },
    Story {
        // A receives the 180, and nothing from then on: no ACK of the refusal, no response to its CANCEL.
        always: &["G", "H", "E", "F"],
        reasons: ("api_hangup", "busy"),
        happens: |net, a, b| {
            net.run_for(20_000);
            net.nodes[A].deaf = true;
            net.with(B, |gw, now| gw.legs(now, |l| l.hang_up(b, Some("busy")))).unwrap();
            net.run_for(40_000);
            net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(a, None))).unwrap();
        },
    },
    Story { always: &["A", "B"], reasons: ("invite_failed", ""), happens: |_, _, _| () },
];

fn answered(net: &mut Net, b: &str) {
    net.with(B, |gw, now| gw.legs(now, |l| l.answer(b))).unwrap();
    net.run_for(40_000);
}

#[test]
fn every_timer_fires_and_both_ends_are_idle_afterwards() {
    let mut sum = Injected::default();
    let mut fired: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..seeds() {
        let story = &STORIES[seed as usize % STORIES.len()];
        let mut net = Net::new(seed, 2, FAULTS, "");
        acquaint(&mut net, B, A);
        net.nodes[B].deaf = story.reasons.1.is_empty();
        let a = originate(&mut net, 0);
        let b = until_ringing(&mut net).unwrap_or_default();
        (story.happens)(&mut net, &a, &b);
        net.run(net.at(FOREVER));
        let reason = |node, leg: &str| net.reason(node, leg).unwrap_or_default();
        assert_eq!((reason(A, &a).as_str(), reason(B, &b).as_str()), story.reasons, "seed {seed}");
        net.check_end(&format!("seed {seed}"));
        let mut here: BTreeMap<&str, u64> = BTreeMap::new();
        for node in &net.nodes {
            node.gw.view().numbers().sip.timers.iter().for_each(|(t, n)| *here.entry(t).or_default() += n);
        }
        for timer in story.always {
            assert!(here.contains_key(timer), "seed {seed}: {timer} did not fire: {here:?}");
        }
        here.iter().for_each(|(t, n)| *fired.entry(t).or_default() += n);
        total(&mut sum, net.injected);
    }
    println!("timers that fired: {fired:?}");
    let names: Vec<&str> = fired.keys().copied().collect();
    // The last is the time-out of a cancelled INVITE (RFC 3261 §9.1), which has no letter.
    assert_eq!(names, ["A", "B", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "cancel"]);
    report("every timer", sum);
}
