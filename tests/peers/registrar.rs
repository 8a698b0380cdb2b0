//! Real phones that register with the gateway, and calls to them.

use crate::office::{Office, done};
use crate::phone::Phone;

fn office(name: &str) -> Office {
    Office::open_with(name, &[], |_| {
        "[sip]\ndomains = [\"branch.test\"]\n[[sip.user]]\nname = \"anna\"\npassword = \"secret\"\n"
            .to_owned()
    })
}

fn registering(office: &Office, port: u16, password: &str) -> Phone {
    let password = format!("set:password={password}");
    let registrar = format!("set:registrar=sip:{}", office.sip());
    let own = ["set:domain=branch.test", "set:reg_interval=60", password.as_str(), registrar.as_str()];
    office.phone_of(port, "anna", &own)
}

#[test]
fn phones_register_and_all_of_them_ring() {
    let office = office("registrar");
    let mut a = registering(&office, 5660, "secret");
    let mut b = registering(&office, 5664, "secret");
    for phone in [&mut a, &mut b] {
        phone.order("register");
        let known = office.event("sip.registration_active");
        assert_eq!(known["aor"], "sip:anna@branch.test");
    }
    let list = office.gateway.get("/v1/sip/registrations").json();
    let bindings = list["bindings"].as_array().unwrap();
    assert_eq!(bindings.len(), 2, "{list}");
    assert_eq!(
        (&bindings[0]["transport"], &bindings[0]["granted_expires_seconds"]),
        (&"udp".into(), &60.into())
    );
    assert!(bindings[0]["user_agent"].as_str().unwrap().contains("baresip"), "{list}");

    let leg = office.originate(r#"{"type":"sip","uri":"sip:anna@branch.test","room_id":"r"}"#);
    a.wait("incoming");
    b.wait("incoming");
    b.say("answer");
    b.wait("established");
    assert_eq!(office.event("leg.connected")["leg_id"], leg.as_str());
    a.wait("ended");
    let c = office.caller_in_room(5668, "r").0;
    c.hears(&b); // the one who answered is heard
    done(office.gateway.delete(&format!("/v1/legs/{leg}")), "hung_up");
    b.wait("ended");
    assert_eq!(office.ended(&leg), "api_hangup");

    // One phone says goodbye, the other is forgotten by the API.
    a.order("unregister");
    assert_eq!(office.event("sip.registration_expired")["aor"], "sip:anna@branch.test");
    assert_eq!(office.gateway.delete("/v1/sip/registrations/anna@branch.test?contact=sip:x").status, 404);
    assert_eq!(office.gateway.delete("/v1/sip/registrations/sip:anna@branch.test").status, 204);
    assert_eq!(office.gateway.delete("/v1/sip/registrations/anna").status, 404);
    assert_eq!(office.gateway.get("/v1/sip/registrations").json()["bindings"], serde_json::json!([]));
    let leg = office.originate(r#"{"type":"sip","uri":"sip:anna@branch.test"}"#);
    office.events.wait("leg.disconnected", 20, |line| {
        let e: serde_json::Value = serde_json::from_str(line).ok()?;
        let ended = e["type"] == "leg.disconnected" && e["leg_id"] == leg.as_str();
        ended.then(|| assert_eq!(e["cdr"]["reason"], "unavailable"))
    });
}

#[test]
fn a_wrong_password_registers_nobody() {
    let office = office("registrar-bad");
    let mut a = registering(&office, 5670, "wrong");
    a.say("register");
    let failed = a.wait("failed");
    assert!(failed["error"].as_str().unwrap().contains("403"), "{failed}");
    assert_eq!(office.gateway.get("/v1/sip/registrations").json()["bindings"], serde_json::json!([]));
}
