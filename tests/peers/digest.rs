//! Digest authentication with SIPp: INVITE and BYE are challenged, in different realms.

use crate::office::Office;
use crate::sipp::sipp;

#[test]
fn a_call_is_placed_and_ended_with_a_password() {
    let office = Office::open("digest", &[]);
    let mut far = sipp(5604, "uas_auth", &["-timeout", "30"]);
    let call = |auth: &str| {
        let body = format!(r#"{{"type":"sip","uri":"sip:far@127.0.0.1:5604"{auth}}}"#);
        let reply = office.gateway.post("/v1/legs", &body);
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()["id"].as_str().unwrap().to_owned()
    };
    let leg = call(r#","auth":{"username":"alice","password":"secret"}"#);
    assert_eq!(office.event("leg.connected")["leg_id"], leg.as_str());
    assert_eq!(office.gateway.delete(&format!("/v1/legs/{leg}")).status, 200);
    assert_eq!(office.ended(&leg), "api_hangup");
    // Every request challenged by SIPp was sent with the right credentials.
    assert!(far.wait().unwrap().success(), "sipp saw what it expected");
}

#[test]
fn a_wrong_password_ends_the_call_and_is_not_tried_twice() {
    let office = Office::open("digest-wrong", &[]);
    let mut far = sipp(5602, "uas_auth", &["-timeout", "30"]);
    let leg = office.originate(
        r#"{"type":"sip","uri":"sip:far@127.0.0.1:5602","auth":{"username":"alice","password":"wrong"}}"#,
    );
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "forbidden");
    assert!(!far.wait().unwrap().success(), "sipp saw a wrong password");
}

#[test]
fn credentials_of_wrong_shape_are_refused() {
    let office = Office::open("digest-bad", &[]);
    for (auth, why) in [
        (r#""secret""#, "expected an object with named fields"),
        (r#"["alice","secret"]"#, "expected an object with named fields"),
        (r#"{"username":7,"password":"x"}"#, "expected a string"),
        (r#"{"username":"a\n","password":"x"}"#, "auth.username"),
    ] {
        let body = format!(r#"{{"type":"sip","uri":"sip:far@127.0.0.1:5604","auth":{auth}}}"#);
        let reply = office.gateway.post("/v1/legs", &body);
        assert!(reply.status == 400 && reply.error().contains(why), "{auth}: {reply:?}");
    }
}
