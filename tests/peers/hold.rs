//! Hold and resume with a real phone in a room, from both ends.

use crate::office::{Office, done};
use crate::phone::rms;

#[test]
fn a_held_phone_is_disconnected_from_its_room_until_resumed() {
    let office = Office::open("hold", &[]);
    let (mut a, leg) = office.caller_in_room(5570, "r");
    let (b, _) = office.caller_in_room(5572, "r");
    let (gw, events) = (&office.gateway, &office.events);
    let path = format!("/v1/legs/{}/hold", leg);
    let held = || gw.get(&format!("/v1/legs/{}", leg)).json()["held"].as_bool().unwrap();
    b.hears(&a);

    // Local hold: neither hears the other, but playbacks to the held phone are heard.
    done(gw.post(&path, ""), "held");
    assert_eq!(events.json("type", "leg.hold", 10)["leg_id"], leg.as_str());
    assert!(held());
    assert_eq!(gw.post(&path, "").status, 409, "held already");
    b.hear(0.5);
    a.hear(0.5);
    assert!(rms(&b.hear(1.0)) < 20.0, "the room hears nothing of a held phone");
    assert!(rms(&a.hear(1.0)) < 20.0, "nor it of the room");
    let play = gw.post(&format!("/v1/legs/{}/play", leg), r#"{"tone":"us_dial"}"#);
    let play = play.json()["playback_id"].as_str().unwrap().to_owned();
    a.hear(0.5);
    assert!(rms(&a.hear(1.0)) > 500.0, "music on hold");
    done(gw.delete(&format!("/v1/legs/{}/play/{play}", leg)), "stopped");
    done(gw.delete(&path), "resumed");
    assert_eq!(events.json("type", "leg.unhold", 10)["leg_id"], leg.as_str());
    a.hear(0.5);
    b.hear(0.5);
    b.hears(&a);
    a.hears(&b);
    let not_held = gw.delete(&path);
    assert_eq!((not_held.status, not_held.error().as_str()), (409, "leg is not held"));

    // Remote hold: we cannot end it.
    a.order("hold");
    assert_eq!(events.json("type", "leg.hold", 10)["leg_id"], leg.as_str());
    assert!(held() && gw.post(&path, "").status == 409);
    assert!(gw.delete(&path).error().contains("only it can resume"));
    a.order("resume");
    assert_eq!(events.json("type", "leg.unhold", 10)["leg_id"], leg.as_str());
    b.hear(0.5);
    b.hears(&a);

    // It hangs up during local hold.
    done(gw.post(&path, ""), "held");
    a.say("hangup");
    let gone = events.json("type", "leg.disconnected", 10);
    assert_eq!((&gone["leg_id"], &gone["cdr"]["reason"]), (&leg.as_str().into(), &"remote_bye".into()));
    assert_eq!(gw.post(&path, "").status, 404);
}
