//! `Replaces` (RFC 3891 §6.1), and the Refer-To URI, which may carry one (RFC 3515 §2.1).

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::error::WireError;
use super::name_addr::NameAddr;
use super::params::Params;
use super::uri::Uri;

/// Characters not escaped in URI headers: unreserved (RFC 3261 §25.1).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// The dialog to be replaced, from the view of the recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaces {
    /// Its Call-ID.
    pub call_id: String,
    /// Tag of the recipient.
    pub to_tag: String,
    /// Tag of its far end.
    pub from_tag: String,
    /// Only if the dialog is still early.
    pub early_only: bool,
}

impl Replaces {
    /// Parses the header value.
    ///
    /// # Errors
    /// A missing tag, a malformed parameter.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let (call_id, params) = text.trim().split_once(';').ok_or(WireError::Value("Replaces"))?;
        let params = Params::parse(params)?;
        let tag = |name: &str| {
            let value = params.get(name).filter(|t| !t.is_empty());
            value.map(str::to_owned).ok_or(WireError::Value("Replaces without its tags"))
        };
        let call_id = call_id.trim();
        if call_id.is_empty() || call_id.bytes().any(|b| b.is_ascii_whitespace()) {
            return Err(WireError::Value("Replaces without Call-ID"));
        }
        Ok(Self {
            call_id: call_id.to_owned(),
            to_tag: tag("to-tag")?,
            from_tag: tag("from-tag")?,
            early_only: params.get("early-only").is_some(),
        })
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};to-tag={};from-tag={}", self.call_id, self.to_tag, self.from_tag)?;
        if self.early_only { write!(f, ";early-only") } else { Ok(()) }
    }
}

/// Refer-To target of a REFER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferTo {
    /// The URI without its headers.
    pub uri: Uri,
    /// The dialog to be replaced by the call.
    pub replaces: Option<Replaces>,
}

impl ReferTo {
    /// Parses the header value. Headers of the URI other than Replaces are ignored.
    ///
    /// # Errors
    /// A malformed address or Replaces, a method other than INVITE.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let mut uri = NameAddr::parse(text)?.uri;
        let mut replaces = None;
        if let Uri::Sip(u) = &mut uri {
            let headers = u.headers.take().unwrap_or_default();
            for field in headers.split('&') {
                let Some((name, value)) = field.split_once('=') else { continue };
                if name.eq_ignore_ascii_case("Replaces") {
                    let value = percent_decode_str(value).decode_utf8();
                    replaces = Some(Replaces::parse(&value.map_err(|_| WireError::Value("Replaces"))?)?);
                }
            }
            if u.params.get("method").is_some_and(|m| !m.eq_ignore_ascii_case("INVITE")) {
                return Err(WireError::Value("Refer-To asks for a method other than INVITE"));
            }
            u.params.remove("method");
        }
        Ok(Self { uri, replaces })
    }
}

impl fmt::Display for ReferTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.replaces {
            Some(replaces) => {
                let text = replaces.to_string();
                let join = if self.uri.sip().is_some_and(|u| u.headers.is_some()) { '&' } else { '?' };
                write!(f, "<{}{join}Replaces={}>", self.uri, utf8_percent_encode(&text, ESCAPED))
            }
            None => write!(f, "<{}>", self.uri),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_round_trips() {
        let r = Replaces::parse(" a@b.c ; from-tag=x;To-Tag=y;early-only ").unwrap();
        assert_eq!(
            (r.call_id.as_str(), r.to_tag.as_str(), r.from_tag.as_str(), r.early_only),
            ("a@b.c", "y", "x", true)
        );
        assert_eq!(Replaces::parse(&r.to_string()), Ok(r));
        for bad in
            ["", "a", "a;to-tag=x", "a;to-tag=;from-tag=y", ";to-tag=x;from-tag=y", "a b;to-tag=x;from-tag=y"]
        {
            assert!(Replaces::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn targets_of_refer_carry_what_they_replace() {
        let text =
            "\"Carol\" <sip:carol@c.example;transport=tcp?Replaces=1%40h%3Bto-tag%3Dt%3Bfrom-tag%3Df&X-A=1>";
        let to = ReferTo::parse(text).unwrap();
        assert_eq!(to.uri.to_string(), "sip:carol@c.example;transport=tcp");
        assert_eq!(to.replaces.as_ref().unwrap().to_string(), "1@h;to-tag=t;from-tag=f");
        let shown = "<sip:carol@c.example;transport=tcp?Replaces=1%40h%3Bto-tag%3Dt%3Bfrom-tag%3Df>";
        assert_eq!(to.to_string(), shown);
        let with = ReferTo { uri: Uri::parse("sip:c@c.example?Subject=a").unwrap(), ..to };
        assert!(with.to_string().starts_with("<sip:c@c.example?Subject=a&Replaces=1%40h"), "{with}");
        let with = ReferTo { uri: Uri::parse("sip:a?b@c.example").unwrap(), ..with };
        assert!(with.to_string().starts_with("<sip:a?b@c.example?Replaces=1%40h"), "{with}");
        assert_eq!(ReferTo::parse("sip:bob@b;method=INVITE").unwrap().to_string(), "<sip:bob@b>");
        assert!(ReferTo::parse("<sip:bob@b;method=BYE>").is_err());
        assert!(ReferTo::parse("<sip:bob@b?Replaces=1>").is_err());
        assert!(ReferTo::parse("<sip:bob@b?Replaces=%ff%3Bto-tag%3Dt%3Bfrom-tag%3Df>").is_err());
    }
}
