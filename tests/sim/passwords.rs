//! Password guessing: number of attempts allowed, whom the limits affect, and that responses do not reveal
//! users.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use branchline::base::rng::Rng;
use branchline::base::time::{Now, Utc};
use branchline::gateway::Gateway;
use branchline::gateway::events::Event;
use branchline::gateway::resources::ports::Port;
use branchline::sip::digest_server::{DigestServer, Verdict, Verifier};
use branchline::sip::flow::{Flow, Transport};
use branchline::sip::locals::Locals;
use branchline::wire::authorization::Authorization;
use branchline::wire::challenge::fields;
use branchline::wire::{Message, parse};
use md5::{Digest as _, Md5};

use crate::described::next_event;
use crate::hand::along;

const USERS: &str = "domains = [\"b.example\"]\nuser = [{ name = \"anna\", password = \"pa\" }, { name = \"boss\", password = \"pb\" }]\n";
const DOMAIN: &str = "sip:b.example";

/// A registrar and its clients.
pub struct Office {
    pub gw: Gateway,
    pub now: Now,
    serial: u32,
    pub events: Vec<Event>,
}

/// A response: code, and full text.
pub type Answer = (u16, String);

pub fn udp(addr: &str) -> Flow {
    along(Transport::Udp, addr, None)
}

fn md5(text: &str) -> String {
    Md5::digest(text).iter().map(|b| format!("{b:02x}")).collect()
}

impl Office {
    /// In an accepted network, or not.
    pub fn new(accepted: bool) -> Self {
        let nets = if accepted { "10.0.0.0/8" } else { "192.0.2.0/24" };
        Self::with(&format!("[sip]\naccept_from = [\"{nets}\"]\n{USERS}"))
    }

    pub fn with(settings: &str) -> Self {
        let home = "10.0.0.1:5060".parse().unwrap();
        let locals = Locals { v4: Some(home), ..Locals::default() };
        let mut gw = Gateway::new(
            crate::net::config(&format!("[limits]\nlegs = 64\n{settings}")),
            locals,
            Rng::from_number(7),
        );
        for id in 1..40 {
            gw.ports().add(Port { id, address: home.ip(), port: 10_000 + id as u16 * 2 });
        }
        let now = Now { mono: Instant::now(), utc: Utc(Duration::from_secs(1_776_330_000)) };
        Self { gw, now, serial: 0, events: Vec::new() }
    }

    /// Sends a message; returns the last response, if any.
    pub fn says(&mut self, from: Flow, text: &str) -> Option<Answer> {
        self.gw.handle_message(self.now, from, text.as_bytes());
        self.events.extend(std::iter::from_fn(|| next_event(&mut self.gw)));
        let mut last = None;
        while let Some(sent) = self.gw.poll_transmit() {
            if let Ok(Message::Response(r)) = parse(&sent.bytes) {
                last = Some((r.code, String::from_utf8_lossy(&sent.bytes).into_owned()));
            }
        }
        last
    }

    pub fn request(&mut self, method: &str, uri: &str, from: &str, to: &str, more: &str) -> String {
        self.serial += 1;
        let n = self.serial;
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bK{n};rport\r\nMax-Forwards: 70\r\n\
             From: <{from}>;tag={n}\r\nTo: <{to}>\r\nCall-ID: c{n}\r\nCSeq: {n} {method}\r\n\
             Contact: <{from}>\r\n{more}Content-Length: 0\r\n\r\n"
        )
    }

    pub fn register(&mut self, from: Flow, name: &str, credentials: &str) -> Option<Answer> {
        let aor = format!("sip:{name}@b.example");
        let mut text = self.request("REGISTER", DOMAIN, &aor, &aor, credentials);
        text = text.replace(&format!("Contact: <{aor}>"), &format!("Contact: <sip:{name}@{}>", from.addr));
        self.says(from, &text)
    }

    pub fn nonce(&mut self, from: Flow, name: &str) -> String {
        let (code, text) = self.register(from, name, "").unwrap();
        assert_eq!(code, 401, "{text}");
        let line = text.lines().find_map(|l| l.strip_prefix("WWW-Authenticate: ")).unwrap();
        fields(line).unwrap().into_iter().find(|(n, _)| n == "nonce").unwrap().1
    }

    /// The response code of a REGISTER with this password and a nonce obtained before.
    pub fn tries(&mut self, from: Flow, name: &str, password: &str, nonce: &str) -> u16 {
        let credentials = answer("REGISTER", DOMAIN, name, password, nonce, 0);
        self.register(from, name, &credentials).map_or(0, |a| a.0)
    }

    /// The same with a new nonce.
    pub fn signs_in(&mut self, from: Flow, name: &str, password: &str) -> u16 {
        let nonce = self.nonce(from, name);
        self.tries(from, name, password, &nonce)
    }

    pub fn later(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.gw.handle_timeout(self.now);
        while self.gw.poll_transmit().is_some() {}
    }
}

/// The credentials for a challenge; with a count above 0 using `qop=auth`.
pub fn answer(method: &str, uri: &str, name: &str, password: &str, nonce: &str, count: u32) -> String {
    let (ha1, ha2) = (md5(&format!("{name}:b.example:{password}")), md5(&format!("{method}:{uri}")));
    let (text, more) = match count {
        0 => (format!("{ha1}:{nonce}:{ha2}"), String::new()),
        n => (format!("{ha1}:{nonce}:{n:08x}:c:auth:{ha2}"), format!(", qop=auth, cnonce=\"c\", nc={n:08x}")),
    };
    let response = md5(&text);
    format!(
        "Authorization: Digest username=\"{name}\", realm=\"b.example\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=MD5{more}\r\n"
    )
}

/// Guesses from one address, twenty a second, with the right password after some: whether it was accepted,
/// and the codes.
fn guessed(office: &mut Office, from: Flow, right: u32, seconds: u32) -> (bool, BTreeSet<u16>) {
    let (mut codes, nonce) = (BTreeSet::new(), office.nonce(from, "anna"));
    for n in 0..seconds * 20 {
        let password = if n >= right { "pa".to_owned() } else { format!("{n:04}") };
        codes.insert(office.tries(from, "anna", &password, &nonce));
        office.later(Duration::from_millis(50));
        if codes.contains(&200) {
            break;
        }
    }
    (codes.contains(&200), codes)
}

#[test]
fn a_password_is_not_found_by_guessing() {
    for accepted in [true, false] {
        let mut office = Office::new(accepted);
        let (found, codes) = guessed(&mut office, udp("10.0.0.9:5060"), 1_000_000, 29);
        assert!(!found && codes.contains(&403) && codes.contains(&500), "{codes:?}");
        let n = office.gw.view().numbers();
        assert_eq!(n.counters.signalling.wrong_passwords, 10, "accepted: {accepted}");
        assert!(n.counters.signalling.guesses_refused > 100, "{}", n.counters.signalling.guesses_refused);
        // When it comes too late, the right one is not distinguishable.
        let mut office = Office::new(accepted);
        let (found, _) = guessed(&mut office, udp("10.0.0.9:5060"), 10, 25);
        assert!(!found, "accepted: {accepted}");
    }
}

#[test]
fn a_registration_or_call_from_the_same_address_does_not_unblock_guessing() {
    let mut office = Office::new(true);
    // The guesser's own phone, and another one behind the same NAT.
    let (own, beside) = (udp("10.0.0.9:5060"), udp("10.0.0.9:7070"));
    assert_eq!(office.signs_in(own, "boss", "pb"), 200);
    for from in [own, beside] {
        assert!(!guessed(&mut office, from, 1_000_000, 10).0);
    }
    assert!(office.gw.view().numbers().counters.signalling.wrong_passwords <= 12, "both are one source");
    // A registered phone may continue with its own user name, whatever was guessed.
    assert_eq!(office.signs_in(own, "boss", "pb"), 200);
    assert_eq!(office.signs_in(beside, "boss", "pb"), 200, "and beside, as after a restart");
    // Guessing does not reveal whether it is registered, and its password is protected, too.
    let third = udp("10.0.0.9:8080");
    while office.signs_in(third, "nobody", "wrong") == 403 {}
    for _ in 0..20 {
        assert_eq!(office.signs_in(third, "boss", "wrong"), 500);
        assert_eq!(office.signs_in(third, "nobody", "wrong"), 500);
    }
    assert_eq!(office.signs_in(third, "boss", "pb"), 500, "now it has been tried too often itself");
    assert_eq!(office.signs_in(own, "boss", "pb"), 200, "but along its own way");
    office.later(Duration::from_secs(31));
    assert_eq!(office.signs_in(third, "boss", "pb"), 200);
}

#[test]
fn guessing_does_not_lock_out_registered_phones() {
    let mut office = Office::new(true);
    assert_eq!(office.signs_in(udp("10.0.0.50:5060"), "anna", "pa"), 200);
    // Arbitrarily many addresses, each of which obtains and answers its own nonce.
    for n in 0..600u32 {
        let from = udp(&format!("10.1.{}.{}:5060", n / 250, n % 250 + 1));
        office.signs_in(from, "anna", "wrong");
        office.later(Duration::from_millis(80));
    }
    assert_eq!(office.signs_in(udp("10.2.0.1:5060"), "anna", "pa"), 500, "the bucket of the user is used up");
    assert_eq!(office.signs_in(udp("10.0.0.50:5060"), "anna", "pa"), 200, "along its way");
    assert_eq!(
        office.signs_in(udp("10.0.0.50:6060"), "anna", "pa"),
        200,
        "from another port, as after a restart"
    );
    assert_eq!(office.signs_in(udp("10.0.0.51:5060"), "boss", "pb"), 200, "others are not concerned");
    office.later(Duration::from_secs(60));
    assert_eq!(office.signs_in(udp("10.2.0.1:5060"), "anna", "pa"), 200, "and it is for a while only");
}

#[test]
fn forged_sources_use_no_quota_and_no_memory() {
    let mut office = Office::new(true);
    let theirs = office.nonce(udp("10.0.0.9:5060"), "anna");
    for n in 0..10_000u32 {
        let from = udp(&format!("10.1.{}.{}:5060", n / 250, n % 250 + 1));
        // A forger does not receive the responses, and can at best use another client's nonce.
        assert_eq!(office.tries(from, "anna", "wrong", &theirs), 401);
        if n % 100 == 0 {
            office.later(Duration::from_secs(40));
        }
    }
    assert_eq!(
        (
            office.gw.view().numbers().counters.signalling.wrong_passwords,
            office.gw.view().numbers().counters.signalling.guesses_refused
        ),
        (0, 0)
    );
    assert_eq!(office.signs_in(udp("10.7.7.7:5060"), "anna", "pa"), 200);
}

#[test]
fn a_right_password_that_comes_too_late_is_not_distinguishable() {
    let mut office = Office::new(true);
    let from = udp("10.0.0.9:5060");
    let nonce = office.nonce(from, "anna");
    for n in 0..10 {
        assert_eq!(office.tries(from, "anna", &format!("{n}"), &nonce), 403);
    }
    let mut seen = BTreeSet::new();
    for (name, password) in [("anna", "pa"), ("anna", "wrong"), ("nobody", "wrong")] {
        // Fresh, reused and expired: the nonce must not make it distinguishable either.
        let fresh = office.nonce(from, name);
        for _ in 0..2 {
            seen.insert(office.tries(from, name, password, &fresh));
        }
    }
    office.later(Duration::from_millis(1));
    assert_eq!(seen, BTreeSet::from([500]));
    let credentials = answer("REGISTER", DOMAIN, "anna", "x", &nonce, 1);
    let (code, text) = office.register(from, "anna", &credentials).unwrap();
    assert!(code == 500 && text.contains("Retry-After: 30"), "{text}");
}

#[test]
fn responses_do_not_reveal_users() {
    for accepted in [true, false] {
        let mut all = BTreeSet::new();
        for name in ["anna", "nobody"] {
            let mut office = Office::new(accepted);
            let from = udp("10.0.0.9:5060");
            let strip = |text: &str| {
                let own = ["Via", "From", "To", "Call-ID", "CSeq", "Date"];
                let kept = text.lines().filter(|l| !own.iter().any(|n| l.starts_with(&format!("{n}:"))));
                let no_nonce = |l: &str| match l.split_once("nonce=\"") {
                    Some((before, rest)) => format!("{before}{}", rest.split_once('"').unwrap().1),
                    None => l.to_owned(),
                };
                kept.map(no_nonce).collect::<Vec<_>>().join("\n")
            };
            let mut story = Vec::new();
            story.push(strip(&office.register(from, name, "").unwrap().1));
            let nonce = office.nonce(from, name);
            for n in 0..14 {
                let credentials = answer("REGISTER", DOMAIN, name, "wrong", &nonce, n);
                story.push(strip(&office.register(from, name, &credentials).unwrap().1));
                // An algorithm not offered, an old nonce, another client's nonce.
                let other = credentials.replace("=MD5", "=SHA-256");
                story.push(strip(&office.register(from, name, &other).unwrap().1));
                story.push(strip(&office.register(from, name, &credentials.replace(&nonce, "x")).unwrap().1));
                office.later(Duration::from_secs(7));
            }
            all.insert(story);
        }
        assert_eq!(all.len(), 1, "{all:#?}");
    }
}

#[test]
fn an_unknown_user_takes_the_same_time() {
    let from = udp("10.0.0.9:5060").addr.ip();
    let now = Instant::now();
    let mut server = DigestServer::new(&mut Rng::from_number(1));
    for (password, ha1) in [("pa", ""), ("", "0123456789abcdef0123456789abcdef")] {
        let anna = Verifier::new("anna", "b.example", password, ha1, "");
        let mut took = [Vec::new(), Vec::new()];
        let credentials = answer("REGISTER", DOMAIN, "anna", "wrong", &"0".repeat(56), 1);
        let credentials =
            Authorization::parse(credentials.trim().strip_prefix("Authorization: ").unwrap()).unwrap();
        // Alternating, so that a slow machine affects both.
        for n in 0..20_000 {
            let verifier = (n % 2 == 0).then_some(&anna);
            let begun = Instant::now();
            let verdict = server.judge(now, from, "REGISTER", &credentials, verifier);
            took[n % 2].push(begun.elapsed());
            assert_eq!(verdict, Verdict::Foreign);
        }
        took.iter_mut().for_each(|t| t.sort());
        let [known, unknown] = took.map(|t| t[t.len() / 2].as_nanos() as f64);
        // One hash less would show as a third or more.
        assert!((0.8..1.25).contains(&(unknown / known)), "{unknown} ns beside {known} ns");
    }
}
