//! Registrations under network faults: a gateway with a trunk to another one, which is the registrar.

use branchline::base::rng::Rng;
use branchline::config::TrunkFields;

use crate::calls::{A, B, FOREVER, call_to, report, seeds, total};
use crate::net::{HARSH, Injected, NONE, Net};

/// Settings of all nodes.
const BRANCH: &str = "[sip]\ndomains = [\"branch.test\", \"node1.test\", \"node1-2.test\"]\nuser = [{ name = \"anna\", password = \"secret\" }]\n";

fn trunk(registrar: &str, password: &str) -> TrunkFields {
    TrunkFields {
        kind: "sip_register".into(),
        registrar_uri: format!("sip:{registrar}"),
        aor: "sip:anna@branch.test".into(),
        password: password.into(),
        expires_seconds: 120,
        ..TrunkFields::default()
    }
}

fn add(net: &mut Net, fields: TrunkFields) -> String {
    net.with(A, |gw, now| gw.accounts(now, |a| a.add_trunk(fields))).unwrap().id
}

fn status(net: &Net, trunk: &str) -> &'static str {
    net.nodes[A].gw.view().trunks().view_of(trunk).map_or("gone", |t| t.status)
}

fn count(net: &Net, node: usize, kind: &str) -> usize {
    net.nodes[node].events.iter().filter(|e| e.kind() == kind).count()
}

/// Removes the trunk and waits until all transactions have ended.
fn remove(net: &mut Net, trunk: &str, seed: u64) {
    net.with(A, |gw, now| gw.accounts(now, |a| a.remove_trunk(trunk))).unwrap();
    net.run_for(FOREVER);
    assert_eq!(status(net, trunk), "gone", "seed {seed}");
    net.check_end(&format!("seed {seed}"));
}

#[test]
fn a_registration_is_made_refreshed_and_removed() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, BRANCH);
        let id = add(&mut net, trunk("node1.test", "secret"));
        assert!(net.run_until(60_000, |n| status(n, &id) == "active"), "seed {seed}");
        let call_id = net.nodes[A].gw.view().trunks().view_of(&id).unwrap().sip_register.unwrap().call_id;
        // Ten minutes of refreshes.
        net.run_for(600_000);
        assert_eq!(status(&net, &id), "active", "seed {seed}");
        assert_eq!(count(&net, A, "sip.outbound_registration_expired"), 0, "seed {seed}");
        let view = net.nodes[A].gw.view().trunks().view_of(&id).unwrap().sip_register.unwrap();
        assert_eq!((view.granted_expires_seconds, &view.call_id), (120, &call_id), "seed {seed}");
        let known = net.nodes[B].gw.view().registrations();
        assert_eq!(known.len(), 1, "seed {seed}: {known:?}");
        assert_eq!(
            (known[0].aor.as_str(), known[0].contact.as_str()),
            ("sip:anna@branch.test", "sip:anna@10.0.0.1:5060"),
            "seed {seed}"
        );
        assert_eq!(count(&net, B, "sip.registration_active"), 1, "seed {seed}");
        remove(&mut net, &id, seed);
        assert_eq!(net.nodes[B].gw.view().registrations(), [], "seed {seed}: taken back");
        total(&mut sum, net.injected);
    }
    report("registration", sum);
}

#[test]
fn calls_go_both_ways_over_a_trunk() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, BRANCH);
        let id = add(&mut net, trunk("node1.test", "secret"));
        assert!(net.run_until(60_000, |n| status(n, &id) == "active"), "seed {seed}");
        // From the branch to the phone that is registered by the trunk.
        let b =
            net.with(B, |gw, now| gw.legs(now, |l| l.originate(call_to("sip:anna@branch.test")))).unwrap().id;
        assert!(net.run_until(60_000, |n| !n.legs(A).is_empty()), "seed {seed}");
        let a = net.legs(A)[0].clone();
        let rang = net.nodes[A].events.iter().find(|e| e.kind() == "leg.ringing").unwrap();
        assert_eq!(rang.to_json("")["trunk_id"], id.as_str(), "seed {seed}: {rang:?}");
        net.with(A, |gw, now| gw.legs(now, |l| l.answer(&a))).unwrap();
        net.run_for(40_000);
        assert_eq!((net.state(A, &a), net.state(B, &b)), ("connected", "connected"), "seed {seed}");
        net.with(B, |gw, now| gw.legs(now, |l| l.hang_up(&b, None))).unwrap();
        // And through the trunk to the branch, with the trunk's identity.
        let wanted = branchline::gateway::interface::command::Originate {
            from: "anna".into(),
            ..call_to("sip:desk@node1.test")
        };
        let a = net.with(A, |gw, now| gw.legs(now, |l| l.originate(wanted))).unwrap().id;
        let heard = |n: &Net| n.legs(B).len() > 1;
        assert!(net.run_until(60_000, heard), "seed {seed}");
        let b = net.legs(B)[1].clone();
        net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
        net.run_for(40_000);
        assert_eq!((net.state(A, &a), net.state(B, &b)), ("connected", "connected"), "seed {seed}");
        net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))).unwrap();
        net.run_for(60_000);
        remove(&mut net, &id, seed);
    }
}

#[test]
fn a_wrong_password_fails_and_is_tried_more_and_more_rarely() {
    let mut net = Net::new(1, 2, NONE, BRANCH);
    let id = add(&mut net, trunk("node1.test", "wrong"));
    net.run_for(3_600_000);
    let view = net.nodes[A].gw.view().trunks().view_of(&id).unwrap();
    assert_eq!((view.status, view.last_error.as_str()), ("failed", "403 Forbidden"));
    let tries = count(&net, A, "sip.outbound_registration_failed");
    assert!((5..12).contains(&tries), "{tries} tries in an hour");
    assert!(!format!("{view:?}").contains("wrong"));
    assert_eq!(net.nodes[B].gw.view().registrations(), []);
    remove(&mut net, &id, 1);
}

#[test]
fn loss_and_return_of_a_registrar_are_detected() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, BRANCH);
        let id = add(&mut net, trunk("node1.test", "secret"));
        assert!(net.run_until(60_000, |n| status(n, &id) == "active"), "seed {seed}");
        (net.nodes[B].deaf, net.nodes[B].dumb) = (true, true);
        assert!(net.run_until(400_000, |n| status(n, &id) == "expired"), "seed {seed}");
        assert_eq!(count(&net, A, "sip.outbound_registration_expired"), 1, "seed {seed}");
        (net.nodes[B].deaf, net.nodes[B].dumb) = (false, false);
        assert!(net.run_until(2_000_000, |n| status(n, &id) == "active"), "seed {seed}");
        remove(&mut net, &id, seed);
    }
}

#[test]
fn the_second_registrar_takes_over() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 3, HARSH, BRANCH);
        (net.nodes[B].deaf, net.nodes[B].dumb) = (true, true);
        let id = add(&mut net, trunk("node1-2.test", "secret"));
        assert!(net.run_until(120_000, |n| status(n, &id) == "active"), "seed {seed}");
        assert_eq!(net.nodes[2].gw.view().registrations().len(), 1, "seed {seed}");
        (net.nodes[B].deaf, net.nodes[B].dumb) = (false, false);
        remove(&mut net, &id, seed);
        assert_eq!(net.nodes[2].gw.view().registrations(), [], "seed {seed}: taken back where it was");
    }
}

#[test]
fn all_phones_of_a_user_ring_and_one_answers() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 4, HARSH, BRANCH);
        let mut rng = Rng::from_number(seed);
        for node in [2, 3] {
            let trunk = trunk("node1.test", "secret");
            net.with(node, |gw, now| gw.accounts(now, |a| a.add_trunk(trunk))).unwrap();
        }
        assert!(net.run_until(60_000, |n| n.nodes[B].gw.view().registrations().len() == 2), "seed {seed}");
        let b =
            net.with(B, |gw, now| gw.legs(now, |l| l.originate(call_to("sip:anna@branch.test")))).unwrap().id;
        assert!(net.run_until(60_000, |n| [2, 3].iter().all(|i| !n.legs(*i).is_empty())), "seed {seed}");
        let (first, second) = if rng.chance(50) { (2, 3) } else { (3, 2) };
        let (x, y) = (net.legs(first)[0].clone(), net.legs(second)[0].clone());
        if rng.chance(30) {
            // One phone refuses; the other still rings.
            net.with(second, |gw, now| gw.legs(now, |l| l.hang_up(&y, Some("busy")))).unwrap();
            net.run_for(10_000);
            assert_eq!(net.state(B, &b), "ringing", "seed {seed}");
        }
        net.with(first, |gw, now| gw.legs(now, |l| l.answer(&x))).unwrap();
        net.run_for(60_000);
        assert_eq!((net.state(B, &b), net.state(first, &x)), ("connected", "connected"), "seed {seed}");
        assert_eq!(net.state(second, &y), "gone", "seed {seed}");
        net.with(B, |gw, now| gw.legs(now, |l| l.hang_up(&b, None))).unwrap();
        for node in [2, 3] {
            let id = net.nodes[node].gw.view().trunks().views()[0].id.clone();
            net.with(node, |gw, now| gw.accounts(now, |a| a.remove_trunk(&id))).unwrap();
        }
        net.run_for(FOREVER);
        net.check_end(&format!("seed {seed}"));
    }
}

#[test]
fn the_early_media_of_a_phone_that_refuses_is_over() {
    for seed in 0..seeds().min(100) {
        let mut net = Net::new(seed, 4, HARSH, BRANCH);
        for node in [2, 3] {
            net.with(node, |gw, now| gw.accounts(now, |a| a.add_trunk(trunk("node1.test", "secret"))))
                .unwrap();
        }
        assert!(net.run_until(60_000, |n| n.nodes[B].gw.view().registrations().len() == 2), "seed {seed}");
        let b =
            net.with(B, |gw, now| gw.legs(now, |l| l.originate(call_to("sip:anna@branch.test")))).unwrap().id;
        assert!(net.run_until(60_000, |n| [2, 3].iter().all(|i| !n.legs(*i).is_empty())), "seed {seed}");
        let (x, y) = (net.legs(2)[0].clone(), net.legs(3)[0].clone());
        net.with(2, |gw, now| gw.legs(now, |l| l.early_media(&x))).unwrap();
        net.run_for(10_000);
        assert_eq!(net.nodes[B].rtp.map(|r| r.ip()), Some(net.nodes[2].addr.ip()), "seed {seed}");
        net.with(3, |gw, now| gw.legs(now, |l| l.early_media(&y))).unwrap();
        net.run_for(10_000);
        assert_eq!(
            net.nodes[B].rtp.map(|r| r.ip()),
            Some(net.nodes[2].addr.ip()),
            "seed {seed}: the first is heard"
        );
        net.with(2, |gw, now| gw.legs(now, |l| l.hang_up(&x, Some("busy")))).unwrap();
        net.run_for(10_000);
        assert_eq!(net.nodes[B].rtp.map(|r| r.ip()), Some(net.nodes[3].addr.ip()), "seed {seed}");
        assert_eq!(net.state(B, &b), "early_media", "seed {seed}");
        net.with(3, |gw, now| gw.legs(now, |l| l.answer(&y))).unwrap();
        net.run_for(60_000);
        assert_eq!((net.state(B, &b), net.state(3, &y)), ("connected", "connected"), "seed {seed}");
        assert_eq!(net.nodes[B].rtp.map(|r| r.ip()), Some(net.nodes[3].addr.ip()), "seed {seed}");
        let story = ["leg.ringing", "leg.early_media", "leg.connected"];
        assert_eq!(net.story(B, &b), story, "seed {seed}");
        net.with(B, |gw, now| gw.legs(now, |l| l.hang_up(&b, None))).unwrap();
        for node in [2, 3] {
            let id = net.nodes[node].gw.view().trunks().views()[0].id.clone();
            net.with(node, |gw, now| gw.accounts(now, |a| a.remove_trunk(&id))).unwrap();
        }
        net.run_for(FOREVER);
        net.check_end(&format!("seed {seed}"));
    }
}

#[test]
fn when_all_phones_refuse_the_caller_hears_the_best_reason() {
    let mut net = Net::new(1, 4, NONE, BRANCH);
    for node in [2, 3] {
        net.with(node, |gw, now| gw.accounts(now, |a| a.add_trunk(trunk("node1.test", "secret")))).unwrap();
    }
    assert!(net.run_until(60_000, |n| n.nodes[B].gw.view().registrations().len() == 2));
    for (reasons, want) in
        [(["busy", "unavailable"], "busy"), (["unavailable", "busy"], "busy"), (["declined", ""], "declined")]
    {
        let b =
            net.with(B, |gw, now| gw.legs(now, |l| l.originate(call_to("sip:anna@branch.test")))).unwrap().id;
        net.run_for(5_000);
        for (node, reason) in [2, 3].into_iter().zip(reasons) {
            let leg = net.legs(node).last().unwrap().clone();
            if !reason.is_empty() {
                net.with(node, |gw, now| gw.legs(now, |l| l.hang_up(&leg, Some(reason)))).unwrap();
                net.run_for(1_000);
            }
        }
        net.run_for(10_000);
        assert_eq!(net.reason(B, &b).as_deref(), Some(want));
    }
    // No contact, and an unknown user.
    for node in [2, 3] {
        net.with(node, |gw, now| gw.shut_down(now));
    }
    net.run_for(60_000);
    let b = net.with(B, |gw, now| gw.legs(now, |l| l.originate(call_to("sip:anna@branch.test")))).unwrap().id;
    net.run_for(FOREVER);
    assert_eq!(net.reason(B, &b).as_deref(), Some("unavailable"));
    net.check_end("refused");
}

#[test]
fn a_registrar_that_failed_after_a_challenge_is_retried() {
    // A restart invalidates its nonces; meanwhile, it answers 503 for hours.
    let mut net = Net::new(1, 2, NONE, BRANCH);
    let id = add(&mut net, trunk("node1.test", "secret"));
    assert!(net.run_until(60_000, |n| status(n, &id) == "active"));
    for _ in 0..8 {
        net.with(B, |gw, now| gw.accounts(now, |a| a.remove_registration("anna", None))).unwrap();
        net.restart(B, BRANCH);
        net.run_for(400_000);
        assert_eq!(status(&net, &id), "active");
        assert_eq!(net.nodes[B].gw.view().registrations().len(), 1);
    }
    assert_eq!(
        net.nodes[B].gw.view().numbers().counters.signalling.wrong_passwords,
        0,
        "an old nonce is no wrong password"
    );
    remove(&mut net, &id, 1);
}
