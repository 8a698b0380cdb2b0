//! A phone that calls without an offer, holds, changes address, and sends crossing requests.

use branchline::base::time::Now;
use branchline::gateway::Gateway;

use crate::calls::{FOREVER, report, seeds, total};
use crate::net::{HARSH, Injected, NONE, Net};
use crate::phone::{PHONE, sdp};

const GW: usize = 0;

/// The phone calls, and is answered.
fn connected(net: &mut Net, offer: Option<&str>) -> String {
    net.with_phone(|p, now| p.call(now, offer));
    assert!(net.run_until(40_000, |n| !n.legs(GW).is_empty()), "the call arrives");
    let leg = net.legs(GW)[0].clone();
    net.with(GW, |gw: &mut Gateway, now: Now| gw.legs(now, |l| l.answer(&leg))).unwrap();
    let up = net.run_until(40_000, |n| n.nodes[GW].gw.view().leg(&leg).is_ok_and(|l| l.state == "connected"));
    assert!(up, "the call is up");
    leg
}

fn finish(net: &mut Net, leg: &str, context: &str) {
    net.with_phone(|p, now| p.bye(now));
    net.run_for(FOREVER);
    assert_eq!(net.reason(GW, leg).unwrap(), "remote_bye", "{context}");
    net.check_end(context);
}

fn version(body: &str) -> u64 {
    let origin = body.lines().find(|l| l.starts_with("o=")).unwrap();
    origin.split(' ').nth(2).unwrap().parse().unwrap()
}

#[test]
fn a_call_without_an_offer_gets_ours_in_the_200() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 1, HARSH, "");
        net.phone.answer = Some(sdp(1, "sendrecv"));
        let leg = connected(&mut net, None);
        let (code, offer) = net.phone.outcome(1).unwrap();
        assert_eq!(code, 200);
        assert!(offer.contains("m=audio ") && offer.contains("RTP/AVP 111 9 0 8 "), "seed {seed}: {offer}");
        finish(&mut net, &leg, &format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("offer in the 200", sum);
}

#[test]
fn an_ack_without_the_answer_ends_the_call() {
    let mut net = Net::new(3, 1, NONE, "");
    net.with_phone(|p, now| p.call(now, None));
    assert!(net.run_until(1000, |n| !n.legs(GW).is_empty()));
    let leg = net.legs(GW)[0].clone();
    net.with(GW, |gw, now| gw.legs(now, |l| l.answer(&leg))).unwrap();
    net.run(net.at(FOREVER));
    assert_eq!(net.reason(GW, &leg).unwrap(), "not_acceptable");
    assert_eq!(net.phone.asked, [branchline::wire::Method::Bye]);
    net.check_end("no answer");
}

#[test]
fn the_far_end_holds_and_resumes() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 1, HARSH, "");
        let leg = connected(&mut net, Some(&sdp(1, "sendrecv")));
        let first = version(net.phone.outcome(1).unwrap().1);
        for (n, (direction, answered)) in
            [("sendonly", "a=recvonly"), ("sendrecv", "a=sendrecv"), ("inactive", "a=inactive")]
                .into_iter()
                .enumerate()
        {
            let n = n as u32 + 2;
            let cseq = net.with_phone(|p, now| p.reinvite(now, Some(&sdp(n, direction))));
            assert!(net.run_until(40_000, |net| net.phone.outcome(cseq).is_some()), "seed {seed}");
            let (code, body) = net.phone.outcome(cseq).unwrap();
            assert_eq!(code, 200, "seed {seed}");
            assert!(body.contains(answered), "seed {seed}: {direction}: {body}");
            assert_eq!(version(body), first + u64::from(n) - 1, "seed {seed}");
            // The ACK must arrive before the next request is allowed.
            net.run_for(40_000);
            let held = net.nodes[GW].gw.view().leg(&leg).unwrap().held;
            assert_eq!(held, direction != "sendrecv", "seed {seed}: {direction}");
        }
        finish(&mut net, &leg, &format!("seed {seed}"));
        let story = net.story(GW, &leg);
        let want = ["leg.ringing", "leg.connected", "leg.hold", "leg.unhold", "leg.hold", "leg.disconnected"];
        assert_eq!(story, want, "seed {seed}");
        total(&mut sum, net.injected);
    }
    report("far end's hold", sum);
}

#[test]
fn a_second_change_waits_for_the_first() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 1, HARSH, "");
        let leg = connected(&mut net, Some(&sdp(1, "sendrecv")));
        // The first change is answered but not acknowledged, so the second is too early (§14.2).
        net.phone.withholds_ack = true;
        let first = net.with_phone(|p, now| p.reinvite(now, Some(&sdp(2, "sendonly"))));
        assert!(net.run_until(20_000, |n| n.phone.outcome(first).is_some()), "seed {seed}");
        let second = net.with_phone(|p, now| p.reinvite(now, Some(&sdp(3, "sendrecv"))));
        net.run_for(FOREVER);
        let codes = (net.phone.outcome(first).unwrap().0, net.phone.outcome(second).map(|o| o.0));
        assert!(matches!(codes, (200, Some(500 | 481) | None)), "seed {seed}: {codes:?}");
        assert_eq!(net.reason(GW, &leg).unwrap(), "ack_timeout", "seed {seed}");
        net.check_end(&format!("seed {seed}"));
    }
}

#[test]
fn glare_is_491() {
    let mut sum = Injected::default();
    let mut met = 0;
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 1, HARSH, "");
        let uri = format!("sip:phone@{PHONE}");
        let call = crate::calls::call_to(&uri);
        let leg = net.with(GW, |gw, now| gw.legs(now, |l| l.originate(call))).unwrap().id;
        assert!(net.run_until(40_000, |n| n.phone.ringing.is_some()), "seed {seed}");
        // The phone sends a change while our INVITE is unanswered: only one may proceed.
        let cseq = net.with_phone(|p, now| p.reinvite(now, Some(&sdp(2, "sendonly"))));
        assert!(net.run_until(30_000, |n| n.phone.outcome(cseq).is_some()), "seed {seed}");
        match net.phone.outcome(cseq).unwrap().0 {
            491 => met += 1,
            // None of its 180s has arrived: the gateway has no dialog yet.
            481 => {}
            other => panic!("seed {seed}: {other}"),
        }
        net.with_phone(|p, now| p.pick_up(now, &sdp(1, "sendrecv")));
        let up =
            net.run_until(40_000, |n| n.nodes[GW].gw.view().leg(&leg).is_ok_and(|l| l.state == "connected"));
        assert!(up, "seed {seed}: the call is none the worse");
        // The 200 was acknowledged before the phone hangs up.
        net.run_for(40_000);
        finish(&mut net, &leg, &format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    assert!(met > seeds() * 8 / 10, "{met}");
    report("glare", sum);
}
