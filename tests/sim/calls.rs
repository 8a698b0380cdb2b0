//! Call flows under network faults: at the end both sides are in the same state and no state is left.

use branchline::codec::Codec;
use branchline::config::TrunkFields;
use branchline::gateway::interface::command::Originate;
use branchline::wire::Uri;

use crate::net::{HARSH, Injected, NONE, Net};

pub const A: usize = 0;
pub const B: usize = 1;
/// Longer than every timer of every transaction.
pub const FOREVER: u64 = 400_000;

/// Runs per simulation; `make soak` uses more.
pub fn seeds() -> u64 {
    std::env::var("SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(300)
}

fn call(ring_timeout: u32) -> Originate {
    Originate {
        amd: None,
        uri: Uri::parse("sip:bob@10.0.0.2").unwrap(),
        from: "alice".into(),
        privacy: String::new(),
        ring_timeout,
        max_duration: 0,
        codecs: Codec::ALL.to_vec(),
        headers: vec![("X-Ticket".into(), "42".into())],
        room_id: String::new(),
        accept_dtmf: true,
        auth: None,
        webhook: None,
    }
}

/// A call to another place.
pub fn call_to(uri: &str) -> Originate {
    Originate { uri: Uri::parse(uri).unwrap(), ..call(0) }
}

pub fn originate(net: &mut Net, ring_timeout: u32) -> String {
    net.with(A, |gw, now| gw.legs(now, |l| l.originate(call(ring_timeout)))).unwrap().id
}

/// A call from the phone to A, answered; returns its leg.
pub fn phone_calls(net: &mut Net) -> String {
    net.with_phone(|p, now| p.call(now, Some(&crate::phone::sdp(1, "sendrecv"))));
    assert!(net.run_until(40_000, |n| !n.legs(A).is_empty()), "A rings");
    let leg = net.legs(A)[0].clone();
    net.with(A, |gw, now| gw.legs(now, |l| l.answer(&leg))).unwrap();
    leg
}

/// Runs until a leg rings at B, or the end.
pub fn until_ringing(net: &mut Net) -> Option<String> {
    net.run_until(40_000, |n| !n.legs(B).is_empty());
    net.legs(B).first().cloned()
}

/// Responses of a node to a message of the phone.
pub fn said(net: &mut Net, node: usize, message: &str) -> Vec<String> {
    said_to(net, node, crate::phone::PHONE.parse().unwrap(), message)
}

/// A node acknowledges a refusal of another, which then knows that its address is not forged.
pub fn acquaint(net: &mut Net, node: usize, with: usize) {
    let from = net.nodes[with].addr;
    let message = |method: &str, tag: &str, more: &str| {
        format!(
            "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKfirst\r\nFrom: <sip:a@{from}>;tag=f\r\n\
             To: <sip:b@h>{tag}\r\nCall-ID: first\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n{more}\r\n"
        )
    };
    let said = said_to(net, node, from, &message("INVITE", "", "Require: what-nobody-knows\r\n"));
    let tag = said.iter().find(|s| s.contains(" 420 ")).unwrap().split("To: <sip:b@h>").nth(1).unwrap();
    let ack = message("ACK", tag.split("\r\n").next().unwrap(), "");
    assert!(said_to(net, node, from, &ack).is_empty());
}

pub fn said_to(net: &mut Net, node: usize, addr: std::net::SocketAddr, message: &str) -> Vec<String> {
    let source =
        branchline::sip::flow::Flow { transport: branchline::sip::flow::Transport::Udp, addr, conn: None };
    let gw = &mut net.nodes[node].gw;
    gw.handle_message(net.now, source, message.as_bytes());
    std::iter::from_fn(|| gw.poll_transmit()).map(|t| String::from_utf8(t.bytes.to_vec()).unwrap()).collect()
}

pub fn total(sum: &mut Injected, one: Injected) {
    sum.sent += one.sent;
    sum.lost += one.lost;
    sum.doubled += one.doubled;
    sum.reordered += one.reordered;
}

pub fn report(name: &str, sum: Injected) {
    println!(
        "{name}: {} seeds, {} messages, {} lost, {} doubled, {} reordered",
        seeds(),
        sum.sent,
        sum.lost,
        sum.doubled,
        sum.reordered
    );
    for part in [sum.lost, sum.doubled, sum.reordered] {
        assert!(part * 10 >= sum.sent, "at least a tenth of the traffic suffers: {sum:?}");
    }
}

#[test]
fn a_clean_call_has_the_expected_events() {
    let mut net = Net::new(1, 2, NONE, "");
    let a = originate(&mut net, 0);
    let b = until_ringing(&mut net).unwrap();
    assert_eq!(net.nodes[B].gw.view().leg(&b).unwrap().sip_headers["X-Ticket"], "42");
    net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
    net.run(net.at(3_000));
    assert_eq!(
        (net.nodes[A].gw.view().leg(&a).unwrap().state, net.nodes[B].gw.view().leg(&b).unwrap().state),
        ("connected", "connected")
    );
    net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))).unwrap();
    net.run(net.at(FOREVER));
    assert_eq!(net.story(A, &a), ["leg.ringing", "leg.connected", "leg.disconnected"]);
    assert_eq!(net.story(B, &b), ["leg.ringing", "leg.connected", "leg.disconnected"]);
    assert_eq!(
        (net.reason(A, &a).unwrap(), net.reason(B, &b).unwrap()),
        ("api_hangup".into(), "remote_bye".into())
    );
    net.check_end("clean");
}

#[test]
fn early_media_comes_before_the_answer() {
    let mut net = Net::new(2, 2, NONE, "");
    let a = originate(&mut net, 0);
    let b = until_ringing(&mut net).unwrap();
    net.with(B, |gw, now| gw.legs(now, |l| l.early_media(&b))).unwrap();
    assert!(net.with(B, |gw, now| gw.legs(now, |l| l.early_media(&b))).is_err());
    net.run(net.at(1_000));
    assert_eq!(net.nodes[A].gw.view().leg(&a).unwrap().state, "early_media");
    net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
    net.run(net.at(2_000));
    net.with(B, |gw, now| gw.legs(now, |l| l.hang_up(&b, None))).unwrap();
    net.run(net.at(FOREVER));
    let story = ["leg.ringing", "leg.early_media", "leg.connected", "leg.disconnected"];
    assert_eq!((net.story(A, &a), net.story(B, &b)), (story.to_vec(), story.to_vec()));
    net.check_end("early");
}

#[test]
fn a_call_joins_its_room_though_it_was_deleted_meanwhile() {
    let mut net = Net::new(3, 2, NONE, "");
    let for_room = Originate { room_id: "r".into(), ..call(0) };
    let a = net.with(A, |gw, now| gw.legs(now, |l| l.originate(for_room))).unwrap().id;
    let b = until_ringing(&mut net).unwrap();
    net.with(A, |gw, now| gw.rooms(now, |r| r.delete("r"))).unwrap();
    net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
    net.run(net.at(1_000));
    assert_eq!(net.nodes[A].gw.view().leg(&a).unwrap().room_id.as_deref(), Some("r"));
    assert_eq!(net.story(A, &a), ["leg.ringing", "leg.connected", "leg.joined_room"]);
    net.with(B, |gw, now| gw.legs(now, |l| l.hang_up(&b, None))).unwrap();
    net.with(A, |gw, now| gw.rooms(now, |r| r.delete("r"))).unwrap();
    net.run(net.at(FOREVER));
    net.check_end("room");
}

#[test]
fn calls_survive_a_bad_network() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, "");
        let a = originate(&mut net, 0);
        let Some(b) = until_ringing(&mut net) else { panic!("seed {seed}: B never rang") };
        net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
        net.run_for(40_000);
        assert_eq!(net.nodes[A].gw.view().leg(&a).map(|l| l.state), Ok("connected"), "seed {seed}");
        assert_eq!(net.nodes[B].gw.view().leg(&b).map(|l| l.state), Ok("connected"), "seed {seed}");
        let who = if seed % 2 == 0 { A } else { B };
        let leg = if who == A { &a } else { &b };
        net.with(who, |gw, now| gw.legs(now, |l| l.hang_up(leg, None))).unwrap();
        net.run(net.at(FOREVER));
        let reasons =
            (net.reason(who, leg).unwrap(), net.reason(1 - who, if who == A { &b } else { &a }).unwrap());
        assert_eq!(reasons, ("api_hangup".into(), "remote_bye".into()), "seed {seed}");
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("lost SIP", sum);
}

#[test]
fn cancel_and_answer_race() {
    let mut sum = Injected::default();
    let (mut cancelled, mut crossed) = (0, 0);
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, "");
        let a = originate(&mut net, 0);
        let Some(b) = until_ringing(&mut net) else { panic!("seed {seed}: B never rang") };
        let t = net.elapsed();
        let (hang, answer) = (t + u64::from(net.rng.below(120)), t + u64::from(net.rng.below(120)));
        net.agenda.insert((net.at(hang), 1));
        net.agenda.insert((net.at(answer), 2));
        while let Some(item) = net.run(net.at(FOREVER)) {
            // Either may be too late, if the other end was faster.
            let _done = match item {
                1 => net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))),
                _ => net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))),
            };
        }
        assert_eq!(net.reason(A, &a).unwrap(), "api_hangup", "seed {seed}");
        match net.reason(B, &b).unwrap().as_str() {
            "caller_cancel" => cancelled += 1,
            "remote_bye" => crossed += 1,
            other => panic!("seed {seed}: {other}"),
        }
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    println!("cancel/200 race: {cancelled} cancelled, {crossed} crossed");
    assert!(cancelled > 20 && crossed > 20, "both outcomes of the race are seen");
    report("cancel/200", sum);
}

#[test]
fn bye_waits_for_the_ack_and_crossing_byes_meet() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, "");
        let a = originate(&mut net, 0);
        let Some(b) = until_ringing(&mut net) else { panic!("seed {seed}: B never rang") };
        net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
        if seed % 2 == 0 {
            // B hangs up before any ACK can have arrived.
            net.with(B, |gw, now| gw.legs(now, |l| l.hang_up(&b, None))).unwrap();
        } else {
            net.run_for(35_000);
            net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))).unwrap();
            net.with(B, |gw, now| gw.legs(now, |l| l.hang_up(&b, None))).unwrap();
        }
        net.run(net.at(FOREVER));
        let (ra, rb) = (net.reason(A, &a).unwrap(), net.reason(B, &b).unwrap());
        if seed % 2 == 0 {
            assert_eq!((ra.as_str(), rb.as_str()), ("remote_bye", "api_hangup"), "seed {seed}");
        } else {
            assert_eq!((ra.as_str(), rb.as_str()), ("api_hangup", "api_hangup"), "seed {seed}");
        }
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("BYE before ACK, crossing BYEs", sum);
}

#[test]
fn refusals_are_mapped_to_their_reasons() {
    let mut sum = Injected::default();
    let words = ["busy", "declined", "unavailable", "not_found", "forbidden", ""];
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, "");
        acquaint(&mut net, B, A);
        let a = originate(&mut net, 0);
        let Some(b) = until_ringing(&mut net) else { panic!("seed {seed}: B never rang") };
        let word = words[seed as usize % words.len()];
        net.with(B, |gw, now| gw.legs(now, |l| l.hang_up(&b, Some(word)))).unwrap();
        net.run(net.at(FOREVER));
        let (mine, theirs) = if word.is_empty() { ("api_hangup", "unavailable") } else { (word, word) };
        assert_eq!(net.reason(B, &b).unwrap(), mine, "seed {seed}");
        assert_eq!(net.reason(A, &a).unwrap(), theirs, "seed {seed}");
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("refusals", sum);
}

#[test]
fn a_call_to_a_peer_that_never_answers_times_out() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, "");
        net.nodes[B].deaf = true;
        let a = originate(&mut net, if seed % 2 == 0 { 0 } else { 7 });
        net.run(net.at(FOREVER));
        let reason = net.reason(A, &a).unwrap();
        assert_eq!(reason, if seed % 2 == 0 { "invite_failed" } else { "ring_timeout" }, "seed {seed}");
        net.check_end(&format!("seed {seed}"));
    }
}

#[test]
fn a_peer_that_vanishes_in_a_call_leaves_no_state() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, "");
        let a = originate(&mut net, 0);
        let Some(b) = until_ringing(&mut net) else { panic!("seed {seed}: B never rang") };
        // After the 200 was sent, B receives nothing: neither ACK nor BYE.
        net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
        net.nodes[B].deaf = true;
        net.run(net.at(60_000));
        assert_eq!(net.reason(B, &b).unwrap(), "ack_timeout", "seed {seed}");
        // The BYE of B may or may not have reached A.
        if net.reason(A, &a).is_none() {
            net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))).unwrap();
        }
        net.run(net.at(FOREVER));
        net.check_end(&format!("seed {seed}"));
    }
}

#[test]
fn ringing_ends_by_either_clock() {
    let mut net = Net::new(5, 2, NONE, "[sip]\nring_timeout_s = 20\n");
    let a = originate(&mut net, 10);
    let b = until_ringing(&mut net).unwrap();
    net.run(net.at(FOREVER));
    assert_eq!(
        (net.reason(A, &a).unwrap(), net.reason(B, &b).unwrap()),
        ("ring_timeout".into(), "caller_cancel".into())
    );
    net.check_end("caller's clock");
    let mut net = Net::new(6, 2, NONE, "[sip]\nring_timeout_s = 20\n");
    let a = originate(&mut net, 0);
    let b = until_ringing(&mut net).unwrap();
    net.run(net.at(FOREVER));
    assert_eq!(
        (net.reason(A, &a).unwrap(), net.reason(B, &b).unwrap()),
        ("unavailable".into(), "ring_timeout".into())
    );
    net.check_end("callee's clock");
}

#[test]
fn the_limit_of_legs_is_503_and_affects_nothing_else() {
    let mut net = Net::new(7, 2, NONE, "");
    // A trunk may use all legs.
    let trunk = TrunkFields {
        id: "a".into(),
        kind: "ip_ip".into(),
        peer_uri: "sip:10.0.0.1:5060".into(),
        share_percent: Some(100),
        ..TrunkFields::default()
    };
    net.with(B, |gw, now| gw.accounts(now, |a| a.add_trunk(trunk)).map(|_| ())).unwrap();
    net.run_for(1_000);
    let legs: Vec<String> = (0..8)
        .map(|n| {
            let leg = originate(&mut net, 0);
            assert!(net.run_until(2_000, |net| net.legs(B).len() > n));
            let theirs = net.legs(B).last().cloned().unwrap();
            net.with(B, |gw, now| gw.legs(now, |l| l.answer(&theirs))).unwrap();
            leg
        })
        .collect();
    let refused = net.with(A, |gw, now| gw.legs(now, |l| l.originate(call(0))));
    assert!(refused.unwrap_err().to_string().contains("limits.legs"));
    assert_eq!(net.legs(B).len(), 8);
    for leg in &legs {
        net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(leg, None))).unwrap();
    }
    net.run(net.at(FOREVER));
    net.check_end("limit");
}
