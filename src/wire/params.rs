//! `;name=value` parameters, and quote-aware splitting for structured header fields.

use std::fmt;

use super::error::WireError;

/// True for token characters (RFC 3261 §25.1).
#[must_use]
pub fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b)
}

/// Parameters in order, values as written (including quotes).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, Option<String>)>);

impl Params {
    /// Parses what follows the first `;`: `a=b;c;d="e;f"`. White space around `;` and `=` is dropped.
    ///
    /// # Errors
    /// An empty parameter, an unbalanced quote, white space inside a value.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let mut out = Vec::new();
        for part in split(text, ';')? {
            let (name, value) = match part.split_once('=') {
                Some((n, v)) => (n.trim(), Some(v.trim())),
                None => (part.trim(), None),
            };
            if name.is_empty() || !name.bytes().all(|b| is_token(b) || b"[]/:&$".contains(&b)) {
                return Err(WireError::Value("parameter"));
            }
            if let Some(v) = value
                && !v.starts_with('"')
                && v.bytes().any(|b| b.is_ascii_whitespace() || b"\"<>,;".contains(&b))
            {
                return Err(WireError::Value("parameter value"));
            }
            out.push((name.to_owned(), value.map(str::to_owned)));
        }
        Ok(Self(out))
    }

    /// The value of `name` (case-insensitive), without quotes; `Some("")` for a flag.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        let value = value.as_deref().unwrap_or_default();
        Some(value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value))
    }

    /// All parameters as written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Sets `name`, in place if it exists.
    pub fn set(&mut self, name: &str, value: Option<String>) {
        match self.0.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            Some((_, v)) => *v = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Removes `name`.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            match value {
                Some(v) => write!(f, ";{name}={v}")?,
                None => write!(f, ";{name}")?,
            }
        }
        Ok(())
    }
}

/// Splits at `sep`, but not within quotes or angle brackets.
///
/// # Errors
/// An unbalanced quote or bracket.
pub fn split(text: &str, sep: char) -> Result<Vec<&str>, WireError> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped, mut angle) = (0, false, false, false);
    for (i, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if quoted {
            match c {
                '\\' => escaped = true,
                '"' => quoted = false,
                _ => {}
            }
        } else if c == '"' {
            quoted = true;
        } else if c == '<' || c == '>' {
            if angle == (c == '<') {
                return Err(WireError::Value("angle bracket"));
            }
            angle = c == '<';
        } else if c == sep && !angle {
            parts.push(text.get(start..i).unwrap_or_default());
            start = i + c.len_utf8();
        }
    }
    if quoted || angle {
        return Err(WireError::Value("unbalanced quote or bracket"));
    }
    parts.push(text.get(start..).unwrap_or_default());
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_spelling() {
        let p = Params::parse(" tag =  a1 ; x ; q=\"b;\\\"c\" ; r= [::1]:5060").unwrap();
        assert_eq!(p.to_string(), ";tag=a1;x;q=\"b;\\\"c\";r=[::1]:5060");
        assert_eq!(
            (p.get("TAG"), p.get("x"), p.get("q"), p.get("y")),
            (Some("a1"), Some(""), Some("b;\\\"c"), None)
        );
    }

    #[test]
    fn empty_and_broken_parameters_are_errors() {
        for bad in ["", ";", "a;;b", "a=b c", "a=\"b", "=x", "a b=c", "a=b,c"] {
            assert!(Params::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn split_sees_quotes_and_brackets() {
        assert_eq!(split("\"a,b\" <sip:c,d>;x, e", ',').unwrap(), ["\"a,b\" <sip:c,d>;x", " e"]);
        assert!(split("\"a", ',').is_err());
        assert!(split("<a, <b>", ',').is_err());
        assert!(split("a>", ',').is_err());
    }

    #[test]
    fn set_replaces_in_place() {
        let mut p = Params::parse("rport;branch=z").unwrap();
        p.set("rport", Some("9".into()));
        p.set("received", Some("1.2.3.4".into()));
        assert_eq!(p.to_string(), ";rport=9;branch=z;received=1.2.3.4");
        p.remove("RPORT");
        assert_eq!(p.to_string(), ";branch=z;received=1.2.3.4");
    }
}
