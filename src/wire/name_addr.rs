//! `"Display" <uri>;params` as From, To, Contact, Route and Record-Route carry it (RFC 3261 §20.10).

use std::fmt;

use super::error::WireError;
use super::params::{Params, split};
use super::uri::Uri;

/// An address with its header parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAddr {
    /// Display name as written, quotes included.
    pub display: Option<String>,
    /// The address.
    pub uri: Uri,
    /// Header parameters, as `tag`.
    pub params: Params,
}

impl NameAddr {
    /// An address without a display name.
    #[must_use]
    pub fn new(uri: Uri) -> Self {
        Self { display: None, uri, params: Params::default() }
    }

    /// Parses one address.
    ///
    /// # Errors
    /// A display name that must be quoted, white space within the brackets, an invalid URI or parameter.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let text = text.trim();
        let Some(open) = bracket(text) else { return Self::bare(text) };
        let (before, rest) = text.split_at_checked(open).ok_or(WireError::Value("address"))?;
        let (uri, after) = rest
            .strip_prefix('<')
            .and_then(|r| r.split_once('>'))
            .ok_or(WireError::Value("address without closing bracket"))?;
        let params = match after.trim() {
            "" => Params::default(),
            p => Params::parse(p.strip_prefix(';').ok_or(WireError::Value("text behind an address"))?)?,
        };
        Ok(Self { display: display(before.trim())?, uri: Uri::parse(uri)?, params })
    }

    /// An address without brackets: parameters belong to the header field, and `?` or `,` need brackets.
    fn bare(text: &str) -> Result<Self, WireError> {
        let (uri, params) = match text.split_once(';') {
            Some((u, p)) => (u.trim(), Params::parse(p)?),
            None => (text, Params::default()),
        };
        if uri.contains(['?', ',']) {
            return Err(WireError::Value("an address with ? or , needs angle brackets"));
        }
        Ok(Self { display: None, uri: Uri::parse(uri)?, params })
    }

    /// Parses a comma-separated list.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_list(text: &str) -> Result<Vec<Self>, WireError> {
        split(text, ',')?.into_iter().map(Self::parse).collect()
    }

    /// The `tag` parameter.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag").filter(|t| !t.is_empty())
    }
}

/// Offset of the opening bracket, outside of a quoted display name.
fn bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => return Some(i),
            _ => {}
        }
    }
    None
}

fn display(text: &str) -> Result<Option<String>, WireError> {
    if text.is_empty() {
        return Ok(None);
    }
    let quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    if !quoted && text.contains(['"', ',', ';', ':', '\\', '>']) {
        return Err(WireError::Value("display name that needs quotes"));
    }
    Ok(Some(text.to_owned()))
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(d) = &self.display {
            write!(f, "{d} ")?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_an_address() {
        let p = |t: &str| NameAddr::parse(t).unwrap();
        assert_eq!(p("caller<sip:c@h>;tag=323").display.as_deref(), Some("caller"));
        assert_eq!(p("sip:c@h;tag=7").tag(), Some("7"));
        assert_eq!(
            p("\"J Rosenberg \\\\\\\"\"  <sip:j@h>\t;  tag = 98").to_string(),
            "\"J Rosenberg \\\\\\\"\" <sip:j@h>;tag=98"
        );
        assert_eq!(p("\"a <b>\" <sip:c@h;x=y?z=1>").uri.to_string(), "sip:c@h;x=y?z=1");
        assert_eq!(p("<tel:+1>").uri, Uri::Tel("+1".into()));
        assert_eq!(NameAddr::parse_list("<sip:a@h>, \"b, c\" <sip:b@h>;q=1").unwrap().len(), 2);
    }

    #[test]
    fn broken_addresses_are_errors() {
        for bad in [
            "\"Mr. J. User <sip:j@h>",
            "< sip:a@h>",
            "<sip:a@h >",
            "Bell, Alexander <sip:a@h>",
            "sip:a@h?Route=%3Csip:x%3E",
            "<sip:a@h>;;;",
            "<sip:a@h> x",
            "",
        ] {
            assert!(NameAddr::parse(bad).is_err(), "{bad:?}");
        }
    }
}
