//! DTMF sent by INFO: one at a time, in order, each once; refusals, and remote hold.

use branchline::gateway::interface::error::GatewayError;
use branchline::media::command::Command;

use crate::calls::{A, B, FOREVER, originate, phone_calls, report, seeds, total, until_ringing};
use crate::net::{HARSH, Injected, NONE, Net};
use crate::phone::sdp;

const BY_INFO: &str = "[sip]\ndtmf = \"info\"";

/// Digits reported by a node.
fn told(net: &Net, node: usize) -> String {
    let events = net.nodes[node].events.iter().filter(|e| e.kind() == "leg.dtmf");
    events.filter_map(|e| e.to_json("")["digit"].as_str().map(str::to_owned)).collect()
}

fn send(net: &mut Net, node: usize, leg: &str, digits: &str) -> Result<(), GatewayError> {
    net.with(node, |gw, now| gw.legs(now, |l| l.send_digits(leg, digits)))
}

#[test]
fn digits_by_info_arrive_in_order_and_once_over_a_bad_network() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, BY_INFO);
        let a = originate(&mut net, 0);
        let b = until_ringing(&mut net).expect("B rings");
        net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
        assert!(net.run_until(40_000, |n| n.state(A, &a) == "connected" && n.state(B, &b) == "connected"));
        net.run_for(40_000);
        send(&mut net, A, &a, "1123#").unwrap();
        send(&mut net, A, &a, "*0").unwrap();
        net.run_for(120_000);
        assert_eq!(told(&net, B), "1123#*0", "seed {seed}");
        assert_eq!(net.nodes[A].gw.view().numbers().counters.signalling.info_digits_dropped, 0);
        net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))).unwrap();
        net.run_for(FOREVER);
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("digits by INFO", sum);
}

#[test]
fn one_info_at_a_time_and_each_key_has_its_length() {
    let mut net = Net::new(1, 1, NONE, BY_INFO);
    let leg = phone_calls(&mut net);
    net.run_for(5_000);
    send(&mut net, A, &leg, "12345").unwrap();
    for n in 1..=5 {
        assert_eq!(net.traffic.get("INFO").copied(), Some(n), "the next one waits for 200 ms");
        net.run_for(190);
        assert_eq!(net.traffic.get("INFO").copied(), Some(n));
        net.run_for(10);
    }
    net.with_phone(crate::phone::Phone::bye);
    net.run_for(FOREVER);
    net.check_end("one at a time");
}

#[test]
fn digits_that_are_refused_are_dropped_and_the_call_goes_on() {
    for (code, goes_on) in [(415u16, true), (405, true), (500, true), (503, true), (603, true), (481, false)]
    {
        let mut net = Net::new(2, 1, NONE, BY_INFO);
        let leg = phone_calls(&mut net);
        net.run_for(5_000);
        net.phone.info = code;
        send(&mut net, A, &leg, "12").unwrap();
        net.run_for(5_000);
        let (state, dropped) =
            (net.state(A, &leg), net.nodes[A].gw.view().numbers().counters.signalling.info_digits_dropped);
        if goes_on {
            assert_eq!((state, dropped), ("connected", 2), "{code}");
            net.phone.info = 200;
            send(&mut net, A, &leg, "3").unwrap();
            net.run_for(1_000);
            assert_eq!(net.nodes[A].gw.view().numbers().counters.signalling.info_digits_dropped, 2, "{code}");
            net.with_phone(crate::phone::Phone::bye);
        } else {
            assert_eq!(net.reason(A, &leg).as_deref(), Some("timeout"), "{code}");
        }
        net.run_for(FOREVER);
        net.check_end(&format!("{code}"));
    }
}

#[test]
fn no_digits_are_sent_during_remote_hold_or_delayed() {
    for (mode, direction) in
        [("info", "sendonly"), ("info", "inactive"), ("auto", "sendonly"), ("inband", "inactive")]
    {
        let mut net = Net::new(3, 1, NONE, &format!("[sip]\ndtmf = \"{mode}\""));
        let leg = phone_calls(&mut net);
        net.run_for(5_000);
        // Some digits are queued when the hold arrives.
        send(&mut net, A, &leg, "123456").unwrap();
        net.run_for(50);
        net.with_phone(|p, now| p.reinvite(now, Some(&sdp(2, direction))));
        net.run_for(3_000);
        assert_eq!(net.state(A, &leg), "held");
        let sent = net.traffic.get("INFO").copied().unwrap_or_default();
        let refused = send(&mut net, A, &leg, "9").unwrap_err();
        assert!(
            matches!(&refused, GatewayError::Conflict(why) if why.contains("far end holds")),
            "{refused}"
        );
        net.run_for(5_000);
        net.with_phone(|p, now| p.reinvite(now, Some(&sdp(3, "sendrecv"))));
        net.run_for(5_000);
        assert_eq!(net.traffic.get("INFO").copied().unwrap_or_default(), sent, "{mode}: nothing stale");
        if mode == "info" {
            assert_eq!(sent + net.nodes[A].gw.view().numbers().counters.signalling.info_digits_dropped, 6);
        }
        send(&mut net, A, &leg, "7").unwrap();
        net.run_for(1_000);
        let more = u64::from(mode == "info");
        assert_eq!(net.traffic.get("INFO").copied().unwrap_or_default(), sent + more, "{mode}");
        net.with_phone(crate::phone::Phone::bye);
        net.run_for(FOREVER);
        net.check_end(mode);
    }
}

#[test]
fn digits_are_sent_during_local_hold() {
    for (mode, by_info) in [("info", 1), ("auto", 0)] {
        let mut net = Net::new(4, 1, NONE, &format!("[sip]\ndtmf = \"{mode}\""));
        let leg = phone_calls(&mut net);
        net.run_for(5_000);
        net.phone.agrees = Some(sdp(2, "recvonly"));
        net.with(A, |gw, now| gw.legs(now, |l| l.hold(&leg, true))).unwrap();
        net.run_for(5_000);
        assert_eq!(net.state(A, &leg), "held");
        let media: Vec<Command> = net.with(A, |gw, now| {
            gw.legs(now, |l| l.send_digits(&leg, "7")).unwrap();
            std::iter::from_fn(|| gw.poll_media()).collect()
        });
        net.run_for(1_000);
        assert_eq!(net.traffic.get("INFO").copied().unwrap_or_default(), by_info, "{mode}");
        let digits = media.iter().any(|c| matches!(c, Command::Digits { in_band: false, .. }));
        assert_eq!(digits, mode == "auto");
        net.with_phone(crate::phone::Phone::bye);
        net.run_for(FOREVER);
        net.check_end(mode);
    }
}
