//! Parameters of API commands, parsed and validated individually.

use crate::codec::Codec;
use crate::gateway::events::Webhook;
use crate::media::amd::Parameters;
use crate::sip::digest::Credentials;
use crate::wire::Uri;

/// A call to place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Originate {
    /// Request-URI.
    pub uri: Uri,
    /// User part of From; empty: our own name.
    pub from: String,
    /// `Privacy` header; empty: none.
    pub privacy: String,
    /// Longest ringing time, seconds; 0: unlimited.
    pub ring_timeout: u32,
    /// Longest duration after the answer, seconds; 0: unlimited.
    pub max_duration: u32,
    /// Codecs to offer, best first.
    pub codecs: Vec<Codec>,
    /// Further headers of the INVITE.
    pub headers: Vec<(String, String)>,
    /// Room to join once there is media; empty: none.
    pub room_id: String,
    /// Receives digits sent by other members of its room.
    pub accept_dtmf: bool,
    /// Credentials for challenges.
    pub auth: Option<Credentials>,
    /// Answering-machine detection, started when answered.
    pub amd: Option<Parameters>,
    /// Its own webhook.
    pub webhook: Option<Webhook>,
}

/// Built-in codecs by name, in the given order.
#[must_use]
pub fn codecs_by_name(names: &[String]) -> Vec<Codec> {
    let mut out = Vec::new();
    for codec in names.iter().filter_map(|n| Codec::by_name(n)) {
        if !out.contains(&codec) {
            out.push(codec);
        }
    }
    out
}

/// Headers of dialog, body or transaction, which the API cannot set.
const OURS: &[&str] = &[
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Max-Forwards",
    "Content-Length",
    "Content-Type",
    "Content-Encoding",
    "Content-Disposition",
    "Route",
    "Record-Route",
    "Require",
    "Proxy-Require",
    "Supported",
    "Allow",
    "Authorization",
    "Proxy-Authorization",
    "Session-Expires",
    "Min-SE",
    "Replaces",
    "RAck",
    "RSeq",
    "Privacy",
];

/// Checks a custom header of an INVITE.
///
/// # Errors
/// The problem.
pub fn check_header(name: &str, value: &str) -> Result<(), String> {
    if name.is_empty() || !name.bytes().all(crate::wire::params::is_token) {
        return Err(format!("headers: \"{}\" is not a header name", name.escape_default()));
    }
    if OURS.iter().any(|h| crate::wire::headers::same(name, h)) {
        return Err(format!("headers: {name} is set by the gateway"));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("headers: the value of {name} has control characters"));
    }
    if value.len() > 1024 {
        return Err(format!("headers: the value of {name} is longer than 1024 bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_dialog_are_not_the_apis() {
        assert_eq!(check_header("X-Ticket", "42"), Ok(()));
        for (name, value) in [
            ("via", "x"),
            ("f", "x"),
            ("CONTACT", "x"),
            ("", "x"),
            ("X Y", "x"),
            ("X-A", "a\r\nb"),
            ("X-A", "a\0"),
        ] {
            assert!(check_header(name, value).is_err(), "{name}: {value:?}");
        }
    }
}
