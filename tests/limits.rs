//! Requests over a limit get 503 with the name of the limit, and are accepted again when there is capacity.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_lossless,
    clippy::too_many_lines,
    unreachable_pub,
    missing_docs,
    reason = "a test may fail loudly"
)]

#[path = "common/caller.rs"]
mod caller;
mod common;

use caller::Caller;
use common::{Gateway, Reply};

const SMALL: &str = "[limits]\nlegs = 16\nrooms = 2\nroom_members = 2\nplaybacks = 2\nrecordings = 2\n";

/// Maximum number of trunks.
const TRUNKS: usize = 64;

fn refused(reply: &Reply, says: &str) {
    assert_eq!((reply.status, reply.header("Retry-After").as_deref()), (503, Some("5")), "{reply:?}");
    assert!(reply.error().contains(says), "{reply:?}");
}

#[test]
fn limits_are_enforced_by_name_and_released() {
    let gw = Gateway::start_configured(SMALL, &[]);
    let callers: Vec<Caller> = (0..3).map(|n| Caller::call_as(&gw, &format!("limit-{n}"))).collect();
    let leg = |n: usize, what: &str| format!("/v1/legs/{}/{what}", callers[n].leg);

    let room = |id: &str| gw.post("/v1/rooms", &format!(r#"{{"id":"{id}"}}"#));
    assert_eq!((room("a").status, room("b").status), (201, 201));
    refused(&room("c"), "all 2 rooms are in use (limits.rooms)");
    assert_eq!(gw.delete("/v1/rooms/b").status, 200);
    assert_eq!(room("c").status, 201);

    let join = |n: usize| gw.post("/v1/rooms/a/legs", &format!(r#"{{"leg_id":"{}"}}"#, callers[n].leg));
    assert_eq!((join(0).status, join(1).status), (200, 200));
    refused(&join(2), "the room has 2 members (limits.room_members)");
    let shown = gw.get(&format!("/v1/legs/{}", callers[2].leg)).json();
    assert_eq!(
        (&shown["state"], shown["room_id"].as_str().unwrap_or("")),
        (&"connected".into(), ""),
        "{shown}"
    );
    assert_eq!(gw.delete(&format!("/v1/rooms/a/legs/{}", callers[0].leg)).status, 200);
    assert_eq!(join(2).status, 200);

    let play = |n: usize| gw.post(&leg(n, "play"), r#"{"tone":"us_dial","repeat":-1}"#);
    let first = play(0);
    assert_eq!((first.status, play(1).status), (200, 200), "{first:?}");
    refused(&play(2), "all 2 playbacks are in use (limits.playbacks)");
    let id = first.json()["playback_id"].as_str().unwrap().to_owned();
    assert_eq!(gw.delete(&leg(0, &format!("play/{id}"))).status, 200);

    let record = |n: usize| gw.post(&leg(n, "record"), "");
    assert_eq!((record(0).status, record(1).status), (200, 200));
    refused(&record(2), "all 2 recordings are in use (limits.recordings)");
    assert_eq!(gw.delete(&leg(0, "record")).status, 200);
    let used = gw.used();
    assert_eq!((used[0], used[1], used[4]), (3, 2, 1));
    assert_eq!(record(2).status, 200);
}

#[test]
fn there_are_64_trunks() {
    let gw = Gateway::start(&[]);
    let trunk = |n: usize| {
        let uri = format!("sip:10.255.0.1:{}", 6000 + n);
        gw.post("/v1/sip/trunks", &format!(r#"{{"type":"ip_ip","ip_ip":{{"peer_uri":"{uri}"}}}}"#))
    };
    let mut ids: Vec<String> = Vec::new();
    for n in 0..TRUNKS {
        let made = trunk(n);
        assert_eq!(made.status, 202, "{made:?}");
        ids.push(made.json()["id"].as_str().unwrap().to_owned());
    }
    refused(&trunk(TRUNKS), "all 64 trunks are in use");
    let gone = gw.delete(&format!("/v1/sip/trunks/{}", ids[0]));
    assert!(matches!(gone.status, 200 | 202), "{gone:?}");
    assert_eq!(trunk(TRUNKS).status, 202);
}
