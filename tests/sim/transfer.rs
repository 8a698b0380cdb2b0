//! Transfers between three gateways: blind and attended, from either end, refused, declined, interrupted.

use serde_json::Value;

use crate::calls::{A, B, FOREVER, acquaint, call_to, report, said, seeds, total};
use crate::net::{HARSH, Injected, NONE, Net};
use crate::phone::PHONE;

const C: usize = 2;
const DIALS: &str = "[sip]\nrefer_auto_dial = true\n";
const CAROL: &str = "sip:carol@10.0.0.3";

/// An established call between two nodes, with nothing of its INVITE in flight: the legs of both.
fn call(net: &mut Net, from: usize, to: usize) -> (String, String) {
    let uri = format!("sip:x@10.0.0.{}", to + 1);
    let before = net.legs(to).len();
    let near = net.with(from, |gw, now| gw.legs(now, |l| l.originate(call_to(&uri)))).unwrap().id;
    assert!(net.run_until(40_000, |n| n.legs(to).len() > before));
    let far = net.legs(to)[before].clone();
    net.with(to, |gw, now| gw.legs(now, |l| l.answer(&far))).unwrap();
    net.run_for(75_000);
    assert_eq!((net.state(from, &near), net.state(to, &far)), ("connected", "connected"));
    (near, far)
}

fn transfer(net: &mut Net, node: usize, leg: &str, replaces: Option<&str>) {
    let target = branchline::wire::Uri::parse(CAROL).unwrap();
    net.with(node, |gw, now| gw.legs(now, |l| l.transfer(leg, target, replaces))).unwrap();
}

/// A field of the only event of a type about a leg.
fn field(net: &Net, node: usize, leg: &str, kind: &str, name: &str) -> Option<Value> {
    let mut found =
        net.nodes[node].events.iter().filter(|e| e.kind() == kind && e.leg_id.as_deref() == Some(leg));
    let one = found.next()?;
    assert!(found.next().is_none(), "{kind} comes once");
    one.to_json("").get(name).cloned()
}

/// Answers the ringing call at C.
fn carol_answers(net: &mut Net, before: usize) -> String {
    assert!(net.run_until(60_000, |n| n.legs(C).len() > before), "C never rang");
    let leg = net.legs(C)[before].clone();
    net.with(C, |gw, now| gw.legs(now, |l| l.answer(&leg))).unwrap();
    leg
}

/// The latest leg of a node.
fn newest(net: &Net, node: usize) -> String {
    net.legs(node).last().expect("a leg").clone()
}

fn end_all(net: &mut Net, seed: u64, sum: &mut Injected) {
    net.run_for(60_000);
    for node in [A, B, C] {
        for leg in net.nodes[node].gw.view().legs() {
            let _gone_already = net.with(node, |gw, now| gw.legs(now, |l| l.hang_up(&leg.id, None)));
        }
    }
    net.run_for(FOREVER);
    net.check_end(&format!("seed {seed}"));
    total(sum, net.injected);
}

#[test]
fn a_blind_transfer_leaves_the_others_talking() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 3, HARSH, DIALS);
        let (a, b) = call(&mut net, A, B);
        // Either end may transfer: the caller or the callee.
        let (who, other, leg, theirs) = if seed % 2 == 0 { (A, B, &a, &b) } else { (B, A, &b, &a) };
        net.with(other, |gw, now| gw.rooms(now, |r| r.add_leg("desk", theirs, Default::default())))
            .unwrap()
            .unwrap();
        transfer(&mut net, who, leg, None);
        let carol = carol_answers(&mut net, 0);
        net.run_for(80_000);
        let new = newest(&net, other);
        assert_eq!([net.state(other, &new), net.state(C, &carol)], ["connected"; 2], "seed {seed}");
        let members = net.nodes[other].gw.view().room("desk").unwrap().participants;
        assert_eq!(members.iter().map(|l| l.id.as_str()).collect::<Vec<_>>(), [new.as_str()], "seed {seed}");
        assert_eq!(net.reason(who, leg).as_deref(), Some("transfer_completed"), "seed {seed}");
        assert_eq!(net.reason(other, theirs).as_deref(), Some("transfer_completed"), "seed {seed}");
        assert_eq!(field(&net, who, leg, "leg.transfer_initiated", "kind"), Some("blind".into()));
        assert_eq!(field(&net, who, leg, "leg.transfer_completed", "status_code"), Some(200.into()));
        assert_eq!(field(&net, other, theirs, "leg.transfer_requested", "declined"), Some(false.into()));
        end_all(&mut net, seed, &mut sum);
    }
    report("blind transfer", sum);
}

#[test]
fn a_transfer_to_a_busy_phone_leaves_the_call_as_it_was() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 3, HARSH, DIALS);
        acquaint(&mut net, C, B);
        let (a, b) = call(&mut net, A, B);
        transfer(&mut net, A, &a, None);
        assert!(net.run_until(60_000, |n| !n.legs(C).is_empty()));
        let carol = net.legs(C)[0].clone();
        net.with(C, |gw, now| gw.legs(now, |l| l.hang_up(&carol, Some("busy")))).unwrap();
        net.run_for(80_000);
        assert_eq!(field(&net, A, &a, "leg.transfer_failed", "status_code"), Some(486.into()), "seed {seed}");
        assert_eq!(field(&net, B, &b, "leg.transfer_failed", "status_code"), Some(486.into()), "seed {seed}");
        assert_eq!(net.reason(B, &newest(&net, B)).as_deref(), Some("busy"), "seed {seed}");
        assert_eq!([net.state(A, &a), net.state(B, &b)], ["connected"; 2], "seed {seed}");
        end_all(&mut net, seed, &mut sum);
    }
    report("transfer to a busy phone", sum);
}

#[test]
fn the_new_call_joins_the_room_though_the_old_one_hangs_up_first() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 3, HARSH, DIALS);
        let (a, b) = call(&mut net, A, B);
        // B's recording of the call is still being completed when the new call is established.
        net.nodes[B].slow_media = true;
        transfer(&mut net, A, &a, None);
        let asked = |n: &Net| n.story(B, &b).contains(&"leg.transfer_requested");
        assert!(net.run_until(60_000, asked), "seed {seed}");
        // The last room joined counts.
        net.with(B, |gw, now| gw.rooms(now, |r| r.add_leg("desk", &b, Default::default()))).unwrap().unwrap();
        net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))).unwrap();
        assert!(net.run_until(60_000, |n| n.nodes[B].gw.view().leg(&b).is_err()), "seed {seed}");
        let carol = carol_answers(&mut net, 0);
        // A leg waits ten seconds for its terminal event.
        let joined = |n: &Net| n.nodes[B].gw.view().room("desk").is_ok_and(|r| !r.participants.is_empty());
        assert!(net.run_until(60_000, joined), "seed {seed}: {:?}", net.story(B, &newest(&net, B)));
        assert_eq!(net.state(B, &newest(&net, B)), "connected", "seed {seed}");
        net.close_media(B);
        net.run_for(60_000);
        assert_eq!(net.state(C, &carol), "connected", "seed {seed}");
        end_all(&mut net, seed, &mut sum);
    }
    report("hang-up before the transfer is done", sum);
}

#[test]
fn an_attended_transfer_takes_over_the_consultation() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 3, HARSH, DIALS);
        let (a, b) = call(&mut net, A, B);
        let (consult, carol) = call(&mut net, A, C);
        net.with(C, |gw, now| gw.rooms(now, |r| r.add_leg("carol", &carol, Default::default())))
            .unwrap()
            .unwrap();
        // The old call may have ended except for its recording when the new one is acknowledged.
        net.nodes[C].slow_media = seed % 4 == 0;
        transfer(&mut net, A, &a, Some(&consult));
        net.run_for(80_000);
        net.close_media(C);
        let (at_b, at_c) = (newest(&net, B), newest(&net, C));
        assert_ne!(at_c, carol, "seed {seed}");
        assert_eq!([net.state(B, &at_b), net.state(C, &at_c)], ["connected"; 2], "seed {seed}");
        assert_eq!(field(&net, C, &at_c, "leg.ringing", "replaces_leg_id"), Some(carol.as_str().into()));
        let members = net.nodes[C].gw.view().room("carol").unwrap().participants;
        assert_eq!(members.iter().map(|l| l.id.as_str()).collect::<Vec<_>>(), [at_c.as_str()], "seed {seed}");
        assert_eq!(net.reason(A, &a).as_deref(), Some("transfer_completed"), "seed {seed}");
        assert_eq!(net.reason(B, &b).as_deref(), Some("transfer_completed"), "seed {seed}");
        // C ends the replaced call, A ends both on the NOTIFY: either may be first.
        let ends = (net.reason(A, &consult).unwrap(), net.reason(C, &carol).unwrap());
        assert!(["transfer_completed", "remote_bye"].contains(&ends.0.as_str()), "seed {seed}: {ends:?}");
        assert!(["replaced", "remote_bye"].contains(&ends.1.as_str()), "seed {seed}: {ends:?}");
        end_all(&mut net, seed, &mut sum);
    }
    report("attended transfer", sum);
}

#[test]
fn transfers_are_declined_unless_configured_and_either_end_may_hang_up_meanwhile() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 3, HARSH, if seed % 3 == 0 { "" } else { DIALS });
        let (a, b) = call(&mut net, A, B);
        transfer(&mut net, A, &a, None);
        let wait = u64::from(net.rng.below(3000));
        match seed % 3 {
            0 => net.run_for(80_000),
            n => {
                net.run_for(wait);
                let (node, leg) = if n == 1 { (A, &a) } else { (B, &b) };
                net.with(node, |gw, now| gw.legs(now, |l| l.hang_up(leg, None))).unwrap();
            }
        }
        if seed % 3 == 0 {
            let why = field(&net, A, &a, "leg.transfer_failed", "error").unwrap();
            assert!(why.as_str().unwrap().contains("603 Decline"), "seed {seed}: {why}");
            assert_eq!(field(&net, B, &b, "leg.transfer_requested", "declined"), Some(true.into()));
            assert_eq!([net.state(A, &a), net.state(B, &b)], ["connected"; 2], "seed {seed}");
        }
        end_all(&mut net, seed, &mut sum);
        let outcomes = net
            .story(A, &a)
            .into_iter()
            .filter(|k| ["leg.transfer_completed", "leg.transfer_failed"].contains(k));
        assert_eq!(outcomes.count(), 1, "seed {seed}: every transfer has one outcome");
    }
    report("transfers declined or cut short", sum);
}

#[test]
fn a_transfer_without_notifys_fails_after_two_minutes() {
    let mut net = Net::new(1, 3, NONE, DIALS);
    let (a, b) = call(&mut net, A, B);
    let twice = |net: &mut Net| {
        let target = branchline::wire::Uri::parse(CAROL).unwrap();
        net.with(A, |gw, now| gw.legs(now, |l| l.transfer(&a, target, Some(&a)))).unwrap_err().to_string()
    };
    assert!(twice(&mut net).contains("cannot replace itself"));
    transfer(&mut net, A, &a, None);
    assert!(twice(&mut net).contains("in progress"));
    net.run_for(1_000);
    net.nodes[B].deaf = true;
    net.run_for(122_000);
    assert_eq!(field(&net, A, &a, "leg.transfer_failed", "error"), Some("timeout".into()));
    assert_eq!(net.state(A, &a), "connected");
    net.nodes[B].deaf = false;
    assert_eq!(net.state(B, &b), "connected");
    let mut sum = Injected::default();
    end_all(&mut net, 1, &mut sum);
}

#[test]
fn only_an_existing_call_is_replaced() {
    let mut net = Net::new(1, 3, NONE, DIALS);
    let (_, b) = call(&mut net, A, B);
    let invite = |replaces: &str| {
        format!(
            "INVITE sip:x@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.99:5060;branch=z9hG4bK{}\r\nMax-Forwards: 70\r\n\
             From: <sip:p@10.0.0.99>;tag=1\r\nTo: <sip:x@10.0.0.2>\r\nCall-ID: {}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:p@10.0.0.99>\r\n{replaces}Content-Length: 0\r\n\r\n",
            replaces.len(),
            replaces.len()
        )
    };
    for (replaces, code) in [
        ("Replaces: none;to-tag=a;from-tag=b\r\n", "481"),
        ("Replaces: none\r\n", "400"),
        ("Replaces: n;to-tag=a;from-tag=b\r\nReplaces: n;to-tag=a;from-tag=b\r\n", "400"),
    ] {
        let answers = said(&mut net, B, &invite(replaces));
        let last = answers.last().unwrap();
        assert!(last.starts_with(&format!("SIP/2.0 {code} ")), "{replaces}: {last}");
    }
    assert_eq!(net.state(B, &b), "connected");
}

#[test]
fn a_call_that_we_make_ring_is_picked_up_from_elsewhere() {
    let mut net = Net::new(1, 1, NONE, "");
    let mut to = call_to(&format!("sip:bob@{PHONE}"));
    to.room_id = "desk".to_owned();
    let ringing = net.nodes[A].gw.legs(net.now, |l| l.originate(to)).unwrap().id;
    let invite = net.nodes[A].gw.poll_transmit().unwrap();
    let invite = String::from_utf8(invite.bytes.to_vec()).unwrap();
    let field = |name: &str| invite.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_owned();
    let (via, from, to, call_id, cseq) =
        (field("Via:"), field("From:"), field("To:"), field("Call-ID:"), field("CSeq:"));
    let rings = format!(
        "SIP/2.0 180 Ringing\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to};tag=rings\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq}\r\nContact: <sip:bob@{PHONE}>\r\nContent-Length: 0\r\n\r\n"
    );
    assert!(said(&mut net, A, &rings).is_empty());
    let ours = from.split_once("tag=").unwrap().1;
    let body = crate::phone::sdp(1, "sendrecv");
    let pick_up = |n: u32, theirs: &str| {
        format!(
            "INVITE sip:x@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKpick{n}\r\nMax-Forwards: 70\r\n\
             From: <sip:eve@10.0.0.99>;tag=eve{n}\r\nTo: <sip:x@10.0.0.1>\r\nCall-ID: pick-{n}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:eve@{PHONE}>\r\nReplaces: {call_id};to-tag={ours};from-tag={theirs};early-only\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    // For an unknown early dialog: no effect.
    let refused = said(&mut net, A, &pick_up(1, "other"));
    assert!(refused.last().unwrap().starts_with("SIP/2.0 481 "), "{refused:?}");
    assert_eq!(net.state(A, &ringing), "ringing");
    let taken = said(&mut net, A, &pick_up(2, "rings"));
    let ok = taken.iter().find(|m| m.starts_with("SIP/2.0 200 ")).expect("it is answered at once");
    let to = ok.lines().find(|l| l.starts_with("To:")).unwrap();
    let ack = format!(
        "ACK sip:x@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKack\r\nMax-Forwards: 70\r\n\
         From: <sip:eve@10.0.0.99>;tag=eve2\r\n{to}\r\nCall-ID: pick-2\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
    );
    let after = said(&mut net, A, &ack);
    assert!(after.iter().any(|m| m.starts_with("CANCEL ")), "the phone rings no more: {after:?}");
    net.with(A, |_, _| ());
    assert_eq!(net.reason(A, &ringing).as_deref(), Some("replaced"));
    let members = net.nodes[A].gw.view().room("desk").unwrap().participants;
    assert_eq!(members.iter().map(|l| l.id.as_str()).collect::<Vec<_>>(), [newest(&net, A).as_str()]);
}
