//! Hold and resume with a real phone in a room, from both ends.

use std::process::Command;

use serde_json::Value;

use crate::common::Gateway;
use crate::phone::{Lines, Phone, correlation, python, rms, script, sweep, write_voice};

/// A gateway whose events come as lines.
fn gateway_with_events() -> (Gateway, Lines) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let events = Lines::start(Command::new(python()).arg(script("scripts/events.py")).arg(port.to_string()));
    let hook = format!("http://127.0.0.1:{port}/");
    (Gateway::start_release(&[("WEBHOOK_URL", &hook)]), events)
}

fn ok(reply: crate::common::Reply, status: &str) -> Value {
    assert_eq!((reply.status, reply.json()["status"].as_str()), (200, Some(status)), "{reply:?}");
    reply.json()
}

#[test]
fn a_held_phone_is_cut_off_from_its_room_and_comes_back() {
    let dir = std::env::temp_dir().join(format!("branchline-hold-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let voices = [sweep(300.0, 1000.0), sweep(1300.0, 2000.0)];
    let files = [dir.join("a.wav"), dir.join("b.wav")];
    files.iter().zip(&voices).for_each(|(f, v)| write_voice(f, v));
    let (gw, events) = gateway_with_events();
    let sip = gw.listen["sip"].as_str().unwrap().to_owned();
    let mut a = Phone::start(&dir, 5570, &files[0], "alice");
    let mut b = Phone::start(&dir, 5572, &files[1], "bob");
    let mut legs = Vec::new();
    for phone in [&mut a, &mut b] {
        phone.say(&format!("dial sip:hold@{sip}"));
        let leg = events.json("type", "leg.ringing", 20)["leg_id"].as_str().unwrap().to_owned();
        ok(gw.post("/v1/rooms/r/legs", &format!(r#"{{"leg_id":"{leg}"}}"#)), "added");
        phone.wait("established");
        legs.push(leg);
    }
    let path = format!("/v1/legs/{}/hold", legs[0]);
    let held = || gw.get(&format!("/v1/legs/{}", legs[0])).json()["held"].as_bool().unwrap();
    assert!(correlation(&b.hear(1.0)[2000..], &voices[0]) > 0.9);

    // Ours: neither hears the other, but what is played to the held phone arrives.
    ok(gw.post(&path, ""), "held");
    assert_eq!(events.json("type", "leg.hold", 10)["leg_id"], legs[0].as_str());
    assert!(held());
    assert_eq!(gw.post(&path, "").status, 409, "held already");
    b.hear(0.5);
    a.hear(0.5);
    assert!(rms(&b.hear(1.0)) < 20.0, "the room hears nothing of a held phone");
    assert!(rms(&a.hear(1.0)) < 20.0, "nor it of the room");
    let play = gw.post(&format!("/v1/legs/{}/play", legs[0]), r#"{"tone":"us_dial"}"#);
    let play = play.json()["playback_id"].as_str().unwrap().to_owned();
    a.hear(0.5);
    assert!(rms(&a.hear(1.0)) > 500.0, "music on hold");
    ok(gw.delete(&format!("/v1/legs/{}/play/{play}", legs[0])), "stopped");
    ok(gw.delete(&path), "resumed");
    assert_eq!(events.json("type", "leg.unhold", 10)["leg_id"], legs[0].as_str());
    a.hear(0.5);
    b.hear(0.5);
    assert!(correlation(&b.hear(1.0)[2000..], &voices[0]) > 0.9);
    assert!(correlation(&a.hear(1.0)[2000..], &voices[1]) > 0.9);
    let not_held = gw.delete(&path);
    assert_eq!((not_held.status, not_held.error().as_str()), (409, "leg is not held"));

    // The phone's: we cannot end it.
    a.say("hold");
    assert_eq!(events.json("type", "leg.hold", 10)["leg_id"], legs[0].as_str());
    assert!(held() && gw.post(&path, "").status == 409);
    assert!(gw.delete(&path).error().contains("only it can resume"));
    a.say("resume");
    assert_eq!(events.json("type", "leg.unhold", 10)["leg_id"], legs[0].as_str());
    b.hear(0.5);
    assert!(correlation(&b.hear(1.0)[2000..], &voices[0]) > 0.9);

    // It hangs up while held by us.
    ok(gw.post(&path, ""), "held");
    a.say("hangup");
    let gone = events.json("type", "leg.disconnected", 10);
    assert_eq!((&gone["leg_id"], &gone["cdr"]["reason"]), (&legs[0].as_str().into(), &"remote_bye".into()));
    assert_eq!(gw.post(&path, "").status, 404);
    std::fs::remove_dir_all(dir).unwrap();
}
