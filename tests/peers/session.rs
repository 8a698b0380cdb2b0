//! Session timers with sipp as the caller, in both roles: 90 s, the refresh seen at 45 s.

use std::process::{Child, Command, Stdio};

use crate::office::{Office, done};
use crate::phone::script;

/// sipp with a scenario, calling the gateway from this port.
fn caller(office: &Office, scenario: &str, port: u16) -> Child {
    Command::new("sipp")
        .args(["-sf", script(scenario).to_str().unwrap(), &office.sip(), "-i", "127.0.0.1"])
        .args(["-p", &port.to_string(), "-m", "1", "-nostdin", "-timeout", "120", "-timeout_error"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sipp is installed by `make test`")
}

#[test]
fn sessions_are_refreshed_at_half_time_in_both_roles() {
    // These callers only listen: no media is missed.
    let office = Office::open_with("session", &[], |_| "[sip]\nsession_expires_s = 90\n".to_owned());
    // Called by us; it wants 100 s, so that we refresh after 50.
    let mut called = Command::new("sipp");
    called.args([
        "-sf",
        script("tests/peers/uas_session.xml").to_str().unwrap(),
        "-i",
        "127.0.0.1",
        "-p",
        "5612",
    ]);
    called.args(["-m", "1", "-nostdin", "-timeout", "120", "-timeout_error"]);
    let mut called = called.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let ours = office.originate(r#"{"type":"sip","uri":"sip:far@127.0.0.1:5612"}"#);
    office.event_of("leg.connected", &ours);
    let mut callers = Vec::new();
    for (scenario, port) in
        [("tests/peers/uac_refreshes.xml", 5606), ("tests/peers/uac_is_refreshed.xml", 5608)]
    {
        callers.push((scenario, caller(&office, scenario, port)));
        let leg = office.event("leg.ringing")["leg_id"].as_str().unwrap().to_owned();
        done(office.gateway.post(&format!("/v1/legs/{leg}/answer"), ""), "answering");
    }
    for (scenario, mut caller) in callers {
        assert!(caller.wait().unwrap().success(), "{scenario}: not as expected");
    }
    assert!(called.wait().unwrap().success(), "422, a longer session, and a refresh at half time");
    for _ in 0..3 {
        assert_eq!(office.event("leg.disconnected")["cdr"]["reason"], "remote_bye");
    }
}
