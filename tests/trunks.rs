//! Trunks over REST: invalid bodies, displayed fields, persistence with restricted permissions.
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

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::Gateway;
use serde_json::json;

const REGISTER: &str = r#"{"type":"sip_register","app_id":"desk","sip_register":{"registrar_uri":"sip:127.0.0.1:9","aor":"sip:100@example.net","password":"hunter2","username":"u","outbound_proxy":"sip:127.0.0.1:7","contact_user":"box","expires_seconds":600}}"#;

#[test]
fn invalid_bodies_are_refused_with_the_field_and_its_range() {
    let gw = Gateway::start(&[]);
    let with = |from: &str, to: &str| REGISTER.replace(from, to);
    for (body, says) in [
        ("{}".to_owned(), "type: sip_register or ip_ip"),
        (with(r#""sip_register","app"#, r#""carrier","app"#), "type: carrier is neither"),
        (r#"{"type":"sip_register"}"#.to_owned(), "sip_register: an object is expected"),
        (r#"{"type":"ip_ip","ip_ip":["sip:x"]}"#.to_owned(), "expected an object"),
        (r#"{"type":"ip_ip","ip_ip":{}}"#.to_owned(), "peer_uri: a SIP URI"),
        (with("sip:127.0.0.1:9", "http://x"), "registrar_uri: a SIP URI"),
        (with("sip:100@example.net", "sip:example.net"), "aor: a user"),
        (with("600", "5"), "expires_seconds: 60 to 86400"),
        (with("600", "-1"), "expected u32"),
        (with("\"hunter2\"", "7"), "expected a string"),
        (with("hunter2", "a\\u0000b"), "password: at most"),
        (with("\"box\"", "\"a b\""), "contact_user"),
        (with("\"desk\"", "\"a/b\""), "app_id"),
        (with("600", r#"600,"rtp_from":["10.1.0.0/24","pbx"]"#), "rtp_from: pbx is no address"),
        (with("600", r#"600,"rtp_from":["0.0.0.0/0"]"#), "rtp_from: 0.0.0.0/0 holds every address"),
        (with("600", r#"600,"rtp_from":"10.1.0.0/24""#), "expected a sequence"),
        (
            with("600", &format!(r#"600,"rtp_from":[{}"10.1.0.1"]"#, "\"10.1.0.1\",".repeat(16))),
            "rtp_from: at most 16",
        ),
        (with("600", r#"600,"rtp_symmetric":"yes""#), "expected a boolean"),
        (with("sip:127.0.0.1:7", &format!("sip:{}", "x".repeat(300))), "outbound_proxy: at most 256"),
    ] {
        let reply = gw.post("/v1/sip/trunks", &body);
        assert!(reply.status == 400 && reply.error().contains(says), "{body}: {reply:?}");
        assert!(!String::from_utf8_lossy(&reply.body).contains("hunter2"), "{reply:?}");
    }
    assert_eq!(gw.get("/v1/sip/trunks").json()["trunks"], json!([]));
    assert_eq!(gw.delete("/v1/sip/trunks/none").status, 404);
    assert_eq!(gw.get("/v1/sip/trunks/none").status, 404);
}

#[test]
fn no_answer_shows_a_secret_that_was_of_the_wrong_type() {
    let gw = Gateway::start(&[]);
    let call = |more: &str| format!("{{\"type\":\"sip\",\"uri\":\"sip:x@127.0.0.1:9\",{more}}}");
    for wrong in ["7777123", "[\"7777123\"]", "{\"a\":7777123}", "7777123.5", "\"7777123"] {
        for (path, body) in [
            ("/v1/sip/trunks", REGISTER.replace("\"hunter2\"", wrong)),
            ("/v1/legs", call(&format!("\"webhook_secret\":{wrong}"))),
            ("/v1/legs", call(&format!("\"auth\":{{\"username\":\"u\",\"password\":{wrong}}}"))),
            ("/v1/rooms", format!("{{\"webhook_secret\":{wrong}}}")),
        ] {
            let reply = gw.post(path, &body);
            let said = String::from_utf8_lossy(&reply.body).into_owned();
            assert!(reply.status == 400 && !said.contains("7777123"), "{path} {body}: {said}");
        }
    }
}

#[test]
fn trunks_survive_a_restart() {
    let mut gw = Gateway::start(&[]);
    let added = gw.post("/v1/sip/trunks", REGISTER);
    assert_eq!(
        (added.status, &added.json()["type"], &added.json()["status"]),
        (202, &json!("sip_register"), &json!("registering"))
    );
    let id = added.json()["id"].as_str().unwrap().to_owned();
    let peer =
        gw.post("/v1/sip/trunks", r#"{"type":"ip_ip","ip_ip":{"peer_uri":"sip:127.0.0.1:8","srtp":"off","rtp_from":["10.1.0.0/24"],"rtp_symmetric":true}}"#);
    let peer = peer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(gw.post("/v1/sip/trunks", REGISTER).status, 409, "the same account twice");
    let shown = gw.get(&format!("/v1/sip/trunks/{id}")).json();
    assert_eq!(shown["app_id"], "desk");
    let register = &shown["sip_register"];
    let fields = ["registrar_uri", "outbound_proxy", "aor", "username", "requested_expires_seconds"];
    let want = [
        json!("sip:127.0.0.1:9"),
        json!("sip:127.0.0.1:7"),
        json!("sip:100@example.net"),
        json!("u"),
        json!(600),
    ];
    assert_eq!(fields.map(|f| register[f].clone()), want);
    assert!(!shown.to_string().contains("hunter2"), "{shown}");
    let gone = gw.post("/v1/sip/trunks", r#"{"type":"ip_ip","ip_ip":{"peer_uri":"sip:127.0.0.1:6"}}"#).json();
    assert_eq!(gw.delete(&format!("/v1/sip/trunks/{}", gone["id"].as_str().unwrap())).status, 202);

    gw.kill();
    let file = gw.dir().join("trunks.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    gw.restart();
    let ids: Vec<String> = gw.get("/v1/sip/trunks").json()["trunks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, [id.as_str(), peer.as_str()]);
    let shown = gw.get(&format!("/v1/sip/trunks/{peer}")).json();
    assert_eq!((&shown["rtp_from"], &shown["rtp_symmetric"]), (&json!(["10.1.0.0/24"]), &json!(true)));
    let shown = gw.get(&format!("/v1/sip/trunks/{id}")).json();
    assert_eq!((&shown["rtp_from"], &shown["rtp_symmetric"]), (&json!([]), &json!(false)));
}
