//! Calls with linphone, whose RTP comes from another address than described.

use crate::office::{Office, done};
use crate::phone::Phone;

/// An office whose trunk to a phone at this port accepts RTP from loopback, regardless of the SDP.
fn office(name: &str, port: u16) -> Office {
    Office::open_with(name, &[], |_| {
        format!(
            "[sip]\ncodecs = [\"PCMU\"]\n[[sip.trunk]]\nid = \"lin\"\ntype = \"ip_ip\"\npeer_uri = \"sip:127.0.0.1:{port}\"\nrtp_from = [\"127.0.0.0/8\"]\n"
        )
    })
}

/// Both play their voice, and each hears the other.
fn talk(phone: &mut Phone, other: &Phone) {
    phone.say("play voice.wav");
    phone.say("record heard.wav");
    other.hears(phone);
    phone.hears(other);
}

#[test]
fn a_held_call_of_linphone_refuses_digits_until_resumed() {
    let office = office("linphone-in", 5880);
    let (other, _) = office.caller_in_room(5840, "r");
    let mut phone = Phone::linphone(office.dir(), 5880, "");
    phone.say(&format!("call sip:desk@{}", office.sip()));
    let leg = office.event("leg.ringing")["leg_id"].as_str().unwrap().to_owned();
    done(office.gateway.post("/v1/rooms/r/legs", &format!(r#"{{"leg_id":"{leg}"}}"#)), "added");
    phone.reads("connected");
    talk(&mut phone, &other);
    phone.say("7");
    assert_eq!(office.event_of("leg.dtmf", &leg)["digit"], "7");
    phone.say("pause");
    office.event_of("leg.hold", &leg);
    let dtmf = format!("/v1/legs/{leg}/dtmf");
    assert_eq!(office.gateway.post(&dtmf, r#"{"digits":"5"}"#).status, 409);
    phone.reads("is now paused");
    phone.say("resume");
    office.event_of("leg.unhold", &leg);
    assert_eq!(office.gateway.post(&dtmf, r#"{"digits":"5"}"#).status, 200);
    other.hears(&phone);
    phone.say("terminate all");
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "remote_bye");
}

#[test]
fn linphone_is_called_held_and_asks_for_a_transfer() {
    let office = office("linphone-out", 5884);
    let (other, _) = office.caller_in_room(5844, "r");
    let mut phone = Phone::linphone(office.dir(), 5884, "");
    let leg = office.originate(r#"{"type":"sip","uri":"sip:lin@127.0.0.1:5884","room_id":"r"}"#);
    phone.reads("Receiving new incoming call");
    phone.say("answer");
    office.event_of("leg.connected", &leg);
    talk(&mut phone, &other);
    let hold = format!("/v1/legs/{leg}/hold");
    done(office.gateway.post(&hold, ""), "held");
    done(office.gateway.delete(&hold), "resumed");
    other.hears(&phone);
    phone.say("transfer 1 sip:elsewhere@127.0.0.1:5999");
    assert_eq!(office.event_of("leg.transfer_requested", &leg)["declined"], true);
    done(office.gateway.delete(&format!("/v1/legs/{leg}")), "hung_up");
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "api_hangup");
}
