//! Registration of real phones, and calls to them.

use crate::office::{Office, done};
use crate::phone::Phone;

const ANNA: &str = "[[sip.user]]\nname = \"anna\"\npassword = \"secret\"\n";
// With a password hash, only its own algorithm can be offered.
const BEN: &str = "[[sip.user]]\nname = \"ben\"\nha1 = \"a4da28c20f2a338b2f2c5d6290513755\"\n";
const CLEO: &str = "[[sip.user]]\nname = \"cleo\"\nha1_sha256 = \"a9edf6b533f5e5e2cbcb87d067880e4e9b33c3e1b72fc41b0687a090ddb9d79b\"\n";

fn office(name: &str, users: &[&str]) -> Office {
    let users = users.concat();
    Office::open_with(name, &[], |_| format!("[sip]\ndomains = [\"branch.test\"]\n{users}"))
}

fn registering(office: &Office, port: u16, user: &str, password: &str) -> Phone {
    let password = format!("set:password={password}");
    let registrar = format!("set:registrar=sip:{}", office.sip());
    let own = ["set:domain=branch.test", "set:reg_interval=60", password.as_str(), registrar.as_str()];
    office.phone_of(port, user, &own)
}

#[test]
fn phones_register_and_all_of_them_ring() {
    let office = office("registrar", &[ANNA]);
    let mut a = registering(&office, 5660, "anna", "secret");
    let mut b = registering(&office, 5664, "anna", "secret");
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

    // One phone unregisters, the other is removed over the API.
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

/// Offices that challenge all phones with both algorithms, with MD5, and with SHA-256.
const OFFICES: [(&str, u16, &str, &[&str]); 3] = [
    ("anna", 5670, "both", &[ANNA]),
    ("ben", 5674, "md5", &[ANNA, BEN]),
    ("cleo", 5676, "sha256", &[ANNA, CLEO]),
];

#[test]
fn a_wrong_password_registers_nobody() {
    for (user, port, kind, users) in OFFICES {
        let office = office(&format!("registrar-bad-{kind}"), users);
        let mut phone = registering(&office, port, user, "wrong");
        phone.say("register");
        let failed = phone.wait("failed");
        assert!(failed["error"].as_str().unwrap().contains("403"), "{failed}");
        assert_eq!(office.gateway.get("/v1/sip/registrations").json()["bindings"], serde_json::json!([]));
    }
}

#[test]
fn a_phone_registers_with_md5_and_one_with_sha_256() {
    for (user, port, kind, users) in &OFFICES[1..] {
        let office = office(&format!("registrar-{kind}"), users);
        let mut phone = registering(&office, port - 18, user, "secret");
        phone.order("register");
        assert_eq!(office.event("sip.registration_active")["aor"], format!("sip:{user}@branch.test"));
        let leg = office.originate(&format!(r#"{{"type":"sip","uri":"sip:{user}@branch.test"}}"#));
        phone.wait("incoming");
        phone.say("answer");
        office.event_of("leg.connected", &leg);
        done(office.gateway.delete(&format!("/v1/legs/{leg}")), "hung_up");
        office.event_of("leg.disconnected", &leg);
    }
}
