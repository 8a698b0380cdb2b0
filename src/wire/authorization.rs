//! Digest credentials as received by servers: `Authorization`, `Proxy-Authorization` (RFC 7616 §3.4).

use super::challenge::{Algorithm, fields};

/// Maximum length of a nonce, user name or response.
const MAX_VALUE: usize = 512;

/// Credentials for one challenge, values as written between their quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the fields of RFC 7616")]
pub struct Authorization {
    pub username: String,
    pub realm: String,
    pub nonce: String,
    pub uri: String,
    pub response: String,
    pub algorithm: Algorithm,
    /// `qop=auth` with its cnonce and nonce count; `None`: RFC 2069 response.
    pub qop: Option<(String, u32)>,
}

impl Authorization {
    /// Parses a header value; `None` if it is another scheme, malformed, or has a qop or algorithm we never
    /// offer.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fields = fields(text)?;
        let get = |name: &str| {
            let value = fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
            value.filter(|v| v.len() <= MAX_VALUE)
        };
        let own = |name: &str| get(name).map(str::to_owned);
        let qop = match get("qop") {
            None => None,
            Some(q) if q.eq_ignore_ascii_case("auth") => {
                let count = get("nc").filter(|n| n.len() == 8)?;
                Some((own("cnonce")?, u32::from_str_radix(count, 16).ok()?))
            }
            Some(_) => return None,
        };
        Some(Self {
            username: own("username")?,
            realm: own("realm")?,
            nonce: own("nonce")?,
            uri: own("uri")?,
            response: own("response")?.to_ascii_lowercase(),
            algorithm: get("algorithm").map_or(Some(Algorithm::Md5), Algorithm::parse)?,
            qop,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_parsed_in_all_forms() {
        let text = "Digest username=\"bob\", realm=\"r\", nonce=\"n\", uri=\"sip:x\", response=\"AB\", \
                    algorithm=SHA-256, qop=auth, cnonce=\"c\", nc=0000000a";
        let a = Authorization::parse(text).unwrap();
        assert_eq!((a.username.as_str(), a.response.as_str(), a.qop), ("bob", "ab", Some(("c".into(), 10))));
        for bad in [
            text.replace("nc=0000000a", "nc=a"),
            text.replace("qop=auth", "qop=auth-int"),
            text.replace("SHA-256", "SHA-1"),
            text.replace("realm", "ralm"),
            text.replace("bob", &"b".repeat(600)),
            "Basic abc".to_owned(),
        ] {
            assert_eq!(Authorization::parse(&bad), None, "{bad}");
        }
    }
}
