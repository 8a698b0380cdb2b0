//! Everything the gateway tells the world, as flat JSON objects.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::base::time::Utc;
use crate::config::Place;
use crate::deliver::share::Origin;

/// Where events go instead of the global webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// URL.
    pub url: String,
    /// Signing secret.
    pub secret: Option<String>,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its type, as `leg.ringing`.
    pub kind: &'static str,
    /// When it happened.
    pub at: Utc,
    /// Identifies it over retries and channels.
    pub event_id: String,
    /// The leg it is about.
    pub leg_id: Option<String>,
    /// Counts the events of the leg from 1.
    pub leg_seq: Option<u64>,
    /// The room it is about.
    pub room_id: Option<String>,
    /// Everything particular to its type.
    pub fields: Vec<(&'static str, Value)>,
    /// Its own webhook; `None`: the global one.
    pub hook: Option<Hook>,
    /// Whose doing it is.
    pub origin: Origin,
    /// Of a recording: where it is uploaded to.
    pub upload: Option<Arc<Place>>,
}

impl Event {
    /// The last event of a leg or recording: never dropped before others.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(
            self.kind,
            "leg.disconnected" | "recording.finished" | "recording.uploaded" | "recording.upload_failed"
        )
    }

    /// The event as it goes out.
    #[must_use]
    pub fn to_json(&self, instance_id: &str) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| {
            map.insert(key.to_owned(), value);
        };
        put("type", self.kind.into());
        put("timestamp", self.at.rfc3339().into());
        put("event_id", self.event_id.as_str().into());
        if !instance_id.is_empty() {
            put("instance_id", instance_id.into());
        }
        if let Some(leg) = &self.leg_id {
            put("leg_id", leg.as_str().into());
        }
        if let Some(seq) = self.leg_seq {
            put("leg_seq", seq.into());
        }
        if let Some(room) = &self.room_id {
            put("room_id", room.as_str().into());
        }
        for (key, value) in &self.fields {
            put(key, value.clone());
        }
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn keys_are_flat_and_sorted() {
        let e = Event {
            kind: "leg.ringing",
            at: Utc(Duration::from_secs(1_776_330_000)),
            event_id: "e".into(),
            leg_id: Some("L".into()),
            leg_seq: Some(1),
            room_id: None,
            fields: vec![("from", "+44".into())],
            hook: None,
            origin: Origin::Own,
            upload: None,
        };
        assert_eq!(
            e.to_json("I").to_string(),
            "{\"event_id\":\"e\",\"from\":\"+44\",\"instance_id\":\"I\",\"leg_id\":\"L\",\"leg_seq\":1,\
             \"timestamp\":\"2026-04-16T09:00:00Z\",\"type\":\"leg.ringing\"}"
        );
    }
}
