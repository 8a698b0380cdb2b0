//! A phone that requires reliable provisional responses, as caller and callee.

use crate::office::{Office, done};
use crate::phone::rms;

#[test]
fn a_phone_that_insists_on_100rel_calls_and_is_called() {
    let office = Office::open("prack", &[]);
    let mut phone = office.phone_with(5610, &["100rel=required"]);
    phone.say(&format!("dial sip:desk@{}", office.sip()));
    let leg = office.event("leg.ringing")["leg_id"].as_str().unwrap().to_owned();
    let verb = |path: &str, body: &str| office.gateway.post(&format!("/v1/legs/{leg}/{path}"), body);
    // 180 was acknowledged, otherwise this could not follow.
    done(verb("early-media", ""), "early_media");
    assert_eq!(verb("play", r#"{"tone":"us_dial"}"#).status, 200);
    phone.hear(0.5);
    assert!(rms(&phone.hear(0.5)) > 500.0, "heard before the answer");
    done(verb("answer", ""), "answering");
    phone.wait("established");
    assert_eq!(office.event("leg.connected")["leg_id"], leg.as_str());
    phone.say("hangup");
    assert_eq!(office.ended(&leg), "remote_bye");

    let call = office.gateway.post("/v1/legs", r#"{"type":"sip","uri":"sip:user@127.0.0.1:5610"}"#);
    let leg = call.json()["id"].as_str().unwrap().to_owned();
    phone.wait("incoming");
    phone.say("answer");
    phone.wait("established");
    office.events.wait("connected", 10, |l| (l.contains("leg.connected") && l.contains(&leg)).then_some(()));
    assert_eq!(office.gateway.delete(&format!("/v1/legs/{leg}")).status, 200);
    phone.wait("ended");
}
