//! Digest challenges: `WWW-Authenticate` and `Proxy-Authenticate` (RFC 3261 §22, RFC 7616 §3.3, RFC 8760).

use super::headers::Headers;
use super::params::split;

/// Supported hash functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `MD5`, the default.
    Md5,
    /// `SHA-256`.
    Sha256,
}

impl Algorithm {
    /// Name used in a challenge.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// Parses a name, case-insensitive.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Md5, Self::Sha256].into_iter().find(|a| a.as_str().eq_ignore_ascii_case(name))
    }
}

/// One challenge that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// From a proxy (407) rather than the far end (401).
    pub proxy: bool,
    /// Realm, as written between its quotes.
    pub realm: String,
    /// The server's nonce, as written between its quotes.
    pub nonce: String,
    /// Returned unchanged in the response.
    pub opaque: Option<String>,
    /// Hash function.
    pub algorithm: Algorithm,
    /// `qop=auth` is offered; without qop, a response of RFC 2069 is used.
    pub qop: bool,
    /// Only the nonce had expired; the password was right.
    pub stale: bool,
}

impl Challenge {
    /// All supported challenges of a response, in order.
    #[must_use]
    pub fn all(headers: &Headers) -> Vec<Self> {
        let of =
            |name: &'static str, proxy: bool| headers.all(name).filter_map(move |v| Self::parse(v, proxy));
        of("WWW-Authenticate", false).chain(of("Proxy-Authenticate", true)).collect()
    }

    /// Parses a challenge; `None` if scheme, algorithm or qop is unknown, or a field is missing.
    fn parse(text: &str, proxy: bool) -> Option<Self> {
        let fields = fields(text)?;
        let get =
            |name: &str| fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
        let qop = match get("qop") {
            None => false,
            Some(list) if list.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth")) => true,
            Some(_) => return None,
        };
        Some(Self {
            proxy,
            realm: get("realm")?.to_owned(),
            nonce: get("nonce").filter(|n| !n.is_empty())?.to_owned(),
            opaque: get("opaque").map(str::to_owned),
            algorithm: get("algorithm").map_or(Some(Algorithm::Md5), Algorithm::parse)?,
            qop,
            stale: get("stale").is_some_and(|s| s.eq_ignore_ascii_case("true")),
        })
    }
}

/// The nonces for the next requests, the far end's first: `nextnonce` of `Authentication-Info` (RFC 7616
/// §3.5) and, with `true`, of `Proxy-Authentication-Info` (RFC 7615 §4).
#[must_use]
pub fn next_nonces(headers: &Headers) -> Vec<(bool, String)> {
    let of = |name: &'static str, proxy: bool| {
        let nonce = |value: &str| {
            let all = pairs(value)?;
            all.into_iter().find(|(n, v)| n.eq_ignore_ascii_case("nextnonce") && !v.is_empty())
        };
        headers.all(name).find_map(nonce).map(|(_, v)| (proxy, v))
    };
    of("Authentication-Info", false).into_iter().chain(of("Proxy-Authentication-Info", true)).collect()
}

/// The fields after `Digest`, values without quotes; `None` if it is another scheme or malformed.
#[must_use]
pub fn fields(text: &str) -> Option<Vec<(String, String)>> {
    let (scheme, rest) = text.trim().split_once(|c: char| c.is_ascii_whitespace())?;
    if !scheme.eq_ignore_ascii_case("Digest") {
        return None;
    }
    pairs(rest)
}

/// `name=value` pairs, values without quotes; `None` if malformed.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let field = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        Some((name.trim().to_owned(), value.to_owned()))
    };
    split(text, ',').ok()?.into_iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Option<Challenge> {
        let mut h = Headers::default();
        h.push("Proxy-Authenticate", text);
        Challenge::all(&h).pop()
    }

    #[test]
    fn challenges_are_parsed_in_all_forms() {
        let c = one("digest Realm=\"a, \\\"b\\\"\" ,nonce=\"n=1\", qop=\"auth-int,AUTH\",stale=TRUE,algorithm=sha-256").unwrap();
        assert_eq!((c.realm.as_str(), c.nonce.as_str()), ("a, \\\"b\\\"", "n=1"));
        assert_eq!((c.proxy, c.qop, c.stale, c.algorithm), (true, true, true, Algorithm::Sha256));
        let c = one("Digest realm=\"r\", nonce=\"n\", opaque=\"\"").unwrap();
        assert_eq!(
            (c.qop, c.stale, c.algorithm, c.opaque.as_deref()),
            (false, false, Algorithm::Md5, Some(""))
        );
    }

    #[test]
    fn next_nonces_are_parsed_in_all_forms() {
        let of = |name: &str, text: &str| {
            let mut h = Headers::default();
            h.push(name, text);
            next_nonces(&h)
        };
        let n = |proxy: bool| vec![(proxy, "n=2".to_owned())];
        assert_eq!(of("Authentication-Info", "nextnonce=\"n=2\""), n(false));
        assert_eq!(
            of("authentication-info", "qop=auth, rspauth=\"a,b\", NextNonce = \"n=2\" ,nc=00000001"),
            n(false)
        );
        assert_eq!(of("Proxy-Authentication-Info", "nextnonce=\"n=2\""), n(true));
        for bad in
            ["", "nextnonce=\"\"", "nextnonce", "nextnonce=\"n", "nonce=\"n\"", "rspauth=\"x\", cnonce"]
        {
            assert_eq!(of("Authentication-Info", bad), [], "{bad}");
        }
    }

    #[test]
    fn unsupported_challenges_are_skipped() {
        for bad in [
            "Basic realm=\"r\"",
            "Digest",
            "Digest realm=\"r\"",
            "Digest nonce=\"n\"",
            "Digest realm=\"r\", nonce=\"\"",
            "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-512-256",
            "Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"",
            "Digest realm=\"r, nonce=\"n\"",
            "Digest realm",
        ] {
            assert_eq!(one(bad), None, "{bad}");
        }
    }
}
