//! HTTP redirects (RFC 9110 §15.4): resolves `Location` according to RFC 3986 §5.

use iri_string::types::{UriAbsoluteStr, UriReferenceStr};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Maximum consecutive redirects.
pub const MAX_REDIRECTS: u32 = 5;

/// Characters not allowed in URIs that some servers send: they are escaped, as browsers do.
const STRAY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// True for redirect status codes.
#[must_use]
pub fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// The URL that `location` in a response for `base` refers to: resolves relative references and dot segments,
/// removes the fragment.
///
/// # Errors
/// It is not a valid reference, or its scheme is not supported.
pub fn target(base: &str, location: &str) -> Result<String, String> {
    let bad = || "the server redirects to an invalid URL".to_owned();
    let escaped = utf8_percent_encode(location.trim(), STRAY).to_string();
    let base = base.split('#').next().unwrap_or_default();
    let base = UriAbsoluteStr::new(base).map_err(|_| bad())?;
    let reference = UriReferenceStr::new(&escaped).map_err(|_| bad())?;
    let resolved = reference.resolve_against(base).to_string();
    let url = resolved.split('#').next().unwrap_or_default();
    let scheme = url.split(':').next().unwrap_or_default();
    if ["http", "https"].iter().any(|s| s.eq_ignore_ascii_case(scheme)) {
        Ok(url.to_owned())
    } else {
        Err(format!("the server redirects to a {} URL; http and https are fetched", scheme.escape_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_by_rfc_3986() {
        for (location, url) in [
            ("http://other.example/a.wav", "http://other.example/a.wav"),
            ("//other.example/a.wav", "http://other.example/a.wav"),
            ("/a.wav", "http://h.example:81/a.wav"),
            ("a.wav", "http://h.example:81/d/e/a.wav"),
            ("./a.wav?x=1#part", "http://h.example:81/d/e/a.wav?x=1"),
            ("../a.wav", "http://h.example:81/d/a.wav"),
            ("/d/../a.wav", "http://h.example:81/a.wav"),
            ("../../../a.wav", "http://h.example:81/a.wav"),
            ("/a/./b/../c.wav", "http://h.example:81/a/c.wav"),
            ("http://h.example/x/../a.wav", "http://h.example/a.wav"),
            ("?y=2", "http://h.example:81/d/e/f?y=2"),
            ("", "http://h.example:81/d/e/f?q=1"),
            (" /with space/\u{fc}.wav ", "http://h.example:81/with%20space/%C3%BC.wav"),
            ("/%41%2f.wav", "http://h.example:81/%41%2f.wav"),
        ] {
            assert_eq!(target("http://h.example:81/d/e/f?q=1#z", location).as_deref(), Ok(url), "{location}");
        }
    }

    #[test]
    fn other_schemes_and_invalid_references_are_not_followed() {
        for location in ["file:///etc/passwd", "ftp://h/a.wav", "javascript:x", "http://[::1/a", "%zz"] {
            assert!(target("http://h.example/", location).is_err(), "{location}");
        }
    }
}
