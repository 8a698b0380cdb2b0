//! What the API asks of the gateway, already read and checked as far as one value alone can be.

use super::events::Webhook;
use crate::codec::Codec;
use crate::media::amd::Parameters;
use crate::sip::digest::Credentials;
use crate::wire::Uri;

/// A call to place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Originate {
    /// Whom to call.
    pub uri: Uri,
    /// User part of From; empty: our own name.
    pub from: String,
    /// `Privacy` header; empty: none.
    pub privacy: String,
    /// Seconds to wait for an answer; 0: as long as it rings.
    pub ring_timeout: u32,
    /// Longest time from the answer on, seconds; 0: no limit.
    pub max_duration: u32,
    /// Codecs to offer, best first.
    pub codecs: Vec<Codec>,
    /// Further headers of the INVITE.
    pub headers: Vec<(String, String)>,
    /// Room to join once there is media; empty: none.
    pub room_id: String,
    /// Takes digits that others of its room send.
    pub accept_dtmf: bool,
    /// For who challenges the call.
    pub auth: Option<Credentials>,
    /// Answering-machine detection, from the answer on.
    pub amd: Option<Parameters>,
    /// Its own webhook.
    pub webhook: Option<Webhook>,
}

/// Codecs by name, those built in, in the order given.
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

/// Headers that form the dialog, the body or the transaction: never the API's to set.
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

/// Checks a header the API wants in an INVITE.
///
/// # Errors
/// What is wrong with it.
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
