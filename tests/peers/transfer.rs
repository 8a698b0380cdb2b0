//! Transfers with real phones: ours and theirs, blind and attended, refused.

use crate::office::Office;

const DIALS: &[(&str, &str)] = &[("SIP_REFER_AUTO_DIAL", "true")];

/// Requests the transfer of a leg to a phone.
fn transfer(office: &Office, leg: &str, port: u16, replaces: Option<&str>) {
    let mut body = serde_json::json!({ "target": format!("sip:user@127.0.0.1:{port}") });
    if let Some(other) = replaces {
        body["replaces_leg_id"] = other.into();
    }
    let reply = office.gateway.post(&format!("/v1/legs/{leg}/transfer"), &body.to_string());
    assert_eq!((reply.status, &reply.json()["status"]), (202, &"transfer_initiated".into()), "{reply:?}");
    let kind = if replaces.is_some() { "attended" } else { "blind" };
    assert_eq!(office.event("leg.transfer_initiated")["kind"], kind);
}

#[test]
fn we_transfer_a_phone_to_another() {
    let office = Office::open("we-blind", &[]);
    let (mut a, leg) = office.caller_in_room(5580, "r");
    let mut b = office.phone(5582);
    // Refused by the far end: the call goes on.
    transfer(&office, &leg, 5582, None);
    a.wait("asked to transfer");
    a.say("reject 603");
    let failed = office.event("leg.transfer_failed");
    assert_eq!((&failed["leg_id"], &failed["status_code"]), (&leg.as_str().into(), &603.into()));
    assert_eq!(office.gateway.get(&format!("/v1/legs/{leg}")).json()["state"], "connected");
    // Carried out, from hold.
    crate::office::done(office.gateway.post(&format!("/v1/legs/{leg}/hold"), ""), "held");
    transfer(&office, &leg, 5582, None);
    a.wait("asked to transfer");
    a.say("accept");
    b.wait("incoming");
    b.say("answer");
    b.wait("established");
    assert_eq!(office.event("leg.transfer_completed")["status_code"], 200);
    assert_eq!(office.ended(&leg), "transfer_completed");
    a.hears(&b);
    b.hears(&a);
}

#[test]
fn we_connect_two_phones_by_attended_transfer() {
    let office = Office::open("we-attended", &[]);
    let (mut a, leg) = office.caller_in_room(5584, "r");
    let mut b = office.phone(5586);
    let call = r#"{"type":"sip","uri":"sip:user@127.0.0.1:5586"}"#;
    let other = office.gateway.post("/v1/legs", call).json()["id"].as_str().unwrap().to_owned();
    b.wait("incoming");
    b.say("answer");
    b.wait("established");
    office
        .events
        .wait("connected", 10, |l| (l.contains("leg.connected") && l.contains(&other)).then_some(()));
    let unknown = office.gateway.post(
        &format!("/v1/legs/{leg}/transfer"),
        r#"{"target":"sip:user@127.0.0.1:5586","replaces_leg_id":"nobody"}"#,
    );
    assert_eq!(unknown.status, 409, "{unknown:?}");
    // Refused: both calls go on.
    transfer(&office, &leg, 5586, Some(&other));
    a.wait("asked to transfer");
    a.say("reject 603");
    assert_eq!(office.event("leg.transfer_failed")["status_code"], 603);
    for id in [&leg, &other] {
        assert_eq!(office.gateway.get(&format!("/v1/legs/{id}")).json()["state"], "connected");
    }
    transfer(&office, &leg, 5586, Some(&other));
    a.wait("asked to transfer");
    a.say("accept");
    // The replacing call rings: this phone leaves the answer to its user.
    b.wait("incoming");
    b.say("answer");
    assert_eq!(office.event("leg.transfer_completed")["status_code"], 200);
    a.hears(&b);
    b.hears(&a);
    assert_eq!(office.gateway.get("/v1/legs").json(), serde_json::json!([]), "both legs have ended");
}

#[test]
fn a_phone_transfers_its_caller_to_another() {
    let office = Office::open("they-blind", DIALS);
    let (mut a, leg) = office.caller_in_room(5588, "r");
    let (b, _) = office.caller_in_room(5590, "r");
    let mut c = office.phone(5592);
    // No such user: reported truthfully, and the call continues.
    a.say("transfer sip:nobody@127.0.0.1:5592");
    assert_eq!(office.event("leg.transfer_requested")["declined"], false);
    let failed = office.event("leg.transfer_failed");
    assert_eq!((&failed["leg_id"], &failed["status_code"]), (&leg.as_str().into(), &404.into()));
    a.wait("failed");
    b.hears(&a);
    a.say("transfer sip:user@127.0.0.1:5592");
    c.wait("incoming");
    c.say("answer");
    c.wait("established");
    let completed = office.event("leg.transfer_completed");
    assert_eq!((&completed["leg_id"], &completed["status_code"]), (&leg.as_str().into(), &200.into()));
    a.wait("done");
    assert_eq!(office.ended(&leg), "transfer_completed");
    b.hears(&c);
    c.hears(&b);
}

#[test]
fn a_phone_connects_two_rooms_by_attended_transfer() {
    let office = Office::open("they-attended", DIALS);
    let (mut a, first) = office.caller_in_room(5594, "one");
    let (b, _) = office.caller_in_room(5596, "one");
    let (c, _) = office.caller_in_room(5598, "two");
    let second = office.call_in(&mut a, "two");
    a.say("attended");
    let taken = office.event("leg.transfer_requested");
    assert_eq!((&taken["leg_id"], &taken["kind"]), (&first.as_str().into(), &"attended".into()));
    a.wait("done");
    let mut ended: Vec<String> = Vec::new();
    for _ in 0..2 {
        ended.push(office.event("leg.disconnected")["leg_id"].as_str().unwrap().to_owned());
    }
    ended.sort();
    let mut wanted = vec![first, second];
    wanted.sort();
    assert_eq!(ended, wanted);
    b.hears(&c);
    c.hears(&b);
}

#[test]
fn transfers_are_declined_unless_configured() {
    let office = Office::open("declined", &[]);
    let (mut a, leg) = office.caller_in_room(5600, "r");
    a.say("transfer sip:user@127.0.0.1:5602");
    let asked = office.event("leg.transfer_requested");
    assert_eq!((&asked["leg_id"], &asked["declined"]), (&leg.as_str().into(), &true.into()));
    a.wait("failed");
    assert_eq!(office.gateway.get(&format!("/v1/legs/{leg}")).json()["state"], "connected");
    let second = office.call_in(&mut a, "two");
    a.say("attended");
    let asked = office.event("leg.transfer_requested");
    assert_eq!((&asked["kind"], &asked["declined"]), (&"attended".into(), &true.into()));
    a.wait("failed");
    for id in [&leg, &second] {
        // The phone holds one call during the other.
        let state = office.gateway.get(&format!("/v1/legs/{id}")).json()["state"].clone();
        assert!(state == "connected" || state == "held", "{state}");
    }
}
