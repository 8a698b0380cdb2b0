//! Other paths to the far end: by name, with a slow resolver, and over TCP.

use crate::calls::{A, B, FOREVER, call_to, report, seeds, total, until_ringing};
use crate::net::{HARSH, Injected, NONE, Net};

#[test]
fn a_name_is_looked_up_without_blocking() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, "");
        let call = call_to("sip:bob@node1.test");
        let a = net.with(A, |gw, now| gw.legs(now, |l| l.originate(call))).unwrap().id;
        // A second call to the same name is cancelled before the name is resolved, or soon after.
        let call = call_to("sip:late@node1.test");
        let late = net.with(A, |gw, now| gw.legs(now, |l| l.originate(call))).unwrap().id;
        net.run(net.at(seed % 300 * 10));
        net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&late, None))).unwrap();
        assert!(until_ringing(&mut net).is_some(), "seed {seed}");
        net.run(net.at(41_000));
        let mut answered = Vec::new();
        for b in net.legs(B) {
            // The cancelled one may have rung, too.
            if net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).is_ok() {
                answered.push(b);
            }
        }
        net.run(net.at(90_000));
        assert_eq!(net.nodes[A].gw.view().leg(&a).map(|l| l.state), Ok("connected"), "seed {seed}");
        assert_eq!(net.reason(A, &late).unwrap(), "api_hangup", "seed {seed}");
        net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))).unwrap();
        net.run(net.at(FOREVER));
        // The cancelled call may have been answered, if its CANCEL was late or lost: that answer was ended
        // with BYE, or arrived after the transaction had timed out.
        let mut reasons: Vec<String> = answered.iter().map(|b| net.reason(B, b).unwrap()).collect();
        reasons.sort();
        let expected = ["remote_bye", "ack_timeout remote_bye", "remote_bye remote_bye"];
        assert!(expected.contains(&reasons.join(" ").as_str()), "seed {seed}: {reasons:?}");
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("slow look-ups", sum);
}

#[test]
fn an_unknown_name_fails_the_call_and_nothing_else() {
    let mut net = Net::new(1, 2, NONE, "");
    let call = call_to("sip:bob@nowhere.test");
    let a = net.with(A, |gw, now| gw.legs(now, |l| l.originate(call))).unwrap().id;
    net.run(net.at(FOREVER));
    assert_eq!(net.reason(A, &a).unwrap(), "invite_failed");
    assert!(net.legs(B).is_empty());
    net.check_end("unknown");
}

#[test]
fn a_call_over_tcp_stays_on_tcp() {
    for seed in 0..20 {
        let mut net = Net::new(seed, 2, HARSH, "");
        let call = call_to("sip:bob@10.0.0.2;transport=tcp");
        let a = net.with(A, |gw, now| gw.legs(now, |l| l.originate(call))).unwrap().id;
        let b = until_ringing(&mut net).unwrap();
        net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
        net.run(net.at(2_000));
        assert_eq!(net.nodes[A].gw.view().leg(&a).map(|l| l.state), Ok("connected"), "seed {seed}");
        net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))).unwrap();
        net.run(net.at(FOREVER));
        assert_eq!(net.reason(B, &b).unwrap(), "remote_bye", "seed {seed}");
        // Nothing of it used UDP.
        assert_eq!((net.injected.lost, net.injected.doubled), (0, 0), "seed {seed}");
        net.check_end(&format!("seed {seed}"));
    }
}

#[test]
fn a_sips_call_uses_sips_throughout() {
    let mut net = Net::new(1, 2, NONE, "");
    let call = call_to("sips:bob@node1.test");
    let a = net.with(A, |gw, now| gw.legs(now, |l| l.originate(call))).unwrap().id;
    let b = until_ringing(&mut net).unwrap();
    net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
    net.run(net.at(7_000));
    for (node, leg) in [(A, &a), (B, &b)] {
        net.with(node, |gw, now| gw.legs(now, |l| l.hold(leg, true))).unwrap();
        net.run_for(20_000);
        net.with(node, |gw, now| gw.legs(now, |l| l.hold(leg, false))).unwrap();
        net.run_for(20_000);
    }
    net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))).unwrap();
    net.run(net.at(FOREVER));
    assert_eq!(net.reason(B, &b).unwrap(), "remote_bye");
    // Every Contact of the call, on both sides, is a SIPS URI without transport parameter (RFC 3261 §26.2.2).
    let of = |message: &str| {
        let line = message.lines().find(|l| l.starts_with("Contact:"));
        line.map(|l| l.trim_start_matches("Contact:").trim().to_owned())
    };
    let contacts: Vec<String> = net.secure.iter().filter_map(|m| of(m)).collect();
    assert!(contacts.len() >= 12, "{contacts:?}");
    for contact in &contacts {
        assert!(["<sips:10.0.0.1:5061>", "<sips:10.0.0.2:5061>"].contains(&contact.as_str()), "{contact}");
    }
    net.check_end("sips");
}
