//! `asyncapi.json` (3.0), generated from the event types.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::gateway::events::{EVENT_TYPES, EventType};

/// The complete document.
#[must_use]
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft07().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let (mut messages, mut of_channel, mut of_operation) = (Map::new(), Map::new(), Vec::new());
    for event in EVENT_TYPES {
        messages.insert(event.name.to_owned(), message(event, &mut generator));
        of_channel.insert(
            event.name.to_owned(),
            json!({ "$ref": format!("#/components/messages/{}", event.name) }),
        );
        of_operation.push(json!({ "$ref": format!("#/channels/webhook/messages/{}", event.name) }));
    }
    let schemas: Map<String, Value> = generator.take_definitions(true);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Branchline events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Events of a SIP gateway, each delivered by POST to one webhook: that of its leg, else that of the \
                            room the leg is in, else the global one.",
            "license": { "name": "MIT OR Apache-2.0" }
        },
        "defaultContentType": "application/json",
        "channels": {
            "webhook": {
                "address": null,
                "description": "The URL of the webhook. Each event is retried until it is answered with 2xx; events of one leg \
                                for one webhook arrive in order.",
                "messages": of_channel
            }
        },
        "operations": {
            "deliver": {
                "action": "send",
                "channel": { "$ref": "#/channels/webhook" },
                "bindings": { "http": { "method": "POST", "bindingVersion": "0.3.0" } },
                "messages": of_operation
            }
        },
        "components": { "messages": messages, "schemas": schemas }
    })
}

fn message(event: &EventType, generator: &mut SchemaGenerator) -> Value {
    json!({
        "name": event.name,
        "summary": event.when.trim(),
        "headers": headers(),
        "payload": payload(event, generator)
    })
}

/// Headers of a delivery; signatures only if the webhook has a secret.
fn headers() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "properties": {
            "X-Event-Id": text("event_id of the body"),
            "X-Signature-256": text("sha256= followed by the HMAC-SHA256 of the body, hex"),
            "X-Webhook-Timestamp": text("Time of the signature, Unix time in seconds"),
            "X-Webhook-Signature": text("v1= followed by the HMAC-SHA256 of timestamp.body, hex")
        }
    })
}

/// The flat object: type-specific fields and common ones.
fn payload(event: &EventType, generator: &mut SchemaGenerator) -> Value {
    let mut schema: Value = (event.schema)(generator).into();
    let Value::Object(object) = &mut schema else { return schema };
    object.insert("title".to_owned(), event.name.into());
    object.insert("type".to_owned(), "object".into());
    object.insert("additionalProperties".to_owned(), false.into());
    let text = |description: &str| json!({ "type": "string", "description": description });
    let common = [
        ("type", json!({ "const": event.name })),
        (
            "timestamp",
            json!({ "type": "string", "format": "date-time", "description": "Time of the event, UTC" }),
        ),
        ("event_id", text("Event id (UUID), the same in all deliveries")),
        ("instance_id", text("Name of the gateway instance")),
        ("leg_id", text("The leg it is about (UUID)")),
        (
            "leg_seq",
            json!({ "type": "integer", "minimum": 1, "description": "Number of the event within its leg" }),
        ),
        ("room_id", text("The room it is about")),
    ];
    if let Value::Object(properties) =
        object.entry("properties".to_owned()).or_insert_with(|| Value::Object(Map::new()))
    {
        properties.extend(common.map(|(name, schema)| (name.to_owned(), schema)));
    }
    if let Value::Array(required) =
        object.entry("required".to_owned()).or_insert_with(|| Value::Array(Vec::new()))
    {
        required.extend(["type", "timestamp", "event_id"].map(Value::from));
    }
    schema
}
