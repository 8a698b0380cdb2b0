//! Header fields in order, looked up by full or compact name, case-insensitive (RFC 3261 §7.3).

/// Header names and their compact forms.
const COMPACT: &[(&str, &str)] = &[
    ("Via", "v"),
    ("From", "f"),
    ("To", "t"),
    ("Call-ID", "i"),
    ("Contact", "m"),
    ("Content-Length", "l"),
    ("Content-Type", "c"),
    ("Content-Encoding", "e"),
    ("Supported", "k"),
    ("Subject", "s"),
    ("Refer-To", "r"),
    ("Referred-By", "b"),
    ("Event", "o"),
    ("Allow-Events", "u"),
    ("Session-Expires", "x"),
];

/// The header fields of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Appends a field.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// All values of `name` (its full form), in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| same(n, name)).map(|(_, v)| v.as_str())
    }

    /// The first value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| same(n, name)).map(|(_, v)| v.as_str())
    }

    /// True if the comma-separated values of a field contain this token, case-insensitive.
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|t| t.eq_ignore_ascii_case(token))
    }

    /// The elements of all comma-separated values of `name`, trimmed, e.g. option tags and methods.
    pub fn tokens<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(|v| v.split(',')).map(str::trim).filter(|t| !t.is_empty())
    }

    /// Fields as they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// True if `given` is `name` or its compact form.
#[must_use]
pub fn same(given: &str, name: &str) -> bool {
    given.eq_ignore_ascii_case(name)
        || (given.len() == 1
            && COMPACT
                .iter()
                .any(|(full, short)| full.eq_ignore_ascii_case(name) && given.eq_ignore_ascii_case(short)))
}

/// Unfolded header lines.
pub(super) fn unfold(text: &str) -> impl Iterator<Item = String> {
    let mut out: Vec<String> = Vec::new();
    for line in text.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l)) {
        match out.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ if line.is_empty() => {}
            _ => out.push(line.to_owned()),
        }
    }
    out.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_and_mixed_case_names_are_equal() {
        let mut h = Headers::default();
        h.push("v", "1");
        h.push("VIA", "2");
        h.push("K", "timer, 100rel");
        assert_eq!(h.all("Via").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(h.tokens("Supported").collect::<Vec<_>>(), ["timer", "100rel"]);
        assert_eq!(h.get("V"), Some("1"));
        assert!(!same("x", "Via"));
    }
}
