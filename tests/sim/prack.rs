//! Reliable provisional responses (RFC 3262): acknowledged by us, to us, and not at all.

use branchline::media::command::Command;

use crate::calls::{A, B, FOREVER, call_to, originate, report, said, seeds, total, until_ringing};
use crate::net::{HARSH, Injected, NONE, Net};
use crate::phone::{PHONE, sdp};

/// A call from A to B with early media; returns both legs.
fn early(net: &mut Net) -> (String, String) {
    let a = originate(net, 0);
    let b = until_ringing(net).expect("B rings");
    net.with(B, |gw, now| gw.legs(now, |l| l.early_media(&b))).unwrap();
    (a, b)
}

#[test]
fn early_media_is_acknowledged_and_the_answer_waits_for_it() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, "");
        let (a, b) = early(&mut net);
        let ringing = net.traffic.get("200").copied();
        // Answered at once: the 200 must not overtake the 183.
        net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
        assert_eq!(net.traffic.get("200").copied(), ringing, "seed {seed}: no 200 before the PRACK");
        net.run_for(60_000);
        assert_eq!([net.state(A, &a), net.state(B, &b)], ["connected"; 2], "seed {seed}");
        assert!(net.traffic["PRACK"] >= 1, "seed {seed}");
        let story = ["leg.ringing", "leg.early_media", "leg.connected"];
        assert_eq!(net.story(A, &a), story, "seed {seed}: early media is never lost");
        let who = seed as usize % 2;
        net.with(who, |gw, now| gw.legs(now, |l| l.hang_up([&a, &b][who], None))).unwrap();
        net.run_for(FOREVER);
        assert_eq!(net.reason(1 - who, [&b, &a][who]).as_deref(), Some("remote_bye"), "seed {seed}");
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("PRACK", sum);
}

#[test]
fn calls_are_cancelled_or_answered_during_it() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, "");
        let (a, b) = early(&mut net);
        let wait = u64::from(net.rng.below(300));
        net.run_for(wait);
        if seed % 2 == 0 {
            net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))).unwrap();
        } else {
            net.with(B, |gw, now| gw.legs(now, |l| l.hang_up(&b, Some("busy")))).unwrap();
        }
        net.run_for(FOREVER);
        let want = if seed % 2 == 0 { ("api_hangup", "caller_cancel") } else { ("busy", "busy") };
        let got = (net.reason(A, &a).unwrap(), net.reason(B, &b).unwrap());
        assert_eq!((got.0.as_str(), got.1.as_str()), want, "seed {seed}");
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("PRACK and hang-up", sum);
}

#[test]
fn a_caller_that_insists_gets_reliable_ringing_and_one_that_never_acknowledges_is_refused() {
    for seed in 0..seeds() {
        let pracks = seed % 2 == 0;
        let mut net = Net::new(seed, 1, HARSH, "");
        net.phone.fields = vec![("Require", "100rel")];
        net.phone.pracks = pracks;
        net.with_phone(|p, now| p.call(now, Some(&sdp(1, "sendrecv"))));
        assert!(net.run_until(60_000, |n| !n.legs(A).is_empty()), "seed {seed}");
        let leg = net.legs(A)[0].clone();
        net.run_for(if pracks { 20_000 } else { 100 });
        // Early media after reliable ringing waits for its PRACK.
        net.with(A, |gw, now| gw.legs(now, |l| l.early_media(&leg))).unwrap();
        net.run_for(60_000);
        if !pracks {
            assert_eq!(net.reason(A, &leg).as_deref(), Some("ack_timeout"), "seed {seed}");
            assert_eq!(net.phone.outcome(1).map(|o| o.0), Some(504), "seed {seed}");
            net.run_for(FOREVER);
            net.check_end(&format!("seed {seed}"));
            continue;
        }
        let provisional: Vec<u16> = net.phone.heard.iter().map(|h| h.1).filter(|c| *c > 100).collect();
        assert!(provisional.contains(&180) && provisional.contains(&183), "seed {seed}: {provisional:?}");
        net.with(A, |gw, now| gw.legs(now, |l| l.answer(&leg))).unwrap();
        net.run_for(40_000);
        assert_eq!(net.state(A, &leg), "connected", "seed {seed}");
        net.with_phone(crate::phone::Phone::bye);
        net.run_for(FOREVER);
        assert_eq!(net.reason(A, &leg).as_deref(), Some("remote_bye"), "seed {seed}");
        net.check_end(&format!("seed {seed}"));
    }
}

#[test]
fn an_answer_ends_the_wait_for_a_prack_of_ringing() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 1, HARSH, "");
        net.phone.fields = vec![("Require", "100rel")];
        let leg = crate::calls::phone_calls(&mut net);
        net.run_for(60_000);
        assert_eq!(net.state(A, &leg), "connected", "seed {seed}");
        net.with_phone(crate::phone::Phone::bye);
        net.run_for(FOREVER);
        assert_eq!(net.reason(A, &leg).as_deref(), Some("remote_bye"), "seed {seed}");
        net.check_end(&format!("seed {seed}"));
    }
}

#[test]
fn one_prack_is_sufficient_and_an_unmatched_one_is_refused() {
    let mut net = Net::new(1, 2, NONE, "");
    let (a, _) = early(&mut net);
    net.run_for(2_000);
    assert_eq!((net.traffic.get("PRACK"), net.traffic.get("183")), (Some(&1), Some(&1)));
    net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))).unwrap();
    net.run_for(FOREVER);
    net.check_end("prack");

    let mut net = Net::new(2, 1, NONE, "");
    net.phone.fields = vec![("Require", "100rel")];
    net.phone.pracks = true;
    net.with_phone(|p, now| p.call(now, Some(&sdp(1, "sendrecv"))));
    net.run_for(2_000);
    assert_eq!(net.traffic.get("481"), None);
    net.with_phone(|p, now| p.prack(now, "7 1 INVITE", None));
    net.run_for(2_000);
    assert_eq!(net.traffic.get("481"), Some(&1));
    let leg = net.legs(A)[0].clone();
    net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&leg, None))).unwrap();
    net.run_for(FOREVER);
    net.check_end("stray prack");
}

#[test]
fn a_prack_overtaken_by_the_answer_is_accepted() {
    let mut net = Net::new(3, 1, NONE, "");
    net.phone.fields = vec![("Require", "100rel")];
    let leg = crate::calls::phone_calls(&mut net);
    net.run_for(2_000);
    assert_eq!(net.state(A, &leg), "connected");
    let rack = net.phone.unpracked.take().expect("ringing asks for it");
    net.with_phone(|p, now| p.prack(now, &rack, None));
    net.run_for(2_000);
    assert_eq!(net.traffic.get("481"), None);
    assert_eq!(net.state(A, &leg), "connected");
    net.with_phone(crate::phone::Phone::bye);
    net.run_for(FOREVER);
    net.check_end("late prack");
}

#[test]
fn the_bye_of_a_cancelled_call_comes_after_its_pracks() {
    let mut net = Net::new(4, 1, NONE, "");
    (net.phone.reliable, net.phone.crosses) = (true, true);
    let to = call_to("sip:phone@10.0.0.99");
    let leg = net.with(A, |gw, now| gw.legs(now, |l| l.originate(to))).unwrap().id;
    net.run_for(2_000);
    net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&leg, None))).unwrap();
    net.run_for(FOREVER);
    use branchline::wire::Method;
    assert_eq!(net.phone.asked, [Method::Invite, Method::Prack, Method::Bye]);
    assert!(net.phone.numbers.is_sorted_by(|a, b| a < b), "{:?}", net.phone.numbers);
    net.check_end("crossing");
}

#[test]
fn the_offer_of_a_late_prack_does_not_cross_ours() {
    let mut net = Net::new(5, 1, NONE, "");
    net.phone.fields = vec![("Require", "100rel")];
    let leg = crate::calls::phone_calls(&mut net);
    net.run_for(2_000);
    net.phone.ponders = true;
    net.with(A, |gw, now| gw.legs(now, |l| l.hold(&leg, true))).unwrap();
    net.run_for(100);
    let rack = net.phone.unpracked.take().expect("ringing asks for it");
    net.with_phone(|p, now| p.prack(now, &rack, Some(&sdp(2, "sendrecv"))));
    net.run_for(100);
    assert_eq!(net.traffic.get("491"), Some(&1));
    net.run_for(FOREVER);
    assert_eq!(net.reason(A, &leg).as_deref(), Some("timeout"), "the phone never answers the hold");
    net.check_end("glare");
}

#[test]
fn an_answer_without_sdp_confirms_its_own_early_dialog() {
    let mut net = Net::new(1, 1, NONE, "");
    let leg =
        net.nodes[A].gw.legs(net.now, |l| l.originate(call_to(&format!("sip:bob@{PHONE}")))).unwrap().id;
    let invite = net.nodes[A].gw.poll_transmit().unwrap();
    let invite = String::from_utf8(invite.bytes.to_vec()).unwrap();
    let same: Vec<&str> = invite
        .lines()
        .filter(|l| ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|n| l.starts_with(n)))
        .collect();
    let same = same.join("\r\n");
    let to = invite.lines().find(|l| l.starts_with("To:")).unwrap();
    let answer = |status: &str, tag: &str, more: &str, body: &str| {
        format!(
            "SIP/2.0 {status}\r\n{same}\r\n{to};tag={tag}\r\nContact: <sip:{tag}@{PHONE}>\r\n{more}\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    // A proxy forks to two phones, both with early media.
    for (tag, port) in [("first", "40002"), ("second", "40004")] {
        let body = sdp(1, "sendrecv").replace("4000 RTP", &format!("{port} RTP"));
        let message = answer("183 Progress", tag, "Require: 100rel\r\nRSeq: 1\r\n", &body);
        assert!(body.contains(port));
        assert!(said(&mut net, A, &message)[0].starts_with(&format!("PRACK sip:{tag}@")));
    }
    let acked = said(&mut net, A, &answer("200 OK", "second", "", ""));
    assert!(acked[0].starts_with("ACK sip:second@"), "{acked:?}");
    let ports: Vec<u16> = std::iter::from_fn(|| net.nodes[A].gw.poll_media())
        .filter_map(|c| match c {
            Command::Open { stream, .. } | Command::Update { stream, .. } => Some(stream.rtp.port()),
            _ => None,
        })
        .collect();
    assert_eq!((ports.first(), ports.last()), (Some(&40002), Some(&40004)), "{ports:?}");
    net.with(A, |_, _| ());
    assert_eq!(net.state(A, &leg), "connected");
}
