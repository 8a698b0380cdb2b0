//! An event and its destination.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::event_type::EventBody;
use crate::base::time::Utc;
use crate::config::Place;
use crate::delivery::share::Origin;

/// A webhook that replaces the global one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// URL.
    pub url: String,
    /// Signing secret.
    pub secret: Option<String>,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When it happened.
    pub at: Utc,
    /// Unique id, the same in all retries and channels.
    pub event_id: String,
    /// The leg it is about.
    pub leg_id: Option<String>,
    /// Event number within the leg, from 1.
    pub leg_seq: Option<u64>,
    /// The room it is about.
    pub room_id: Option<String>,
    /// Its type with type-specific fields.
    pub body: EventBody,
    /// Its own webhook; `None`: the global one.
    pub webhook: Option<Webhook>,
    /// Origin, for fair dropping.
    pub origin: Origin,
    /// Upload destination of a recording.
    pub upload: Option<Arc<Place>>,
}

/// Serialized form: one flat object.
#[derive(Serialize)]
struct Wire<'a> {
    #[serde(flatten)]
    body: &'a EventBody,
    timestamp: String,
    event_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    instance_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    leg_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leg_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a str>,
}

impl Event {
    /// Type, e.g. `leg.ringing`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.body.kind()
    }

    /// Terminal event of a leg or recording: dropped last.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(
            self.body,
            EventBody::LegDisconnected(_)
                | EventBody::RecordingFinished(_)
                | EventBody::RecordingUploaded(_)
                | EventBody::RecordingUploadFailed(_)
        )
    }

    /// The event as JSON.
    #[must_use]
    pub fn to_json(&self, instance_id: &str) -> Value {
        // None of its maps has non-string keys.
        serde_json::to_value(self.wire(instance_id)).unwrap_or_default()
    }

    /// The event as JSON text.
    #[must_use]
    pub fn to_text(&self, instance_id: &str) -> String {
        serde_json::to_string(&self.wire(instance_id)).unwrap_or_default()
    }

    fn wire<'a>(&'a self, instance_id: &'a str) -> Wire<'a> {
        Wire {
            body: &self.body,
            timestamp: self.at.rfc3339(),
            event_id: &self.event_id,
            instance_id,
            leg_id: self.leg_id.as_deref(),
            leg_seq: self.leg_seq,
            room_id: self.room_id.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::leg::{Empty, LegRinging};
    use super::*;
    use crate::gateway::legs::leg_id::Kind;
    use std::time::Duration;

    fn event(body: EventBody) -> Event {
        Event {
            at: Utc(Duration::from_secs(1_776_330_000)),
            event_id: "e".into(),
            leg_id: Some("L".into()),
            leg_seq: Some(1),
            room_id: None,
            body,
            webhook: None,
            origin: Origin::Own,
            upload: None,
        }
    }

    #[test]
    fn events_are_flat_objects_without_what_they_do_not_have() {
        let ringing = LegRinging { from: Some("+44".into()), ..LegRinging::of(Kind::SipInbound) };
        assert_eq!(
            event(EventBody::LegRinging(ringing)).to_text("I"),
            "{\"type\":\"leg.ringing\",\"leg_type\":\"sip_inbound\",\"from\":\"+44\",\"timestamp\":\"2026-04-16T09:00:00Z\",\
             \"event_id\":\"e\",\"instance_id\":\"I\",\"leg_id\":\"L\",\"leg_seq\":1}"
        );
        assert_eq!(
            event(EventBody::LegMuted(Empty {})).to_text(""),
            "{\"type\":\"leg.muted\",\"timestamp\":\"2026-04-16T09:00:00Z\",\"event_id\":\"e\",\"leg_id\":\"L\",\"leg_seq\":1}"
        );
    }
}
