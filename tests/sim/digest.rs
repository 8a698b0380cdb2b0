//! Digest authentication of our requests in a call, with various behaviours of far ends and proxies.

use branchline::sip::digest::Credentials;
use branchline::sip::flow::{Flow, Transport};

use crate::calls::{A, B, FOREVER, call_to, report, seeds, total};
use crate::guard::Guard;
use crate::net::{HARSH, Injected, Net};
use crate::phone::sdp;

fn call_phone(net: &mut Net, password: &str) -> String {
    let credentials = Credentials { username: "alice".into(), password: password.into() };
    let wanted = branchline::gateway::interface::command::Originate {
        auth: Some(credentials),
        ..call_to("sip:phone@10.0.0.99:5060")
    };
    net.with(A, |gw, now| gw.legs(now, |l| l.originate(wanted))).unwrap().id
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
        assert_eq!(net.nodes[A].gw.view().leg(&leg).map(|l| l.state), Ok("connected"), "seed {seed}");
        // The phone rejects re-INVITEs, after authentication.
        net.with(A, |gw, now| gw.legs(now, |l| l.hold(&leg, true))).unwrap();
        net.run_for(40_000);
        let (_, outcome) = net.nodes[A].gw.replies().poll().expect("a reply");
        let why = outcome.unwrap_err().to_string();
        assert!(why.contains("refused: 405") || why.contains("within 10 s"), "seed {seed}: {why}");
        net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&leg, None))).unwrap();
        net.run_for(FOREVER);
        net.check_end(&format!("seed {seed}"));
        let guard = net.phone.guard.as_ref().unwrap();
        // INVITE, re-INVITE and BYE; a nonce that remains valid is challenged once.
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
fn endless_challenges_are_limited() {
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

/// 10.0.0.50 responds to a request.
fn answer_at_50(net: &mut Net, request: &[u8], status: &str, tag: &str, more: &str) {
    let text = std::str::from_utf8(request).unwrap();
    let copied: Vec<&str> = text
        .lines()
        .filter(|l| ["Via", "From", "Call-ID", "CSeq"].iter().any(|n| l.starts_with(n)))
        .collect();
    let (head, body) = more.split_once("\r\n\r\n").unwrap_or((more, ""));
    let reply = format!(
        "SIP/2.0 {status}\r\n{}\r\nTo: <sip:x@10.0.0.50>;tag={tag}\r\n{}\r\nContent-Length: {}\r\n\r\n{body}",
        copied.join("\r\n"),
        head.trim_end(),
        body.len(),
    );
    let addr = "10.0.0.50:5060".parse().unwrap();
    let source = Flow { transport: Transport::Udp, addr, conn: None };
    net.with(A, |gw, now| gw.handle_message(now, source, reply.as_bytes()));
}

/// The last request to 10.0.0.50 with this method and tag.
fn asked_at_50(net: &Net, method: &str, tag: &str) -> String {
    let all = net.unreachable.iter().rev().map(|b| String::from_utf8_lossy(b).into_owned());
    let is =
        |t: &String| t.starts_with(method) && t.lines().any(|l| l.starts_with("To:") && l.ends_with(tag));
    all.into_iter().find(is).unwrap_or_else(|| panic!("no {method} to {tag}"))
}

#[test]
fn a_fork_that_answers_late_gets_a_bye_with_credentials() {
    let mut net = Net::new(1, 1, crate::net::NONE, "");
    let credentials = Credentials { username: "alice".into(), password: "secret".into() };
    let wanted = branchline::gateway::interface::command::Originate {
        auth: Some(credentials),
        ..call_to("sip:x@10.0.0.50")
    };
    let leg = net.with(A, |gw, now| gw.legs(now, |l| l.originate(wanted))).unwrap().id;
    let invite = net.unreachable.pop().expect("an INVITE to 10.0.0.50");
    let challenge =
        |nonce: &str| format!("Proxy-Authenticate: Digest realm=\"office\", qop=\"auth\", nonce=\"{nonce}\"");
    answer_at_50(&mut net, &invite, "407 Who", "p", &challenge("1"));
    let invite = asked_at_50(&net, "INVITE", "50>").into_bytes();
    let with_sdp = |contact: &str| {
        let sdp = sdp(1, "sendrecv");
        format!("Contact: <sip:{contact}@10.0.0.50>\r\nContent-Type: application/sdp\r\n\r\n{sdp}")
    };
    answer_at_50(&mut net, &invite, "200 OK", "a", &with_sdp("a"));
    assert_eq!(net.nodes[A].gw.view().leg(&leg).map(|l| l.state), Ok("connected"));
    // One while the call is up, one after its end; meanwhile the nonce has expired.
    answer_at_50(&mut net, &invite, "200 OK", "b", &with_sdp("b"));
    net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&leg, None))).unwrap();
    answer_at_50(&mut net, &invite, "200 OK", "c", &with_sdp("c"));
    for fork in ["b", "c"] {
        let bye = asked_at_50(&net, "BYE", &format!("tag={fork}"));
        assert!(
            bye.starts_with(&format!("BYE sip:{fork}@10.0.0.50 ")) && bye.contains("nonce=\"1\""),
            "{bye}"
        );
        answer_at_50(&mut net, bye.as_bytes(), "407 Who", fork, &challenge("2"));
        let again = asked_at_50(&net, "BYE", &format!("tag={fork}"));
        assert!(again.contains("Proxy-Authorization: Digest") && again.contains("nonce=\"2\""), "{again}");
        answer_at_50(&mut net, again.as_bytes(), "200 OK", fork, "");
    }
    net.run_for(FOREVER);
    assert_eq!(net.reason(A, &leg).as_deref(), Some("api_hangup"));
    net.check_end("forks");
}

#[test]
fn the_next_nonce_of_a_call_is_used() {
    for (proxy, challenge, info, credentials) in [
        ("401 Who", "WWW-Authenticate", "Authentication-Info", "\nAuthorization: "),
        ("407 Who", "Proxy-Authenticate", "Proxy-Authentication-Info", "\nProxy-Authorization: "),
    ] {
        let mut net = Net::new(1, 1, crate::net::NONE, "");
        let auth = Some(Credentials { username: "alice".into(), password: "secret".into() });
        let wanted =
            branchline::gateway::interface::command::Originate { auth, ..call_to("sip:x@10.0.0.50") };
        let leg = net.with(A, |gw, now| gw.legs(now, |l| l.originate(wanted))).unwrap().id;
        let invite = net.unreachable.pop().expect("an INVITE to 10.0.0.50");
        let digest = format!("{challenge}: Digest realm=\"office\", qop=\"auth\", nonce=\"1\"");
        answer_at_50(&mut net, &invite, proxy, "p", &digest);
        let invite = asked_at_50(&net, "INVITE", "50>").into_bytes();
        let body = sdp(1, "sendrecv");
        let answer = format!(
            "Contact: <sip:x@10.0.0.50>\r\n{info}: nextnonce=\"2\"\r\nContent-Type: application/sdp\r\n\r\n{body}"
        );
        // It is received twice; the nonce count continues nevertheless.
        answer_at_50(&mut net, &invite, "200 OK", "a", &answer);
        answer_at_50(&mut net, &invite, "200 OK", "a", &answer);
        net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&leg, None))).unwrap();
        let bye = asked_at_50(&net, "BYE", "tag=a");
        assert!(
            bye.contains(credentials) && bye.contains("nonce=\"2\"") && bye.contains("nc=00000001"),
            "{bye}"
        );
        answer_at_50(&mut net, bye.as_bytes(), "200 OK", "a", "");
        net.run_for(FOREVER);
        net.check_end("next nonce");
    }
}

#[test]
fn only_the_called_party_gets_credentials() {
    let mut net = Net::new(1, 1, crate::net::NONE, "");
    net.phone.guard = Some(Guard::new(false, false, false, "secret"));
    // The call first goes to another server, which redirects it to the phone that challenges.
    let credentials = Credentials { username: "alice".into(), password: "secret".into() };
    let wanted = branchline::gateway::interface::command::Originate {
        auth: Some(credentials),
        ..call_to("sip:x@10.0.0.50")
    };
    let leg = net.with(A, |gw, now| gw.legs(now, |l| l.originate(wanted))).unwrap().id;
    let invite = net.unreachable.pop().expect("an INVITE to 10.0.0.50");
    let contact = "Contact: <sip:phone@10.0.0.99:5060>\r\n";
    answer_at_50(&mut net, &invite, "302 Moved", "m", contact);
    net.run_for(FOREVER);
    assert_eq!(net.reason(A, &leg).as_deref(), Some("unauthorized"));
    let guard = net.phone.guard.as_ref().unwrap();
    assert_eq!((guard.passed, guard.challenged), (0, 1), "asked once, and told nothing");
    net.check_end("redirected");
}

/// Only callers with anna's password are accepted.
const STRICT: &str =
    "[sip]\naccept_from = [\"192.0.2.0/24\"]\nuser = [{ name = \"anna\", password = \"secret\" }]\n";

fn strangers_call(net: &mut Net, username: &str, password: &str) -> String {
    let credentials = Credentials { username: username.into(), password: password.into() };
    let wanted = branchline::gateway::interface::command::Originate {
        auth: Some(credentials),
        ..call_to("sip:desk@10.0.0.2")
    };
    net.with(A, |gw, now| gw.legs(now, |l| l.originate(wanted))).unwrap().id
}

#[test]
fn an_unknown_source_with_a_password_may_call() {
    let mut sum = Injected::default();
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, STRICT);
        let a = strangers_call(&mut net, "anna", "secret");
        assert!(net.run_until(60_000, |n| !n.legs(B).is_empty()), "seed {seed}: it never rang");
        let b = net.legs(B)[0].clone();
        net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
        net.run_for(40_000);
        assert_eq!((net.state(A, &a), net.state(B, &b)), ("connected", "connected"), "seed {seed}");
        let who = if seed % 2 == 0 { A } else { B };
        let leg = if who == A { &a } else { &b };
        net.with(who, |gw, now| gw.legs(now, |l| l.hang_up(leg, None))).unwrap();
        net.run_for(FOREVER);
        assert_eq!(net.legs(B).len(), 1, "seed {seed}");
        net.check_end(&format!("seed {seed}"));
        total(&mut sum, net.injected);
    }
    report("a stranger's call", sum);
}

#[test]
fn an_unknown_source_without_one_leaves_no_state_and_learns_nothing() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, STRICT);
        let (user, password) = if seed % 2 == 0 { ("anna", "wrong") } else { ("nobody", "secret") };
        let a = strangers_call(&mut net, user, password);
        net.run_for(10_000);
        assert!(net.legs(B).is_empty(), "seed {seed}");
        assert_eq!(
            net.nodes[B].gw.view().numbers().transactions,
            (0, 0),
            "seed {seed}: not even a transaction"
        );
        net.run_for(FOREVER);
        let reason = net.reason(A, &a);
        assert!(matches!(reason.as_deref(), Some("forbidden" | "unauthorized")), "seed {seed}: {reason:?}");
        net.check_end(&format!("seed {seed}"));
    }
}

#[test]
fn an_unknown_source_with_a_password_may_cancel() {
    for seed in 0..seeds() {
        let mut net = Net::new(seed, 2, HARSH, STRICT);
        let a = strangers_call(&mut net, "anna", "secret");
        assert!(net.run_until(60_000, |n| !n.legs(B).is_empty()), "seed {seed}: it never rang");
        let b = net.legs(B)[0].clone();
        net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))).unwrap();
        net.run_for(FOREVER);
        assert_eq!(net.reason(B, &b).as_deref(), Some("caller_cancel"), "seed {seed}");
        net.check_end(&format!("seed {seed}"));
    }
}
