//! A registrar and one phone, message by message: different forms of contacts, phones that restart, late
//! REGISTERs, the order of challenges.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::described::next_event;
use branchline::base::rng::Rng;
use branchline::base::time::{Now, Utc};
use branchline::config::{Sources, load};
use branchline::gateway::Gateway;
use branchline::sip::digest::{Authentication, Credentials};
use branchline::sip::flow::{Flow, Transport};
use branchline::sip::locals::Locals;
use branchline::wire::challenge::Challenge;
use branchline::wire::{Message, Response, parse};

const BRANCH: &str = "[sip]\ndomains = [\"branch.example\", \"[2001:db8::1]\"]\nuser = [{ name = \"anna\", password = \"p\" }]\n";

/// A registrar with a phone that knows the password of `anna`.
struct Branch {
    gw: Gateway,
    now: Now,
    serial: u32,
    source: &'static str,
}

impl Branch {
    fn new(settings: &str) -> Self {
        let config = load(&Sources { file: Some(("t", settings)), env: &[] }).unwrap();
        let locals = Locals { v4: "10.0.0.1:5060".parse().ok(), ..Locals::default() };
        let gw = Gateway::new(Rc::new(config), locals, Rng::from_number(1));
        let now = Now { mono: Instant::now(), utc: Utc(Duration::from_secs(1_776_330_000)) };
        Self { gw, now, serial: 0, source: "10.0.0.9:5060" }
    }

    fn say(&mut self, text: &str) -> Response {
        let source = Flow { transport: Transport::Udp, addr: self.source.parse().unwrap(), conn: None };
        self.gw.handle_message(self.now, source, text.as_bytes());
        let answer = self.gw.poll_transmit().expect("an answer").bytes;
        match parse(&answer) {
            Ok(Message::Response(r)) => *r,
            _ => panic!("{}", String::from_utf8_lossy(&answer)),
        }
    }

    /// The answer to a REGISTER with this Call-ID, CSeq and the right password; `more`: further header
    /// fields.
    fn register_as(&mut self, to: &str, call_id: &str, cseq: u32, more: &str) -> Response {
        let mut auth = Authentication::new(Credentials { username: "anna".into(), password: "p".into() });
        let mut authorization = String::new();
        loop {
            self.serial += 1;
            let n = self.serial;
            let answer = self.say(&format!(
                "REGISTER sip:branch.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
                 From: <{to}>;tag={n}\r\nTo: <{to}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n{more}{authorization}\
                 Content-Length: 0\r\n\r\n"
            ));
            if answer.code != 401 || !authorization.is_empty() {
                return answer;
            }
            assert!(auth.challenged(Challenge::all(&answer.common.headers)));
            let (name, value) = auth.headers("REGISTER", "sip:branch.example", "c").remove(0);
            authorization = format!("{name}: {value}\r\n");
        }
    }

    fn register(&mut self, call_id: &str, cseq: u32, more: &str) -> Response {
        self.register_as("sip:anna@branch.example", call_id, cseq, more)
    }

    /// Registers one contact for ten minutes.
    fn bind(&mut self, call_id: &str, cseq: u32, contact: &str) -> u16 {
        self.register(call_id, cseq, &format!("Contact: <{contact}>\r\nExpires: 600\r\n")).code
    }

    fn contacts(&self) -> Vec<String> {
        self.gw.view().registrations().into_iter().map(|b| b.contact).collect()
    }

    fn later(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.gw.handle_timeout(self.now);
    }

    fn events(&mut self) -> Vec<&'static str> {
        std::iter::from_fn(|| next_event(&mut self.gw)).map(|e| e.kind()).collect()
    }
}

#[test]
fn equivalent_contacts_are_one_binding() {
    for (n, form) in [
        "sip:anna@10.0.0.9:5062;line=ab12;transport=udp",
        "sip:anna@10.0.0.9:5062;Transport=UDP;LINE=ab12",
        "SIP:anna@10.0.0.9:5062;transport=udp;line=ab12",
        "sip:%61nna@10.0.0.9:05062;transport=udp;line=%61b12",
        "sip:anna@10.0.0.9:5062;transport=udp;line=ab12;ob",
        "sip:anna@[::ffff:10.0.0.9]:5062;transport=udp;line=ab12",
    ]
    .into_iter()
    .enumerate()
    {
        let mut branch = Branch::new(BRANCH);
        let first = "sip:anna@10.0.0.9:5062;transport=udp;line=ab12";
        assert_eq!(branch.bind("a", 1, first), 200);
        assert_eq!(branch.bind("a", 2, form), 200, "{form}");
        assert_eq!(branch.contacts().len(), 1, "{form}: {:?}", branch.contacts());
        if n % 2 == 0 {
            let gone = branch.register("a", 3, &format!("Contact: <{first}>;expires=0\r\n"));
            assert_eq!((gone.code, gone.common.contacts.len()), (200, 0), "{form}");
        } else {
            let now = branch.now;
            branch.gw.accounts(now, |a| a.remove_registration("anna", Some(first))).unwrap();
        }
        assert_eq!(branch.contacts(), Vec::<String>::new(), "{form}");
        assert_eq!(branch.events(), ["sip.registration_active", "sip.registration_expired"], "{form}");
    }
}

#[test]
fn contacts_that_differ_are_kept_apart() {
    let first = "sip:anna@10.0.0.9:5060;line=1";
    for form in [
        "sip:anna@10.0.0.9;line=1",
        "sip:Anna@10.0.0.9:5060;line=1",
        "sip:anna@10.0.0.9:5060;line=2",
        "sip:anna@10.0.0.9:5060;line=1;transport=udp",
        "sip:anna@10.0.0.9:5060;line=1;user=phone",
        "sips:anna@10.0.0.9:5060;line=1",
        "sip:anna:x@10.0.0.9:5060;line=1",
    ] {
        let mut branch = Branch::new(BRANCH);
        assert_eq!((branch.bind("a", 1, first), branch.bind("a", 2, form)), (200, 200), "{form}");
        assert_eq!(branch.contacts(), [first, form]);
        let now = branch.now;
        branch.gw.accounts(now, |a| a.remove_registration("sip:%61nna@BRANCH.example", Some(form))).unwrap();
        assert_eq!(branch.contacts(), [first]);
        assert!(branch.gw.accounts(now, |a| a.remove_registration("anna@elsewhere.example", None)).is_err());
        assert!(
            branch.gw.accounts(now, |a| a.remove_registration("anna", Some(form))).is_err(),
            "{form} is gone"
        );
        assert!(branch.gw.accounts(now, |a| a.remove_registration("anna@branch.example", None)).is_ok());
    }
}

#[test]
fn users_and_domains_are_matched_in_all_equivalent_forms() {
    for to in [
        "sip:%61nna@branch.example",
        "SIP:anna@BRANCH.EXAMPLE.",
        "sip:anna@branch.example;x=1",
        "sip:anna@[2001:DB8:0:0::1]",
    ] {
        let mut branch = Branch::new(BRANCH);
        let taken = branch.register_as(to, "a", 1, "Contact: <sip:anna@10.0.0.9>\r\n");
        assert_eq!((taken.code, branch.contacts().len()), (200, 1), "{to}");
    }
    let mut branch = Branch::new(BRANCH);
    assert_eq!(branch.register_as("sip:Anna@branch.example", "a", 1, "").code, 403);
}

#[test]
fn a_restarted_phone_is_accepted_with_a_low_cseq() {
    let mut branch = Branch::new(BRANCH);
    assert_eq!(branch.bind("mac", 500, "sip:anna@10.0.0.9:5071"), 200);
    // Overtaken or retransmitted requests are rejected for this contact, in any form.
    for (cseq, contact) in [(499, "sip:anna@10.0.0.9:5071"), (500, "sip:%61nna@10.0.0.9:5071")] {
        assert_eq!(branch.bind("mac", cseq, contact), 500);
        let gone = branch.register("mac", cseq, &format!("Contact: <{contact}>;expires=0\r\n"));
        assert_eq!(gone.code, 500);
    }
    assert_eq!(branch.register("mac", 500, "Contact: *\r\nExpires: 0\r\n").code, 500);
    assert_eq!(branch.contacts(), ["sip:anna@10.0.0.9:5071"]);
    // Another port is a new contact, and a query is always allowed.
    assert_eq!(branch.bind("mac", 1, "sip:anna@10.0.0.9:5072"), 200);
    let all = branch.register("mac", 1, "");
    assert_eq!((all.code, all.common.contacts.len()), (200, 2));
    // Another Call-ID has its own CSeq.
    assert_eq!(branch.bind("other", 1, "sip:anna@10.0.0.9:5071"), 200);
    assert_eq!(branch.contacts().len(), 2);
    // One late contact of several rejects the request.
    let both = "Contact: <sip:anna@10.0.0.9:5073>, <sip:anna@10.0.0.9:5072>\r\nExpires: 600\r\n";
    assert_eq!(branch.register("mac", 1, both).code, 500);
    assert_eq!(branch.contacts().len(), 2, "nothing of it was done");
    assert_eq!(branch.register("mac", 2, both).code, 200);
    assert_eq!(branch.contacts().len(), 3);
    // A removed binding has no CSeq.
    assert_eq!(branch.register("mac", 3, "Contact: *\r\nExpires: 0\r\n").code, 200);
    assert_eq!(branch.bind("mac", 1, "sip:anna@10.0.0.9:5072"), 200);
    branch.later(601);
    assert_eq!(branch.contacts(), Vec::<String>::new());
    assert_eq!(branch.bind("mac", 1, "sip:anna@10.0.0.9:5072"), 200);
}

#[test]
fn several_contacts_are_bound_atomically() {
    let mut branch = Branch::new(BRANCH);
    let port = |n: u16| format!("<sip:anna@10.0.0.9:{n}>");
    let two = branch.register(
        "a",
        1,
        &format!("Contact: {};q=0.5;expires=300, {}\r\nExpires: 200\r\n", port(1), port(2)),
    );
    let told: Vec<String> = two.common.contacts.iter().map(ToString::to_string).collect();
    assert_eq!(told, [format!("{};expires=300", port(1)), format!("{};expires=200", port(2))]);
    for (more, code) in [
        (format!("Contact: {}, {};expires=5\r\n", port(3), port(4)), 423),
        (format!("Contact: {}, <mailto:a@h>\r\n", port(3)), 400),
        (format!("Contact: *\r\nContact: {}\r\nExpires: 0\r\n", port(3)), 400),
        ("Contact: *\r\nExpires: 300\r\n".to_owned(), 400),
        ("Contact: *\r\n".to_owned(), 400),
        (format!("Contact: {}\r\n", (10..16).map(port).collect::<Vec<_>>().join(", ")), 403),
    ] {
        assert_eq!(branch.register("a", 2, &more).code, code, "{more}");
        assert_eq!(branch.contacts().len(), 2, "{more}");
    }
    // A new contact replaces the oldest, but none of the same request.
    for n in 3..=5 {
        branch.later(1);
        assert_eq!(branch.register("a", u32::from(n), &format!("Contact: {}\r\n", port(n))).code, 200);
    }
    branch.events();
    branch.later(1);
    let list = [6, 1, 3, 4, 5].map(port).join(", ");
    assert_eq!(branch.register("a", 9, &format!("Contact: {list}\r\n")).code, 200);
    assert_eq!(branch.contacts().len(), 5);
    assert!(!branch.contacts().contains(&"sip:anna@10.0.0.9:2".to_owned()));
    assert_eq!(branch.events(), ["sip.registration_expired", "sip.registration_active"]);
}

#[test]
fn challenges_do_not_depend_on_the_name() {
    let offered = |settings: &str, to: &str| -> Vec<String> {
        let mut branch = Branch::new(settings);
        let answer = branch.say(&format!(
            "REGISTER sip:branch.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
             From: <{to}>;tag=1\r\nTo: <{to}>\r\nCall-ID: a\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(answer.code, 401);
        Challenge::all(&answer.common.headers).iter().map(|c| c.algorithm.as_str().to_owned()).collect()
    };
    let hash = "0123456789abcdef0123456789abcdef";
    let anna = "{ name = \"anna\", password = \"p\" }".to_owned();
    let ben = format!("{{ name = \"ben\", ha1 = \"{hash}\" }}");
    let cleo = format!("{{ name = \"cleo\", ha1_sha256 = \"{hash}{hash}\" }}");
    for (users, order, want) in [
        (vec![&anna], "", vec!["SHA-256", "MD5"]),
        (vec![&anna], "sha256_first", vec!["SHA-256", "MD5"]),
        (vec![&anna], "md5_first", vec!["MD5", "SHA-256"]),
        (vec![&anna, &ben], "md5_first", vec!["MD5"]),
        (vec![&anna, &cleo], "md5_first", vec!["SHA-256"]),
    ] {
        let users: Vec<&str> = users.into_iter().map(String::as_str).collect();
        let order = if order.is_empty() { String::new() } else { format!("digest_order = \"{order}\"\n") };
        let settings =
            format!("[sip]\ndomains = [\"branch.example\"]\n{order}user = [{}]\n", users.join(", "));
        for name in ["anna", "ben", "cleo", "nobody"] {
            assert_eq!(offered(&settings, &format!("sip:{name}@branch.example")), want, "{name}: {settings}");
        }
    }
}
