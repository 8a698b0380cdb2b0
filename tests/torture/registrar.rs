//! The REGISTER cases of RFC 4475 with a registrar: challenged like any other, then accepted.

use std::rc::Rc;
use std::time::{Duration, Instant};

use branchline::base::rng::Rng;
use branchline::base::time::{Now, Utc};
use branchline::config::{Sources, load};
use branchline::gateway::Gateway;
use branchline::sip::digest::{Authentication, Credentials};
use branchline::sip::flow::{Flow, Transport};
use branchline::sip::locals::Locals;
use branchline::wire::challenge::Challenge;
use branchline::wire::{Message, parse};

use super::rows::cases;

/// The user is the one in To; any domain is accepted.
const SETTINGS: &str =
    "[sip]\ndomains = [\"example.com\", \"192.168.7.1\"]\nuser = [{ name = \"called\", password = \"p\" }]\n";

fn say(gw: &mut Gateway, now: Now, message: &[u8]) -> String {
    let source = Flow { transport: Transport::Udp, addr: "192.168.7.9:5060".parse().unwrap(), conn: None };
    gw.handle_message(now, source, message);
    let mut text = String::new();
    while let Some(t) = gw.poll_transmit() {
        text.push_str(&String::from_utf8_lossy(&t.bytes));
    }
    text
}

/// The response to a REGISTER without credentials, the one with credentials, and the resulting contacts.
fn register(message: &[u8]) -> (String, String, Vec<String>) {
    let config = load(&Sources { file: Some(("t", SETTINGS)), env: &[] }).unwrap();
    let locals = Locals { v4: "192.168.7.1:5060".parse().ok(), ..Locals::default() };
    let mut gw = Gateway::new(Rc::new(config), locals, Rng::from_number(1));
    let now = Now { mono: Instant::now(), utc: Utc(Duration::from_secs(1_776_330_000)) };
    let first = say(&mut gw, now, message);
    let Ok(Message::Response(challenge)) = parse(first.as_bytes()) else { panic!("{first}") };
    let mut auth = Authentication::new(Credentials { username: "called".into(), password: "p".into() });
    assert!(auth.challenged(Challenge::all(&challenge.common.headers)), "{first}");
    let text = String::from_utf8_lossy(message).into_owned();
    let uri = text.split(' ').nth(1).unwrap();
    let (name, value) = auth.headers("REGISTER", uri, "cnonce").remove(0);
    let again = text
        .replacen("CSeq: 7 ", "CSeq: 8 ", 1)
        .replacen("branch=z9hG4bK", "branch=z9hG4bK2", 1)
        .replacen("\r\n", &format!("\r\n{name}: {value}\r\n"), 1);
    let second = say(&mut gw, now, again.as_bytes());
    (first, second, gw.view().registrations().into_iter().map(|b| b.contact).collect())
}

#[test]
fn unusual_registrations_are_accepted_and_their_contacts_stored() {
    for (name, contact) in [
        ("regaut01", None),
        ("cparam01", Some("sip:+19725552222@gw1.example.net")),
        ("cparam02", Some("sip:+19725552222@gw1.example.net;unknownparam")),
        ("regescrt", Some("sip:user@example.com?Route=%3Csip:sip.example.com%3E")),
    ] {
        let (_, _, message, _) = cases().into_iter().find(|c| c.1 == name).unwrap();
        let (first, second, contacts) = register(&message);
        println!("{name:10} {} then {}", &first[8..11], &second[8..11]);
        assert!(
            first.starts_with("SIP/2.0 401 ") && second.starts_with("SIP/2.0 200 "),
            "{name}: {first}{second}"
        );
        if let Some(contact) = contact {
            assert_eq!(contacts, [contact], "{name}");
            assert!(second.contains(&format!("Contact: <{contact}>;expires=")), "{name}: {second}");
        }
    }
}
