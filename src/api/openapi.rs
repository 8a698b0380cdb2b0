//! `openapi.json` (3.1), generated from the endpoints and the types used by the code.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::endpoint::{Access, Action, Endpoint};
use super::http::error::ErrorBody;
use super::responses::{Answer, Shape};
use super::routes;

/// The complete document.
#[must_use]
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in routes::all() {
        let item = paths.entry(full_path(endpoint)).or_insert_with(|| json!({}));
        if let Value::Object(item) = item {
            item.insert(endpoint.method.to_lowercase(), operation(endpoint, &mut generator));
        }
    }
    let schemas: Map<String, Value> = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Branchline",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Call legs, rooms and recordings of a SIP gateway. The same paths work without /v1.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" }
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } }
        }
    })
}

fn full_path(endpoint: &Endpoint) -> String {
    match endpoint.access {
        Access::Token => format!("/v1{}", endpoint.path),
        Access::Open | Access::Supervisor => endpoint.path.to_owned(),
    }
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let needs_token = endpoint.access == Access::Token;
    let (body, implemented) = match endpoint.action {
        Action::Handle(handler) => (handler.body(), true),
        Action::NotImplemented(_) => (None, false),
    };
    let mut responses = Map::new();
    for answer in endpoint.answers {
        responses.insert(answer.status.to_string(), response(answer, generator));
    }
    if implemented {
        if body.is_some() || endpoint.method != "GET" {
            common(&mut responses, 400, "Malformed JSON, a wrong type or a value out of range", generator);
            common(&mut responses, 413, "The body is larger than 64 KiB", generator);
        }
        if needs_token {
            common(&mut responses, 401, "A token is configured and was not sent", generator);
        }
        if endpoint.access != Access::Supervisor {
            common(
                &mut responses,
                403,
                "A web page of an origin that is not in http.cors_origins",
                generator,
            );
            common(
                &mut responses,
                421,
                "Without tokens, a name in Host that is not in http.hosts",
                generator,
            );
        }
    }
    let mut op =
        json!({ "operationId": operation_id(endpoint), "summary": endpoint.summary, "responses": responses });
    if let Value::Object(op) = &mut op {
        let in_query = endpoint.query.iter().map(|(name, what)| query_parameter(name, what));
        let params: Vec<Value> = params(endpoint.path).map(parameter).chain(in_query).collect();
        if !params.is_empty() {
            op.insert("parameters".into(), params.into());
        }
        if let Some(body) = body {
            let (schema, required) = nullable_unless_required(body(generator), generator);
            let content = json!({ "application/json": { "schema": schema } });
            op.insert("requestBody".into(), json!({ "required": required, "content": content }));
        }
        // Two alternatives: no token is needed if none is configured.
        op.insert("security".into(), if needs_token { json!([{}, { "token": [] }]) } else { json!([]) });
    }
    op
}

fn response(answer: &Answer, generator: &mut SchemaGenerator) -> Value {
    let content = match answer.shape {
        Shape::Object(of) => json!({ "application/json": { "schema": named(of(generator)) } }),
        Shape::Bare(of) => json!({ "application/json": { "schema": of(generator) } }),
        Shape::Text(kind) => json!({ kind: { "schema": { "type": "string" } } }),
        Shape::Error => error_content(generator),
        Shape::Empty => return json!({ "description": answer.when }),
    };
    json!({ "description": answer.when, "content": content })
}

fn common(responses: &mut Map<String, Value>, status: u16, when: &str, generator: &mut SchemaGenerator) {
    responses
        .entry(status.to_string())
        .or_insert_with(|| json!({ "description": when, "content": error_content(generator) }));
}

fn error_content(generator: &mut SchemaGenerator) -> Value {
    json!({ "application/json": { "schema": named(generator.subschema_for::<ErrorBody>()) } })
}

/// The schema of an object reply: its own keys and `instance_id`.
fn named(schema: Schema) -> Value {
    let name = json!({
        "type": "object",
        "properties": { "instance_id": { "type": "string", "description": "Name of the gateway instance" } },
        "required": ["instance_id"]
    });
    json!({ "allOf": [name, schema] })
}

/// `null` equals `{}`: allowed if no field is required.
fn nullable_unless_required(schema: Schema, generator: &SchemaGenerator) -> (Value, bool) {
    let name =
        schema.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next()).unwrap_or_default();
    let definition = generator.definitions().get(name);
    let demanding = definition.is_some_and(|d| d.get("required").is_some() || d.get("oneOf").is_some());
    let schema = if demanding { schema.into() } else { json!({ "anyOf": [schema, { "type": "null" }] }) };
    (schema, demanding)
}

fn params(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'))
}

fn parameter(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
}

fn query_parameter(name: &str, what: &str) -> Value {
    json!({ "name": name, "in": "query", "required": false, "description": what, "schema": { "type": "string" } })
}

fn operation_id(endpoint: &Endpoint) -> String {
    let words = endpoint.path.split(['/', '.']).filter(|w| !w.is_empty() && !w.starts_with('{'));
    let mut id = endpoint.method.to_lowercase();
    for word in words {
        id.push('_');
        id.push_str(&word.replace('-', "_"));
    }
    if endpoint.path.ends_with('}') {
        id.push_str("_one");
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_routes_answer_501_only() {
        let doc = document();
        let later = &doc["paths"]["/v1/legs/{id}/tts"]["post"]["responses"];
        assert_eq!(later.as_object().unwrap().keys().collect::<Vec<_>>(), ["501"]);
    }

    #[test]
    fn operation_ids_are_unique() {
        let mut ids: Vec<_> = routes::all().map(operation_id).collect();
        ids.sort();
        let n = ids.len();
        ids.dedup();
        assert_eq!(n, ids.len());
    }
}
