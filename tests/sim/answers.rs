//! Answers of registrars to our REGISTER, message by message: redirections, next nonce, several realms,
//! intervals.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::described::next_event;
use branchline::base::rng::Rng;
use branchline::base::time::{Now, Utc};
use branchline::config::{Sources, TrunkFields, load};
use branchline::gateway::Gateway;
use branchline::sip::flow::{Flow, Transport};
use branchline::sip::locals::Locals;
use branchline::wire::challenge::fields;
use branchline::wire::{Message, Request, parse};
use serde_json::Value;

/// An account at 10.0.0.50, and the requests it received.
struct Box {
    gw: Gateway,
    now: Now,
    trunk: String,
}

impl Box {
    fn new(change: impl FnOnce(&mut TrunkFields)) -> Self {
        let config = load(&Sources { file: Some(("t", "")), env: &[] }).unwrap();
        let locals = Locals { v4: "10.0.0.1:5060".parse().ok(), ..Locals::default() };
        let mut gw = Gateway::new(Rc::new(config), locals, Rng::from_number(1));
        let now = Now { mono: Instant::now(), utc: Utc(Duration::from_secs(1_776_330_000)) };
        let mut fields = TrunkFields {
            kind: "sip_register".into(),
            registrar_uri: "sip:10.0.0.50".into(),
            aor: "sip:anna@example.net".into(),
            password: "p".into(),
            expires_seconds: 3600,
            ..TrunkFields::default()
        };
        change(&mut fields);
        let trunk = gw.accounts(now, |a| a.add_trunk(fields)).unwrap().id;
        gw.handle_timeout(now);
        Self { gw, now, trunk }
    }

    /// The next REGISTER, expected within `seconds`, and its destination.
    fn register(&mut self, seconds: u64) -> (Request, SocketAddr) {
        let end = self.now.mono + Duration::from_secs(seconds);
        loop {
            while let Some(sent) = self.gw.poll_transmit() {
                if let Ok(Message::Request(r)) = parse(&sent.bytes) {
                    return (*r, sent.target.addr);
                }
            }
            let at = self.gw.poll_timeout().filter(|at| *at <= end).expect("a REGISTER");
            self.now = self.now.after(at.saturating_duration_since(self.now.mono));
            self.gw.handle_timeout(self.now);
        }
    }

    fn answer(&mut self, to: &(Request, SocketAddr), status: &str, more: &str) {
        let (request, from) = to;
        let copied = |name: &str| request.common.headers.get(name).unwrap().to_owned();
        let text = format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=r\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}Content-Length: 0\r\n\r\n",
            copied("Via"),
            copied("From"),
            copied("To"),
            copied("Call-ID"),
            copied("CSeq"),
        );
        let source = Flow { transport: Transport::Udp, addr: *from, conn: None };
        self.gw.handle_message(self.now, source, text.as_bytes());
    }

    /// A 200 for ten minutes.
    fn accept(&mut self, to: &(Request, SocketAddr), more: &str) {
        let contact = to.0.common.headers.get("Contact").unwrap().to_owned();
        self.answer(to, "200 OK", &format!("Contact: {contact};expires=600\r\n{more}"));
    }

    fn status(&self) -> &'static str {
        self.gw.view().trunks().view_of(&self.trunk).map_or("gone", |t| t.status)
    }

    /// Error and retry delay in seconds of the last failure.
    fn failure(&mut self) -> (String, u64) {
        let events: Vec<_> = std::iter::from_fn(|| next_event(&mut self.gw)).collect();
        let failed =
            events.into_iter().rfind(|e| e.kind() == "sip.outbound_registration_failed").expect("a failure");
        let get = |name: &str| failed.to_json("").get(name).cloned().unwrap_or(Value::Null);
        (get("error").as_str().unwrap().to_owned(), get("retry_in_seconds").as_u64().unwrap())
    }
}

/// A field of the credentials; empty without any.
fn credential(request: &Request, header: &str, name: &str) -> String {
    let all = request.common.headers.get(header).and_then(fields).unwrap_or_default();
    all.into_iter().find(|(n, _)| n == name).map(|(_, v)| v).unwrap_or_default()
}

fn nonce(request: &Request) -> (String, String) {
    let get = |name| credential(request, "Authorization", name);
    (get("nonce"), get("nc"))
}

fn challenge(nonce: &str) -> String {
    format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\", algorithm=MD5\r\n")
}

#[test]
fn a_redirection_to_another_registrar_is_followed() {
    for (code, again) in [(301, "10.0.0.51:5070"), (302, "10.0.0.50:5060"), (300, "10.0.0.50:5060")] {
        let mut b = Box::new(|_| {});
        let first = b.register(1);
        let contacts = "Contact: <sip:x@10.0.0.60>;q=0.1, <sip:x@10.0.0.51:5070?a=b>;q=0.9\r\n";
        b.answer(&first, &format!("{code} Moved"), contacts);
        let second = b.register(1);
        assert_eq!(second.1, "10.0.0.51:5070".parse().unwrap(), "{code}");
        assert_eq!(second.0.uri.to_string(), "sip:10.0.0.51:5070", "{code}");
        let get = |r: &(Request, SocketAddr), name: &str| r.0.common.headers.get(name).unwrap().to_owned();
        for name in ["Call-ID", "To", "From"] {
            assert_eq!(get(&first, name), get(&second, name), "{code}");
        }
        assert_eq!(second.0.common.cseq, first.0.common.cseq + 1);
        // It may challenge as well.
        b.answer(&second, "401 Unauthorized", &challenge("n"));
        let third = b.register(1);
        assert_eq!((third.1, nonce(&third.0).0.as_str()), (second.1, "n"), "{code}");
        b.accept(&third, "");
        assert_eq!(b.status(), "active", "{code}");
        let refresh = b.register(600);
        assert_eq!(refresh.1, again.parse().unwrap(), "{code}");
        // The binding is removed where it was made.
        b.answer(&refresh, "302 Moved", "Contact: <sip:10.0.0.51:5070>\r\n");
        if code != 301 {
            let moved = b.register(1);
            b.accept(&moved, "");
        } else {
            assert_eq!(b.status(), "active", "nowhere else to go; it stands until it runs out");
        }
        let (now, trunk) = (b.now, b.trunk.clone());
        b.gw.accounts(now, |a| a.remove_trunk(&trunk)).unwrap();
        let goodbye = b.register(1);
        assert_eq!(goodbye.0.common.headers.get("Expires"), Some("0"), "{code}");
        if code != 301 {
            assert_eq!(goodbye.1, "10.0.0.51:5070".parse().unwrap(), "{code}");
        }
        b.answer(&goodbye, "200 OK", "");
        assert_eq!(b.status(), "gone", "{code}");
    }
}

#[test]
fn a_proxy_named_by_305_is_used() {
    let mut b = Box::new(|_| {});
    let first = b.register(1);
    b.answer(&first, "305 Use Proxy", "Contact: <sip:10.0.0.51:5070>\r\n");
    let second = b.register(1);
    assert_eq!(
        (second.1, second.0.uri.to_string()),
        ("10.0.0.51:5070".parse().unwrap(), "sip:10.0.0.50".into())
    );
    assert_eq!(second.0.common.headers.get("Route"), Some("<sip:10.0.0.51:5070;lr>"));
    // With an outbound proxy of the account, the new registrar is reached through it.
    let mut b = Box::new(|f| f.outbound_proxy = "sip:10.0.0.7".into());
    let first = b.register(1);
    b.answer(&first, "302 Moved", "Contact: <sip:10.0.0.51:5070>\r\n");
    let second = b.register(1);
    assert_eq!(
        (second.1, second.0.uri.to_string()),
        ("10.0.0.7:5060".parse().unwrap(), "sip:10.0.0.51:5070".into())
    );
}

#[test]
fn redirections_are_limited() {
    // Loops, dead ends, and endless chains.
    for contact in
        ["<sip:10.0.0.50>", "<SIP:x@10.0.0.50;a=b>", "<tel:+1>", "<sip:10.0.0.51;transport=ws>", ""]
    {
        let mut b = Box::new(|_| {});
        let first = b.register(1);
        let contact = if contact.is_empty() { String::new() } else { format!("Contact: {contact}\r\n") };
        b.answer(&first, "302 Moved", &format!("{contact}Retry-After: 1000\r\n"));
        assert_eq!(
            (b.status(), b.failure()),
            ("failed", ("302 Moved, to nowhere that can be asked".into(), 1000)),
            "{contact}"
        );
        assert_eq!(b.register(1001).1, "10.0.0.50:5060".parse().unwrap());
    }
    let mut b = Box::new(|_| {});
    let mut asked = 0;
    for n in 60..80 {
        let last = b.register(1);
        asked += 1;
        b.answer(&last, "302 Moved", &format!("Contact: <sip:10.0.0.{n}>\r\n"));
        if b.status() == "failed" {
            break;
        }
    }
    assert_eq!(asked, 6);
    let mut b = Box::new(|_| {});
    let first = b.register(1);
    b.answer(&first, "380 Alternative Service", "Contact: <sip:10.0.0.51>\r\n");
    assert_eq!(b.status(), "failed", "that is another service");
}

#[test]
fn the_next_nonce_is_used() {
    let mut b = Box::new(|_| {});
    let first = b.register(1);
    b.answer(&first, "401 Unauthorized", &challenge("n1"));
    let second = b.register(1);
    assert_eq!(nonce(&second.0), ("n1".into(), "00000001".into()));
    b.accept(&second, "Authentication-Info: qop=auth, nextnonce=\"n2\"\r\n");
    let refresh = b.register(600);
    assert_eq!(nonce(&refresh.0), ("n2".into(), "00000001".into()));
    // Without one, the nonce count continues.
    b.accept(&refresh, "");
    let refresh = b.register(600);
    assert_eq!(nonce(&refresh.0), ("n2".into(), "00000002".into()));
    b.accept(&refresh, "Authentication-Info: nextnonce=\"n3\"\r\n");
    // It has expired without a stale flag: the password is still right.
    let refresh = b.register(600);
    assert_eq!(nonce(&refresh.0), ("n3".into(), "00000001".into()));
    b.answer(&refresh, "401 Unauthorized", &challenge("n4"));
    let again = b.register(1);
    assert_eq!(nonce(&again.0), ("n4".into(), "00000001".into()));
    // A second time the password counts as wrong.
    b.answer(&again, "401 Unauthorized", &challenge("n5"));
    assert_eq!(b.failure().0, "401 Unauthorized");
}

#[test]
fn challenges_of_proxy_and_registrar_are_both_answered() {
    let mut b = Box::new(|_| {});
    let first = b.register(1);
    b.answer(
        &first,
        "407 Proxy Authentication Required",
        "Proxy-Authenticate: Digest realm=\"edge\", nonce=\"p1\", qop=\"auth\"\r\n",
    );
    let second = b.register(1);
    let unknown = "WWW-Authenticate: Digest realm=\"r\", nonce=\"x\", algorithm=AKAv1-MD5\r\n";
    b.answer(&second, "401 Unauthorized", &format!("{unknown}{}", challenge("w1")));
    let third = b.register(1);
    let proxy = |r: &Request| {
        (credential(r, "Proxy-Authorization", "nonce"), credential(r, "Proxy-Authorization", "nc"))
    };
    assert_eq!(
        (proxy(&third.0), nonce(&third.0)),
        (("p1".into(), "00000002".into()), ("w1".into(), "00000001".into()))
    );
    // Each has its own next nonce.
    b.accept(
        &third,
        "Proxy-Authentication-Info: nextnonce=\"p2\"\r\nAuthentication-Info: nextnonce=\"w2\"\r\n",
    );
    let refresh = b.register(600);
    assert_eq!((proxy(&refresh.0).0.as_str(), nonce(&refresh.0).0.as_str()), ("p2", "w2"));
    // One of them is stale.
    b.answer(&refresh, "401 Unauthorized", &challenge("w3").replace("\r\n", ", stale=true\r\n"));
    let again = b.register(1);
    assert_eq!((proxy(&again.0).0.as_str(), nonce(&again.0).0.as_str()), ("p2", "w3"));
}

#[test]
fn registrars_determine_the_retry_interval() {
    for (status, more, at_least) in [
        ("503 Service Unavailable", "Retry-After: 700\r\n", 700),
        ("429 Too Many Requests", "Retry-After: 800 (later);duration=60\r\n", 800),
        ("404 Not Found", "Retry-After: 999999\r\n", 3600),
        ("503 Service Unavailable", "Retry-After: soon\r\n", 15),
    ] {
        let mut b = Box::new(|_| {});
        let first = b.register(1);
        b.answer(&first, status, more);
        let wait = b.failure().1;
        assert!((at_least..=at_least.max(31)).contains(&wait), "{status}: {wait}");
        let before = b.now.mono;
        b.register(4000);
        assert!(b.now.mono.duration_since(before) >= Duration::from_secs(wait), "{status}");
    }
    let mut b = Box::new(|f| f.expires_seconds = 60);
    let first = b.register(1);
    b.answer(&first, "423 Interval Too Brief", "Min-Expires: 1800\r\n");
    let second = b.register(1);
    assert_eq!(second.0.common.headers.get("Expires"), Some("1800"));
    b.answer(&second, "423 Interval Too Brief", "Min-Expires: 1800\r\n");
    assert_eq!(b.failure().0, "423 Interval Too Brief", "it was asked for already");
}
