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
    let office = Office::open("session", &[]);
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
    for _ in 0..2 {
        assert_eq!(office.event("leg.disconnected")["cdr"]["reason"], "remote_bye");
    }
}
