//! Reads one TOML file into a [`Config`] using the table of [`settings`]; errors carry line numbers.

use std::fmt;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::sections::Config;
use super::settings::{self, SETTINGS};
use super::trunk::{TrunkFields, User};
use super::value::Raw;

/// One configuration error and its location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `file:line`, or the name of an environment variable.
    pub place: String,
    /// What is wrong, and what is allowed.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Kind of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The operator's configuration.
    Settings,
    /// A board profile: its section `[profile]` contains no settings.
    Profile,
}

/// Line number of a byte offset, from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1
}

/// Applies the settings of a file; returns the keys it contains.
pub(super) fn apply(
    config: &mut Config,
    file: Option<(&str, &str)>,
    kind: Kind,
    faults: &mut Vec<Fault>,
) -> Vec<String> {
    let Some((name, text)) = file else { return Vec::new() };
    let place = |at: usize| format!("{name}:{}", line_of(text, at));
    let (table, errors) = DeTable::parse_recoverable(text);
    for e in &errors {
        let at = e.span().map_or(0, |s| s.start);
        faults.push(Fault { place: place(at), what: e.message().trim().to_owned() });
    }
    if !errors.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut lists = Vec::new();
    flatten("", table.get_ref(), &mut found, &mut lists);
    if kind == Kind::Profile {
        found.retain(|(_, key, _)| key != "profile");
    }
    for (key, entry) in lists {
        let start = entry.span().start;
        if let Err((at, what)) = add_entry(config, key, entry) {
            faults.push(Fault { place: place(at.unwrap_or(start)), what: format!("{key}: {what}") });
        }
    }
    found.sort_by_key(|(at, _, _)| *at);
    let mut keys = Vec::new();
    for (at, key, raw) in found {
        let outcome = match settings::find(&key) {
            Some(s) => (s.set)(config, &raw).map_err(|what| format!("{key}: {what}")),
            None => Err(unknown(&key)),
        };
        if let Err(what) = outcome {
            faults.push(Fault { place: place(at), what });
        }
        keys.push(key);
    }
    keys
}

fn unknown(key: &str) -> String {
    match settings::nearest(key) {
        Some(near) => format!("unknown setting {key}; did you mean {near}?"),
        None => format!("unknown setting {key}"),
    }
}

/// Every leaf of the file with its byte offset and dotted key.
fn flatten<'t>(
    prefix: &str,
    table: &DeTable<'t>,
    out: &mut Vec<(usize, String, Raw)>,
    lists: &mut Vec<(&'static str, Spanned<DeValue<'t>>)>,
) {
    for (key, value) in table {
        let dotted =
            if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        let list = LISTS.iter().find(|l| **l == dotted).zip(value.get_ref().as_array());
        if let Some((key, entries)) = list {
            lists.extend(entries.iter().map(|e| (*key, e.clone())));
            continue;
        }
        match value.get_ref().as_table() {
            Some(section) if is_section(&dotted) => flatten(&dotted, section, out, lists),
            _ => out.push((key.span().start, dotted, raw(value.get_ref()))),
        }
    }
}

/// Arrays of tables.
const LISTS: [&str; 2] = ["sip.trunk", "sip.user"];

/// Adds one entry of an array of tables; the error carries its byte offset, if known.
fn add_entry(
    config: &mut Config,
    key: &str,
    entry: Spanned<DeValue<'_>>,
) -> Result<(), (Option<usize>, String)> {
    let wrong = |e: toml::de::Error| (e.span().map(|s| s.start), e.message().to_owned());
    if entry.get_ref().as_table().is_none() {
        return Err((None, "a table is expected".to_owned()));
    }
    let entry = ValueDeserializer::from(entry);
    if key == "sip.user" {
        let user = User::deserialize(entry).map_err(wrong)?;
        config.sip.users.push(user.check().map_err(|e| (None, e))?);
        return Ok(());
    }
    let fields = TrunkFields::deserialize(entry).map_err(wrong)?;
    if fields.id.is_empty() {
        return Err((None, "id: a name is expected".to_owned()));
    }
    config.sip.trunks.push(fields.check().map_err(|e| (None, e))?);
    Ok(())
}

fn is_section(key: &str) -> bool {
    let prefix = format!("{key}.");
    SETTINGS.iter().any(|s| s.key.starts_with(&prefix))
}

fn raw(v: &DeValue<'_>) -> Raw {
    match v {
        DeValue::String(s) => Raw::Str(s.to_string()),
        DeValue::Boolean(b) => Raw::Bool(*b),
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix())
            .map_or_else(|_| Raw::Other("a number beyond 64 bits".to_owned()), Raw::Int),
        DeValue::Array(a) => {
            let strings: Option<Vec<String>> =
                a.iter().map(|v| v.get_ref().as_str().map(str::to_owned)).collect();
            strings.map_or_else(|| Raw::Other("a list of other things than strings".to_owned()), Raw::List)
        }
        DeValue::Float(f) => Raw::Other(f.as_str().to_owned()),
        DeValue::Datetime(d) => Raw::Other(d.to_string()),
        DeValue::Table(_) => Raw::Other("a table".to_owned()),
    }
}
