//! Every event of every simulation is validated against `asyncapi.json`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use branchline::gateway::Gateway;
use branchline::gateway::events::Event;
use jsonschema::Validator;
use serde_json::{Value, json};

/// Schemas by event type.
static DESCRIBED: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
    let document: Value =
        serde_json::from_str(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/asyncapi.json"))).unwrap();
    let messages = document["components"]["messages"].as_object().unwrap();
    let validator = |payload: &Value| {
        let mut schema = payload.clone();
        schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
        schema["components"] = json!({ "schemas": document["components"]["schemas"] });
        jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
    };
    messages.iter().map(|(name, m)| (name.clone(), validator(&m["payload"]))).collect()
});

/// The next event of a gateway, which must be valid.
pub fn next_event(gateway: &mut Gateway) -> Option<Event> {
    let event = gateway.poll_event()?;
    check(&event.to_json("the-instance")).unwrap_or_else(|e| panic!("{e}"));
    Some(event)
}

fn check(event: &Value) -> Result<(), String> {
    let kind = event["type"].as_str().unwrap_or_default();
    let validator = DESCRIBED.get(kind).ok_or_else(|| format!("{kind} is not described"))?;
    validator.validate(event).map_err(|e| format!("{event} is not as it is described: {e}"))
}

#[test]
fn undescribed_events_are_detected() {
    let good = json!({
        "type": "leg.dtmf", "timestamp": "2026-11-29T10:00:00Z", "event_id": "e", "leg_id": "l", "leg_seq": 1,
        "digit": "5", "seq": 1
    });
    assert_eq!(check(&good), Ok(()));
    for (key, value) in [
        ("type", json!("leg.unknown")),
        ("digit", json!(5)),
        ("digit", json!("55")),
        ("seq", json!(-1)),
        ("leg_seq", json!(0)),
        ("timestamp", json!("yesterday")),
        ("more", json!(true)),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        assert!(check(&bad).is_err(), "{bad}");
    }
    for key in ["type", "timestamp", "event_id", "digit"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(key);
        assert!(check(&bad).is_err(), "{bad}");
    }
}
