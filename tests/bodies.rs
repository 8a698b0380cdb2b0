//! Bodies with every wrong JSON type in every field of every endpoint, generated from openapi.json.
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

use std::net::UdpSocket;

use common::Gateway;
use serde_json::{Value, json};

/// A value of each JSON type, with its names in schemas.
fn one_of_each() -> Vec<(&'static [&'static str], Value)> {
    vec![
        (&["boolean"], json!(true)),
        (&["integer", "number"], json!(7)),
        (&["number"], json!(1.5)),
        (&["integer", "number"], json!(u64::MAX)),
        (&["string"], json!("x")),
        (&["array"], json!([1, null])),
        (&["object"], json!({"a": {"b": []}})),
    ]
}

/// The types allowed by a schema; empty if not specified.
fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(s) => vec![s],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => schema["anyOf"].as_array().into_iter().flatten().flat_map(types).collect(),
    }
}

/// Operations with bodies: method, path, and the schema of the body.
fn operations(openapi: &Value) -> Vec<(String, String, Value)> {
    let mut out = Vec::new();
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let name = schema["$ref"].as_str().or(schema["anyOf"][0]["$ref"].as_str());
            if let Some(name) = name {
                let name = name.rsplit('/').next().unwrap();
                let schema = openapi["components"]["schemas"][name].clone();
                assert!(schema["properties"].is_object(), "{path}: {name}");
                out.push((method.to_uppercase(), path.clone(), schema));
            }
        }
    }
    assert!(out.len() >= 11, "{out:?}");
    out
}

/// A gateway with a room, and a leg that rings forever at a phone that does not answer.
fn scene() -> (Gateway, UdpSocket, String) {
    let gw = Gateway::start(&[]);
    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    let uri = format!("sip:x@{}", mute.local_addr().unwrap());
    let leg = gw.post("/v1/legs", &json!({"type": "sip", "uri": uri}).to_string());
    assert_eq!(leg.status, 201, "{leg:?}");
    assert_eq!(gw.post("/v1/rooms", "{\"id\":\"r\"}").status, 201);
    let id = leg.json()["id"].as_str().unwrap().to_owned();
    (gw, mute, id)
}

fn place(path: &str, leg: &str) -> String {
    let id = if path.contains("/rooms/") { "r" } else { leg };
    path.replace("{id}", id).replace("{playback_id}", "nothing")
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    let (gw, _phone, leg) = scene();
    let openapi = gw.get("/v1/openapi.json").json();
    let mut tried = 0;
    for (method, path, schema) in operations(&openapi) {
        for (field, property) in schema["properties"].as_object().unwrap() {
            let allowed = types(property);
            // Unknown fields (of later versions) are rejected whatever their value.
            if allowed.iter().all(|t| *t == "null") {
                continue;
            }
            for (names, wrong) in one_of_each() {
                if names.iter().any(|n| allowed.contains(n)) {
                    continue;
                }
                tried += 1;
                let body = json!({ field.as_str(): wrong }).to_string();
                let r = gw.request(&method, &place(&path, &leg), "", body.as_bytes());
                assert_eq!(r.status, 400, "{method} {path} {body}: {r:?}");
                assert!(r.error().contains("invalid JSON: "), "{method} {path} {body}: {}", r.error());
                assert!(r.error().contains("expected"), "{method} {path} {body}: {}", r.error());
                assert!(r.error().contains(" column "), "{method} {path} {body}: {}", r.error());
            }
        }
    }
    assert!(tried > 150, "{tried}");
    assert_eq!(gw.get(&format!("/v1/legs/{leg}")).json()["state"], "ringing", "the call goes on");
}

#[test]
fn an_unused_body_must_be_json_too() {
    let (gw, _phone, leg) = scene();
    let openapi = gw.get("/v1/openapi.json").json();
    let with_body: Vec<_> =
        operations(&openapi).into_iter().map(|(method, path, _)| (method, path)).collect();
    let mut tried = 0;
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method = method.to_uppercase();
            let later = operation["responses"].get("501").is_some();
            if method == "GET" || later || with_body.contains(&(method.clone(), path.clone())) {
                continue;
            }
            tried += 1;
            let r = gw.request(&method, &place(path, &leg), "", b"{\"a\"");
            assert_eq!(r.status, 400, "{method} {path}: {r:?}");
            assert!(r.error().starts_with("invalid JSON: "), "{method} {path}: {}", r.error());
        }
    }
    assert!(tried > 15, "{tried}");
    assert_eq!(gw.get(&format!("/v1/legs/{leg}")).json()["state"], "ringing", "nothing was done");
}

#[test]
fn headers_of_the_api_replace_ours() {
    let gw = Gateway::start(&[]);
    let headers = json!({"P-Asserted-Identity": "<sip:7@example.org>", "User-Agent": "Switchboard"});
    let mut text = vec![0; 4000];
    for (privacy, asserted) in [("", 1), ("id", 0)] {
        let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
        phone.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let uri = format!("sip:x@{}", phone.local_addr().unwrap());
        let body = json!({"type": "sip", "uri": uri, "from": "5", "privacy": privacy, "headers": headers});
        let leg = gw.post("/v1/legs", &body.to_string());
        assert_eq!(leg.status, 201, "{leg:?}");
        let n = phone.recv(&mut text).unwrap();
        let invite = String::from_utf8_lossy(&text[..n]).into_owned();
        let lines = |start: &str| invite.lines().filter(|l| l.starts_with(start)).count();
        assert_eq!(lines("User-Agent: "), 1, "{invite}");
        assert_eq!(lines("User-Agent: Switchboard"), 1, "{invite}");
        // A caller who requests privacy is anonymous for all but trunks.
        assert_eq!(lines("P-Asserted-Identity: "), asserted, "{invite}");
        assert_eq!(lines("P-Asserted-Identity: <sip:7@example.org>"), asserted, "{invite}");
    }
}

#[test]
fn a_body_that_is_not_an_object_is_rejected() {
    let (gw, _phone, leg) = scene();
    let openapi = gw.get("/v1/openapi.json").json();
    let deep = "{\"a\":".repeat(500) + "1" + &"}".repeat(500);
    for (method, path, _) in operations(&openapi) {
        let at = place(&path, &leg);
        for body in ["[]", "7", "\"x\"", "true", "{", "{\"a\"}", "{}}", "nul", "{\"a\":1,}"] {
            let r = gw.request(&method, &at, "", body.as_bytes());
            assert_eq!(r.status, 400, "{method} {path} {body}: {r:?}");
            assert!(r.error().starts_with("invalid JSON: "), "{method} {path} {body}: {}", r.error());
        }
        let r = gw.request(&method, &at, "", b"{\"url\":\"\xff\xfe\"}");
        assert_eq!(r.status, 400, "{method} {path}: {r:?}");
        // Unknown fields at any depth are ignored if the method changes nothing without a field.
        if method != "DELETE" && !at.ends_with("/record") {
            let r = gw.request(&method, &at, "", deep.as_bytes());
            assert!(r.status < 500, "{method} {path}: {r:?}");
        }
    }
    assert_eq!(gw.get(&format!("/v1/legs/{leg}")).json()["state"], "ringing", "the call goes on");
    assert_eq!(gw.get("/v1/capacity").json()["legs"]["used"], 1);
}

#[test]
fn a_missing_or_unknown_leg_type_is_rejected_with_the_known_one() {
    let gw = Gateway::start(&[]);
    for body in ["", "{}", r#"{"type":""}"#, r#"{"uri":"sip:x@127.0.0.1"}"#] {
        let r = gw.post("/v1/legs", body);
        assert_eq!((r.status, r.error()), (400, "type is required: \"sip\"".into()), "{body}");
    }
    let r = gw.post("/v1/legs", r#"{"type":"fax"}"#);
    assert_eq!((r.status, r.error()), (400, "unsupported leg type: fax; sip is supported".into()));
    assert_eq!(gw.get("/v1/capacity").json()["legs"]["used"], 0);
}
