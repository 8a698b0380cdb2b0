//! X- header fields of an INVITE, reported in `leg.ringing`.

use serde_json::Value;

use crate::wire::Request;

/// Most X- headers kept per INVITE.
const MAX_X_HEADERS: usize = 32;
/// Maximum size of all kept headers: they are part of an event, of which many may be queued.
const MAX_X_BYTES: usize = 8192;

/// X- headers as spelled, the last of each name; without webhook headers. The flag is true if some were
/// dropped because there are too many or they are too long.
pub(super) fn captured(request: &Request) -> (Vec<(String, String)>, bool) {
    let mut out: Vec<(String, String)> = Vec::new();
    let mut truncated = false;
    // Size as JSON in the event.
    let size = |(n, v): &(String, String)| {
        Value::from(n.as_str()).to_string().len() + Value::from(v.as_str()).to_string().len() + 2
    };
    for (name, value) in request.common.headers.iter() {
        let lower = name.to_ascii_lowercase();
        if !lower.starts_with("x-") || lower == "x-webhook-url" || lower == "x-webhook-secret" {
            continue;
        }
        out.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        let header = (name.to_owned(), value.to_owned());
        let taken: usize = out.iter().map(size).sum();
        if out.len() < MAX_X_HEADERS && taken + size(&header) <= MAX_X_BYTES {
            out.push(header);
        } else {
            truncated = true;
        }
    }
    (out, truncated)
}
