//! Conditional requests (RFC 9110 §13) and ranges (§14) for files.

/// Conditional and range headers of a request. Repeated list headers are joined; other repeated headers are
/// ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-Match`.
    pub if_match: Option<String>,
    /// `If-None-Match`.
    pub if_none_match: Option<String>,
    /// `If-Range`; a value that is not an entity tag never matches.
    pub if_range: Option<String>,
    /// `Range`; only for `GET` (§14.2).
    pub range: Option<String>,
}

/// Part of the file to send.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    /// Everything.
    Whole,
    /// From the first to the last byte given.
    Part(u64, u64),
    /// Range not satisfiable (416).
    NoPart,
    /// The client has the current version (304).
    NotModified,
    /// A precondition failed (412).
    Failed,
}

/// Evaluates the headers in the order of §13.2.2 for a file of `length` bytes with the strong entity tag
/// `tag`. No modification dates are sent, so conditions on dates are ignored (§13.1.3, §13.1.4).
#[must_use]
pub fn choose(wanted: &Conditions, tag: &str, length: u64) -> Choice {
    if wanted.if_match.as_deref().is_some_and(|list| !names(list, tag, false)) {
        return Choice::Failed;
    }
    if wanted.if_none_match.as_deref().is_some_and(|list| names(list, tag, true)) {
        return Choice::NotModified;
    }
    match &wanted.range {
        // Strong comparison; dates and unknown tags never match (§13.1.5).
        Some(range) if wanted.if_range.as_deref().is_none_or(|known| known == tag) => part_of(range, length),
        _ => Choice::Whole,
    }
}

/// True if a list of entity tags, or `*`, contains `tag`; weak ones only in a weak comparison (§8.8.3.2).
fn names(list: &str, tag: &str, weakly: bool) -> bool {
    if list.trim() == "*" {
        return true;
    }
    let mut rest = list;
    // An entity tag may contain commas.
    while let Some((before, quoted)) = rest.split_once('"') {
        let Some((inner, after)) = quoted.split_once('"') else { return false };
        let weak = before.ends_with("W/");
        if (weakly || !weak) && tag.strip_prefix('"').and_then(|t| t.strip_suffix('"')) == Some(inner) {
            return true;
        }
        rest = after;
    }
    false
}

/// Parses `Range` (§14.1.2). Several ranges, other units and invalid values are ignored (§14.2).
fn part_of(range: &str, length: u64) -> Choice {
    let Some((unit, set)) = range.trim().split_once('=') else { return Choice::Whole };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Choice::Whole;
    }
    // Empty list elements are ignored (§5.6.1).
    let mut specs = set.split(',').map(|s| s.trim_matches([' ', '\t'])).filter(|s| !s.is_empty());
    let (Some(spec), None) = (specs.next(), specs.next()) else { return Choice::Whole };
    let Some((from, to)) = spec.split_once('-') else { return Choice::Whole };
    match (number(from), number(to)) {
        (Number::Is(from), Number::Is(to)) if from > to => Choice::Whole,
        (Number::Is(from), Number::Is(_) | Number::Absent) if from >= length => Choice::NoPart,
        (Number::Is(from), Number::Is(to)) => Choice::Part(from, to.min(length - 1)),
        (Number::Is(from), Number::Absent) => Choice::Part(from, length - 1),
        (Number::Absent, Number::Is(0)) => Choice::NoPart,
        (Number::Absent, Number::Is(last)) if length > 0 => {
            Choice::Part(length.saturating_sub(last), length - 1)
        }
        _ => Choice::Whole,
    }
}

enum Number {
    Absent,
    Is(u64),
    Not,
}

/// Parses digits; numbers that are too large are clamped (§14.1.1).
fn number(text: &str) -> Number {
    match text {
        "" => Number::Absent,
        _ if text.bytes().all(|b| b.is_ascii_digit()) => Number::Is(text.parse().unwrap_or(u64::MAX)),
        _ => Number::Not,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_understood_or_passed_over() {
        for (range, part) in [
            ("bytes=0-9", Choice::Part(0, 9)),
            ("Bytes=0-9", Choice::Part(0, 9)),
            ("bytes=0-9,", Choice::Part(0, 9)),
            ("bytes=, 0-9 ,\t", Choice::Part(0, 9)),
            ("bytes=90-", Choice::Part(90, 99)),
            ("bytes=-10", Choice::Part(90, 99)),
            ("bytes=-1000", Choice::Part(0, 99)),
            ("bytes=95-1000", Choice::Part(95, 99)),
            ("bytes=95-99999999999999999999999", Choice::Part(95, 99)),
            ("bytes=-99999999999999999999999", Choice::Part(0, 99)),
            ("bytes=100-", Choice::NoPart),
            ("bytes=100-200", Choice::NoPart),
            ("bytes=18446744073709551616-", Choice::NoPart),
            ("bytes=-0", Choice::NoPart),
            ("bytes=9-3", Choice::Whole),
            ("bytes=0-1,5-6", Choice::Whole),
            ("bytes=0 - 9", Choice::Whole),
            ("bytes=+0-9", Choice::Whole),
            ("bytes=0-+9", Choice::Whole),
            ("bytes=", Choice::Whole),
            ("bytes=,", Choice::Whole),
            ("lines=1-2", Choice::Whole),
            ("bytes=x-", Choice::Whole),
            ("bytes=-", Choice::Whole),
            ("bytes 0-9", Choice::Whole),
        ] {
            assert_eq!(part_of(range, 100), part, "{range}");
        }
        assert_eq!(part_of("bytes=-5", 0), Choice::Whole);
        assert_eq!(part_of("bytes=0-", 0), Choice::NoPart);
    }

    /// Headers If-Match, If-None-Match, If-Range; the range is always the first ten bytes.
    #[test]
    fn conditions_in_their_order() {
        let part = || Choice::Part(0, 9);
        for (if_match, if_none_match, if_range, choice) in [
            (None, None, None, part()),
            (Some("*"), None, None, part()),
            (Some("\"a,b\", \"t\""), None, None, part()),
            (Some("W/\"t\""), None, None, Choice::Failed),
            (Some("\"u\""), None, None, Choice::Failed),
            (Some("t"), None, None, Choice::Failed),
            (Some("\"u\""), Some("*"), Some("\"t\""), Choice::Failed),
            (None, Some("*"), None, Choice::NotModified),
            (None, Some("W/\"t\""), None, Choice::NotModified),
            (None, Some("\"u\",\"t\""), Some("\"u\""), Choice::NotModified),
            (None, Some("\"u\""), None, part()),
            (None, None, Some("\"t\""), part()),
            (None, None, Some("W/\"t\""), Choice::Whole),
            (None, None, Some("\"u\""), Choice::Whole),
            (None, None, Some("\"t\", \"u\""), Choice::Whole),
            (None, None, Some("Tue, 21 Nov 2017 14:43:11 GMT"), Choice::Whole),
            (None, None, Some("*"), Choice::Whole),
            (None, None, Some(""), Choice::Whole),
        ] {
            let own = |text: Option<&str>| text.map(str::to_owned);
            let wanted = Conditions {
                if_match: own(if_match),
                if_none_match: own(if_none_match),
                if_range: own(if_range),
                range: Some("bytes=0-9".to_owned()),
            };
            assert_eq!(choose(&wanted, "\"t\"", 100), choice, "{wanted:?}");
        }
    }
}
