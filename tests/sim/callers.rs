//! Claimed and authenticated identity of callers.

use branchline::sip::flow::{Flow, Transport};
use serde_json::{Value, json};

use crate::hand::along;
use crate::passwords::{Office, answer, udp};

const DESK: &str = "sip:desk@10.0.0.1";

/// An INVITE with this From and these fields: the response code, and the caller fields of `leg.ringing`.
fn calls(office: &mut Office, at: Flow, from: &str, more: &str) -> (u16, Option<Value>) {
    let text = office.request("INVITE", DESK, from, DESK, more);
    office.events.clear();
    let code = office.says(at, &text).map_or(0, |a| a.0);
    let rang = office.events.iter().find(|e| e.kind() == "leg.ringing");
    (code, rang.map(|e| serde_json::from_str(&e.to_json("").to_string()).unwrap()))
}

/// The same, authenticated as a user.
fn proves(office: &mut Office, at: Flow, from: &str, name: &str, password: &str) -> (u16, Option<Value>) {
    let nonce = office.nonce(at, name);
    calls(office, at, from, &answer("INVITE", DESK, name, password, &nonce, 0))
}

fn who(rang: &Option<Value>) -> [Value; 3] {
    let rang = rang.as_ref().expect("leg.ringing");
    ["from", "authenticated", "auth_username"].map(|key| rang[key].clone())
}

#[test]
fn an_authenticated_user_cannot_call_as_another() {
    // In an accepted network it makes no difference.
    for accepted in [true, false] {
        let mut office = Office::new(accepted);
        let at = udp("10.0.0.9:5060");
        for boss in
            ["sip:boss@b.example", "sip:%62oss@b.example", "sip:boss@elsewhere.example", "sip:boss@10.0.0.9"]
        {
            let (code, rang) = proves(&mut office, at, boss, "anna", "pa");
            assert_eq!((code, rang), (403, None), "{boss}");
        }
        let (code, rang) = proves(&mut office, at, "sip:anna@b.example", "anna", "pa");
        assert_eq!((code, who(&rang)), (180, [json!("anna"), json!(true), json!("anna")]));
        // A From that is no user name is shown with the authenticated user.
        for other in ["sip:Boss@b.example", "sip:4930123@b.example", "sip:anonymous@anonymous.invalid"] {
            let (code, rang) = proves(&mut office, at, other, "anna", "pa");
            assert_eq!((code, who(&rang)), (180, [json!("anna"), json!(true), json!("anna")]), "{other}");
        }
    }
}

#[test]
fn an_unauthenticated_caller_is_shown_as_such() {
    let mut office = Office::new(true);
    let at = udp("10.0.0.9:5060");
    let (code, rang) = calls(&mut office, at, "sip:boss@b.example", "");
    assert_eq!((code, who(&rang)), (180, [json!("boss"), json!(false), Value::Null]));
    let (code, rang) = proves(&mut office, at, "sip:boss@b.example", "boss", "wrong");
    assert_eq!((code, who(&rang)), (180, [json!("boss"), json!(false), Value::Null]), "its network may call");
    assert_eq!(office.gw.view().numbers().counters.signalling.wrong_passwords, 1, "but not guess");
    for _ in 0..20 {
        office.signs_in(at, "boss", "wrong");
    }
    assert_eq!(office.gw.view().numbers().counters.signalling.wrong_passwords, 10);
    let (_, rang) = proves(&mut office, at, "sip:x@b.example", "boss", "pb");
    assert_eq!(who(&rang)[1], json!(false), "nor be told that it guessed right");
}

#[test]
fn a_phone_that_has_registered_calls_as_itself() {
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let stream = transport.is_reliable();
        let mut office = Office::new(true);
        let at = along(transport, "10.0.0.9:40001", stream.then_some(5));
        assert_eq!(office.signs_in(at, "anna", "pa"), 200);
        // The source address of a datagram is no proof before anything was answered.
        let proof = if stream {
            [json!("anna"), json!(true), json!("anna")]
        } else {
            [json!("anna"), json!(false), Value::Null]
        };
        let (code, rang) = calls(&mut office, at, "sip:anna@b.example", "");
        assert_eq!((code, who(&rang)), (180, proof), "{transport:?}");
        assert_eq!(calls(&mut office, at, "sip:boss@b.example", "").0, 403, "{transport:?}");
        // Another connection or port of its address is another caller.
        let other = along(transport, "10.0.0.9:40002", stream.then_some(6));
        let (code, rang) = calls(&mut office, other, "sip:boss@b.example", "");
        assert_eq!((code, who(&rang)), (180, [json!("boss"), json!(false), Value::Null]), "{transport:?}");
        // Behind a proxy several users share one source.
        assert_eq!(office.signs_in(at, "boss", "pb"), 200);
        for name in ["anna", "boss"] {
            let (code, rang) = calls(&mut office, at, &format!("sip:{name}@b.example"), "");
            assert_eq!((code, who(&rang)[1] == json!(stream)), (180, true), "{transport:?} {name}");
            assert_eq!(who(&rang)[0], json!(name));
        }
        let (code, rang) = calls(&mut office, at, "sip:4930@b.example", "");
        assert_eq!((code, who(&rang)), (180, [json!("4930"), json!(false), Value::Null]), "{transport:?}");
    }
}
