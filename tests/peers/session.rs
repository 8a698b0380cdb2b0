//! Session timers with SIPp as the caller, in both roles: 90 s, refreshed after 45 s.

use crate::office::Office;
use crate::sipp::sipp;

#[test]
fn sessions_are_refreshed_at_half_time_in_both_roles() {
    // These callers only receive: missing media is no error.
    let office = Office::open_with("session", &[], |_| "[sip]\nsession_expires_s = 90\n".to_owned());
    // Called by us; it requests 100 s, so that we refresh after 50.
    let mut called = sipp(5612, "uas_session", &["-timeout", "120"]);
    let ours = office.originate(r#"{"type":"sip","uri":"sip:far@127.0.0.1:5612"}"#);
    office.event_of("leg.connected", &ours);
    let mut callers = Vec::new();
    for (scenario, port) in [("uac_refreshes", 5606), ("uac_is_refreshed", 5608)] {
        callers.push((scenario, sipp(port, scenario, &[&office.sip(), "-timeout", "120"])));
        office.answered();
    }
    for (scenario, mut caller) in callers {
        assert!(caller.wait().unwrap().success(), "{scenario}: not as expected");
    }
    assert!(called.wait().unwrap().success(), "422, a longer session, and a refresh at half time");
    for _ in 0..3 {
        assert_eq!(office.event("leg.disconnected")["cdr"]["reason"], "remote_bye");
    }
}
