//! Patterns of text fields; `openapi.json` contains the patterns that the code checks.

use std::sync::LazyLock;

use regex_lite::Regex;

use super::http::error::ApiError;

/// Pattern of a text field, and the error text for other values.
pub struct Pattern {
    /// The regular expression, anchored at both ends.
    pub text: &'static str,
    /// Description of allowed values.
    pub allowed: &'static str,
    compiled: LazyLock<Option<Regex>>,
}

/// URLs without user and password.
macro_rules! url {
    () => {
        r"https?://([A-Za-z0-9]([A-Za-z0-9_.\-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?([/?][!-~]*)?"
    };
}

macro_rules! pattern {
    ($(#[$doc:meta])* $name:ident, $text:expr, $allowed:literal) => {
        $(#[$doc])*
        pub static $name: Pattern =
            Pattern { text: $text, allowed: $allowed, compiled: LazyLock::new(|| Regex::new($text).ok()) };
    };
}

pattern!(
    /// URLs to download from.
    URL,
    concat!("^", url!(), "$"),
    "an http:// or https:// URL without user and password"
);
pattern!(
    /// Webhook URLs; empty: none.
    HOOK_URL,
    concat!("^(", url!(), ")?$"),
    "an http:// or https:// URL without user and password"
);
pattern!(
    /// DTMF digits to send.
    DIGITS,
    r"^[ \-]*([0-9*#A-Da-d][ \-]*){1,64}$",
    "1 to 64 of 0-9, *, #, A-D; spaces and hyphens are skipped"
);
pattern!(
    /// User part of From, or a whole address.
    FROM,
    r"^([A-Za-z0-9_.!~*'()&=+$,%#\-]{0,64}|sip:[A-Za-z0-9_.!~*'()&=+$,%\-]{1,64}@([A-Za-z0-9.\-]{1,128}|\[[0-9a-fA-F:]{2,40}\])(:[0-9]{1,5})?)$",
    "at most 64 characters of a SIP user (letters, digits and _.!~*'()&=+$,%#-), or an address as sip:100@example.net"
);
pattern!(
    /// User names of digest credentials.
    AUTH_USER,
    r"^[^\x00-\x1f\x7f]{0,128}$",
    "at most 128 characters, no control characters"
);
pattern!(
    /// Passwords of digest credentials.
    AUTH_PASSWORD,
    r"^[^\x00-\x1f\x7f]{0,256}$",
    "at most 256 characters, no control characters"
);
pattern!(
    /// `Privacy` values (RFC 3323).
    PRIVACY,
    r"^[A-Za-z0-9;\-]{0,64}$",
    "a Privacy value, as id, none or header;session"
);
pattern!(
    /// Room ids.
    ROOM_ID,
    r"^[^\x00-\x1f\x7f/]{0,128}$",
    "at most 128 characters, no control characters, no slash"
);
pattern!(
    /// SIP URIs to dial; the parser makes the final decision.
    SIP_URI,
    r"^[sS][iI][pP][sS]?:[!-~]{1,256}$",
    "a SIP URI, as sip:1001@192.0.2.10:5070"
);

pattern!(
    /// Sounds: URLs, and names in the prompt directory.
    SOUND_URL,
    concat!("^(", url!(), r"|file:[A-Za-z0-9_\-][A-Za-z0-9_.\-]{0,100}(/[A-Za-z0-9_\-][A-Za-z0-9_.\-]{0,100}){0,8})$"),
    "an http:// or https:// URL without user and password, or file: and a name in the directory of prompts"
);

pattern!(
    /// SIP URIs of servers, or none; the parser makes the final decision, and accepts more.
    SERVER_URI,
    r"^([sS][iI][pP]:([A-Za-z0-9]([A-Za-z0-9.\-]{0,100}[A-Za-z0-9])?|\[([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}\]|\[([0-9a-f]{1,4}:){1,6}:[0-9a-f]{1,4}\]|\[::[0-9a-f]{1,4}\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?(;transport=(udp|tcp|tls))?)?$",
    "a SIP URI, as sip:proxy.example.net"
);
pattern!(
    /// Addresses of record; the parser makes the final decision, and accepts more.
    AOR,
    r"^[sS][iI][pP]:[A-Za-z0-9_.+\-]{1,64}@([A-Za-z0-9]([A-Za-z0-9.\-]{0,100}[A-Za-z0-9])?|\[([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}\]|\[([0-9a-f]{1,4}:){1,6}:[0-9a-f]{1,4}\]|\[::[0-9a-f]{1,4}\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$",
    "an address, as sip:100@example.net"
);
pattern!(
    /// User part of our Contact.
    CONTACT_USER,
    r"^[A-Za-z0-9_.!~*'()&=+$\-]{0,64}$",
    "at most 64 letters, digits and -_.!~*'()&=+$"
);

pattern!(
    /// Addresses and networks, except those that contain every address; the parser makes the final decision,
    /// and accepts more.
    NETWORK,
    r"^(((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(/(3[0-2]|[12][0-9]|[1-9]))?|(([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}|([0-9a-f]{1,4}:){1,6}:([0-9a-f]{1,4})?|::[0-9a-f]{1,4})(/(12[0-8]|1[01][0-9]|[1-9][0-9]?))?)$",
    "an address or network, as 10.1.0.7 or 10.1.0.0/24"
);

impl Pattern {
    /// Checks a value.
    ///
    /// # Errors
    /// The field's name and what is allowed.
    pub fn check(&self, field: &str, value: &str) -> Result<(), ApiError> {
        if self.compiled.as_ref().is_some_and(|r| r.is_match(value)) {
            return Ok(());
        }
        Err(ApiError::BadRequest(format!("{field}: {} is expected", self.allowed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_compile_and_mean_what_they_say() {
        assert!(URL.check("url", "https://a.example:8443/x?y=z").is_ok());
        assert!(URL.check("url", "http://[::1]:80/").is_ok());
        assert!(URL.check("url", "http://127.0.0.1:45678/x").is_ok());
        for bad in
            ["ftp://a", "http://", "http://u:p@h/", "http://a b", "http://a\n", "/etc/passwd", "file:///x"]
        {
            assert!(URL.check("url", bad).is_err(), "{bad:?}");
        }
        assert!(HOOK_URL.check("webhook_url", "").is_ok() && HOOK_URL.check("webhook_url", "x").is_err());
        assert!(DIGITS.check("digits", "1 2-a#").is_ok());
        for bad in ["", " ", "12x", "1\r\n2", "é", &"1".repeat(65)] {
            assert!(DIGITS.check("digits", bad).is_err(), "{bad:?}");
        }
        assert!(FROM.check("from", "+15551234").is_ok() && FROM.check("from", "a\r\nb").is_err());
        assert!(FROM.check("from", "a@b").is_err());
        assert!(PRIVACY.check("privacy", "id;header").is_ok() && PRIVACY.check("privacy", "a b").is_err());
        assert!(ROOM_ID.check("id", "Büro 7").is_ok() && ROOM_ID.check("id", "a/b").is_err());
        for net in [
            "10.1.0.7",
            "10.1.0.0/24",
            "255.0.0.0/9",
            "2001:db8::/32",
            "fd00::1",
            "::1/128",
            "1:2:3:4:5:6:7:8",
        ] {
            assert!(
                NETWORK.check("rtp_from", net).is_ok() && crate::config::value::parse_net(net).is_some(),
                "{net}"
            );
        }
        for bad in ["", "0.0.0.0/0", "::/0", "10.1.0.0/33", "10.1.0", "256.1.1.1", "010.1.0.7", "h.example"] {
            assert!(NETWORK.check("rtp_from", bad).is_err(), "{bad}");
        }
        assert!(SIP_URI.check("uri", "sip:a@h").is_ok() && SIP_URI.check("uri", "tel:1").is_err());
    }
}
