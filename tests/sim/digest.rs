//! Digest authentication of what we send in a call, by far ends and proxies of several habits.

use branchline::sip::digest::Credentials;

use crate::calls::{A, B, FOREVER, call_to, report, seeds, total};
use crate::guard::Guard;
use crate::net::{HARSH, Injected, Net};
use crate::phone::sdp;

fn call_phone(net: &mut Net, password: &str) -> String {
    let credentials = Credentials { username: "alice".into(), password: password.into() };
    let wanted = branchline::gateway::command::Originate {
        auth: Some(credentials),
        ..call_to("sip:phone@10.0.0.99:5060")
    };
    net.with(A, |gw, now| gw.originate(now, wanted)).unwrap().id
}

#[test]
fn every_request_of_a_call_is_authenticated() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 1, HARSH, "");
        let once = seed & 4 != 0;
        net.phone.guard = Some(Guard::new(seed & 1 != 0, seed & 2 != 0, once, "secret"));
        let leg = call_phone(&mut net, "secret");
        assert!(net.run_until(60_000, |n| n.phone.ringing.is_some()), "seed {seed}: it never rang");
        net.with_phone(|p, now| p.pick_up(now, &sdp(1, "sendrecv")));
        net.run_for(40_000);
        assert_eq!(net.nodes[A].gw.leg(&leg).map(|l| l.state), Ok("connected"), "seed {seed}");
        // The phone knows no re-INVITE: it says so once it knows who asks.
        net.with(A, |gw, now| gw.hold(now, &leg, true)).unwrap();
        net.run_for(40_000);
        let (_, outcome) = net.nodes[A].gw.poll_reply().expect("a reply");
        let why = outcome.unwrap_err().to_string();
        assert!(why.contains("refused: 405") || why.contains("within 10 s"), "seed {seed}: {why}");
        net.with(A, |gw, now| gw.hang_up_leg(now, &leg, None)).unwrap();
        net.run_for(FOREVER);
        net.check_end(&format!("seed {seed}"));
        let guard = net.phone.guard.as_ref().unwrap();
        // INVITE, re-INVITE and BYE; a nonce that stays is asked for once.
        assert_eq!((guard.passed, guard.challenged), (3, if once { 3 } else { 1 }), "seed {seed}");
        total(&mut sum, net.injected);
    }
    report("digest authentication", sum);
}

#[test]
fn a_wrong_password_is_not_tried_again() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 1, HARSH, "");
        net.phone.guard = Some(Guard::new(seed & 1 != 0, seed & 2 != 0, true, "secret"));
        let leg = call_phone(&mut net, "wrong");
        net.run_for(FOREVER);
        assert_eq!(net.reason(A, &leg).as_deref(), Some("unauthorized"), "seed {seed}");
        let guard = net.phone.guard.as_ref().unwrap();
        assert_eq!((guard.passed, guard.challenged), (0, 2), "seed {seed}");
        net.check_end(&format!("seed {seed}"));
    }
}

#[test]
fn a_far_end_that_challenges_for_ever_is_left_alone() {
    let mut net = Net::new(1, 1, crate::net::NONE, "");
    let mut guard = Guard::new(false, false, true, "secret");
    guard.never_content = true;
    net.phone.guard = Some(guard);
    let leg = call_phone(&mut net, "secret");
    net.run_for(FOREVER);
    assert_eq!(net.reason(A, &leg).as_deref(), Some("unauthorized"));
    assert!(net.phone.guard.as_ref().unwrap().challenged < 10);
    net.check_end("never content");
}

#[test]
fn nobody_but_whom_we_called_gets_an_answer() {
    let mut net = Net::new(1, 1, crate::net::NONE, "");
    net.phone.guard = Some(Guard::new(false, false, false, "secret"));
    // The call goes to another place first, which sends it to the phone that challenges.
    let credentials = Credentials { username: "alice".into(), password: "secret".into() };
    let wanted =
        branchline::gateway::command::Originate { auth: Some(credentials), ..call_to("sip:x@10.0.0.50") };
    let leg = net.with(A, |gw, now| gw.originate(now, wanted)).unwrap().id;
    let invite = net.unreachable.pop().expect("an INVITE to 10.0.0.50");
    let text = String::from_utf8(invite).unwrap();
    let copied: Vec<&str> = text
        .lines()
        .filter(|l| ["Via", "From", "Call-ID", "CSeq"].iter().any(|n| l.starts_with(n)))
        .collect();
    let reply = format!(
        "SIP/2.0 302 Moved\r\n{}\r\nTo: <sip:x@10.0.0.50>;tag=m\r\nContact: <sip:phone@10.0.0.99:5060>\r\nContent-Length: 0\r\n\r\n",
        copied.join("\r\n")
    );
    let source = branchline::sip::target::Target {
        transport: branchline::sip::target::Transport::Udp,
        addr: "10.0.0.50:5060".parse().unwrap(),
        conn: None,
    };
    net.with(A, |gw, now| gw.handle_message(now, source, reply.as_bytes()));
    net.run_for(FOREVER);
    assert_eq!(net.reason(A, &leg).as_deref(), Some("unauthorized"));
    let guard = net.phone.guard.as_ref().unwrap();
    assert_eq!((guard.passed, guard.challenged), (0, 1), "asked once, and told nothing");
    net.check_end("redirected");
}

/// Nobody is welcome but who knows anna's password.
const STRICT: &str =
    "[sip]\naccept_from = [\"192.0.2.0/24\"]\nuser = [{ name = \"anna\", password = \"secret\" }]\n";

fn strangers_call(net: &mut Net, username: &str, password: &str) -> String {
    let credentials = Credentials { username: username.into(), password: password.into() };
    let wanted =
        branchline::gateway::command::Originate { auth: Some(credentials), ..call_to("sip:desk@10.0.0.2") };
    net.with(A, |gw, now| gw.originate(now, wanted)).unwrap().id
}

#[test]
fn a_stranger_with_a_password_may_call() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, STRICT);
        let a = strangers_call(&mut net, "anna", "secret");
        assert!(net.run_until(60_000, |n| !n.legs(B).is_empty()), "seed {seed}: it never rang");
        let b = net.legs(B)[0].clone();
        net.with(B, |gw, now| gw.answer(now, &b)).unwrap();
        net.run_for(40_000);
        assert_eq!((net.state(A, &a), net.state(B, &b)), ("connected", "connected"), "seed {seed}");
        let who = if seed % 2 == 0 { A } else { B };
        let leg = if who == A { &a } else { &b };
        net.with(who, |gw, now| gw.hang_up_leg(now, leg, None)).unwrap();
        net.run_for(FOREVER);
        assert_eq!(net.legs(B).len(), 1, "seed {seed}");
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("a stranger's call", sum);
}

#[test]
fn a_stranger_without_one_leaves_nothing_and_learns_nothing() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, STRICT);
        let (user, password) = if seed % 2 == 0 { ("anna", "wrong") } else { ("nobody", "secret") };
        let a = strangers_call(&mut net, user, password);
        net.run_for(10_000);
        assert!(net.legs(B).is_empty(), "seed {seed}");
        assert_eq!(net.nodes[B].gw.numbers().transactions, (0, 0), "seed {seed}: not even a transaction");
        net.run_for(FOREVER);
        let reason = net.reason(A, &a);
        assert!(matches!(reason.as_deref(), Some("forbidden" | "unauthorized")), "seed {seed}: {reason:?}");
        net.check_end(&format!("seed {seed}"));
    }
}

#[test]
fn a_stranger_with_a_password_may_give_up() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, STRICT);
        let a = strangers_call(&mut net, "anna", "secret");
        assert!(net.run_until(60_000, |n| !n.legs(B).is_empty()), "seed {seed}: it never rang");
        let b = net.legs(B)[0].clone();
        net.with(A, |gw, now| gw.hang_up_leg(now, &a, None)).unwrap();
        net.run_for(FOREVER);
        assert_eq!(net.reason(B, &b).as_deref(), Some("caller_cancel"), "seed {seed}");
        net.check_end(&format!("seed {seed}"));
    }
}
