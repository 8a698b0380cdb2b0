//! NAT: between a phone and the gateway, and in front of the gateway.

use crate::office::{Office, done};
use crate::phone::{Phone, correlation, rms};
use crate::space::{Space, ip};

#[test]
fn a_phone_behind_nat_is_reached() {
    let mut router = Space::make("branchline-router");
    let mut home = Space::make("branchline-home");
    Space::cable(None, ("bln0", "198.51.100.1/24"), &mut router, ("bln1", "198.51.100.2/24"));
    Space::cable(Some(&router), ("bln2", "192.168.77.1/24"), &mut home, ("bln3", "192.168.77.2/24"));
    home.default_route("192.168.77.1");
    // All ports of the phone are translated.
    router.becomes_router(&["-A POSTROUTING -o bln1 -p udp -j MASQUERADE --to-ports 30000-31000"]);
    let office = Office::open_with("nat-phone", &[("SIP_BIND_IP", "198.51.100.1")], |_| {
        "[sip]\nsource_socket = true\naccept_from = [\"198.51.100.0/24\"]\n".to_owned()
    });
    let mut phone = Phone::in_space(&home, "192.168.77.2", office.dir(), 5620, "user", &[]);
    let leg = office.call_in(&mut phone, "lobby");
    let verb = |path: &str| office.gateway.post(&format!("/v1/legs/{leg}/{path}"), r#"{"tone":"us_dial"}"#);
    assert_eq!(verb("play").status, 200);
    // Audio reaches the phone through the router's ports, and vice versa.
    phone.hear(1.0);
    assert!(rms(&phone.hear(0.5)) > 500.0, "the tone is heard behind the router");
    done(office.gateway.post(&format!("/v1/legs/{leg}/hold"), ""), "held");
    assert_eq!(office.event("leg.hold")["leg_id"], leg.as_str(), "a re-INVITE reaches it");
    done(office.gateway.delete(&format!("/v1/legs/{leg}/hold")), "resumed");
    let record = office.gateway.post(&format!("/v1/legs/{leg}/record"), "{}");
    assert_eq!(record.status, 200, "{record:?}");
    phone.hear(2.0);
    assert_eq!(office.gateway.delete(&format!("/v1/legs/{leg}")).status, 200);
    phone.wait("ended");
    let file = office.event("recording.finished")["file"].as_str().unwrap().to_owned();
    said(&file, &phone);
}

#[test]
fn a_gateway_behind_nat_advertises_the_public_address() {
    let mut router = Space::make("branchline-gate");
    let mut world = Space::make("branchline-world");
    Space::cable(None, ("blw0", "192.168.78.1/24"), &mut router, ("blw1", "192.168.78.2/24"));
    Space::cable(Some(&router), ("blw2", "203.0.113.2/24"), &mut world, ("blw3", "203.0.113.9/24"));
    ip("route add 203.0.113.0/24 via 192.168.78.2");
    router.becomes_router(&[
        "-A PREROUTING -i blw2 -p udp -j DNAT --to-destination 192.168.78.1",
        "-A POSTROUTING -o blw2 -j MASQUERADE",
    ]);
    let env = [("SIP_BIND_IP", "192.168.78.1"), ("SIP_EXTERNAL_IP", "203.0.113.2")];
    let office =
        Office::open_with("nat-gateway", &env, |_| "[sip]\naccept_from = [\"203.0.113.0/24\"]\n".to_owned());
    let port = office.sip().rsplit(':').next().unwrap().to_owned();
    // The phone reaches the gateway only by the router's address.
    let mut phone = Phone::in_space(&world, "203.0.113.9", office.dir(), 5621, "user", &[]);
    phone.say(&format!("dial sip:desk@203.0.113.2:{port}"));
    let leg = office.answered();
    phone.wait("established");
    hears_and_is_heard(&office, &phone, &leg);
    phone.say("hangup");
    assert_eq!(office.ended(&leg), "remote_bye", "Contact names the router");

    let leg = office.originate(r#"{"type":"sip","uri":"sip:user@203.0.113.9:5621"}"#);
    phone.wait("incoming");
    phone.order("answer");
    office.event_of("leg.connected", &leg);
    hears_and_is_heard(&office, &phone, &leg);
    phone.say("hangup");
    assert_eq!(office.ended(&leg), "remote_bye");
}

fn hears_and_is_heard(office: &Office, phone: &Phone, leg: &str) {
    let verb = |path: &str, body: &str| office.gateway.post(&format!("/v1/legs/{leg}/{path}"), body);
    assert_eq!(verb("play", r#"{"tone":"us_dial"}"#).status, 200);
    phone.hear(1.0);
    assert!(rms(&phone.hear(0.5)) > 500.0, "the tone is heard");
    assert_eq!(verb("record", "{}").status, 200);
    phone.hear(2.0);
    assert_eq!(office.gateway.delete(&format!("/v1/legs/{leg}/record")).status, 200);
    let file = office.event("recording.finished")["file"].as_str().unwrap().to_owned();
    said(&file, phone);
}

/// The left channel of a recording is the phone's voice, at 8 kHz.
fn said(file: &str, phone: &Phone) {
    let mut wav = hound::WavReader::open(file).unwrap();
    let each = usize::from(wav.spec().channels) * wav.spec().sample_rate as usize / 8000;
    let samples: Vec<i16> = wav.samples().map(Result::unwrap).collect();
    let left: Vec<i16> = samples.iter().step_by(each).copied().collect();
    assert!(left.len() > 8000, "{} samples", left.len());
    assert!(correlation(&left[4000..], &phone.voice) > 0.9, "its voice comes through the router");
}
