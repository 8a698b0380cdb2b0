//! Board profile, file, environment and command line into one [`Config`], reporting all faults at once.

use std::fmt;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::settings::{self, SETTINGS};
use super::value::Raw;
use super::{Config, TrunkFields, User, board};

/// Where a configuration comes from, as text: reading files and the environment is the caller's job.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    /// Name and text of the file, if there is one.
    pub file: Option<(&'a str, &'a str)>,
    /// Environment variables.
    pub env: &'a [(String, String)],
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `file:line`, or the name of an environment variable.
    pub place: String,
    /// What is wrong and what is allowed.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl board::Board {
    /// The limits of a profile.
    #[must_use]
    pub fn limits(&self) -> board::Limits {
        let mut config = Config::default();
        // Built-in profiles have no faults: a test reads them all.
        apply_file(&mut config, Some((self.name, self.text)), &mut Vec::new());
        config.limits
    }
}

/// Builds the configuration. Precedence, highest first: environment, file, board profile, default.
///
/// # Errors
/// Every fault of every source, in the order of the sources.
pub fn load(sources: &Sources<'_>) -> Result<Config, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut config = Config::default();
    // The board is named by the same sources whose other settings override it: find the name first.
    let mut named = Config::default();
    let mut unreported = Vec::new();
    apply_file(&mut named, sources.file, &mut unreported);
    apply_env(&mut named, sources.env, &mut unreported);
    match board::find(&named.board) {
        Some(b) => apply_file(&mut config, Some((&format!("board/{}.toml", b.name), b.text)), &mut faults),
        None => {
            let known: Vec<&str> = board::BOARDS.iter().map(|(n, _)| *n).collect();
            let what = format!("board \"{}\" is not known; known boards: {}", named.board, known.join(", "));
            faults.push(Fault { place: "board".to_owned(), what });
        }
    }
    apply_file(&mut config, sources.file, &mut faults);
    apply_env(&mut config, sources.env, &mut faults);
    if faults.is_empty() {
        let conflict = |what| Fault { place: "configuration".to_owned(), what };
        faults.extend(config.conflicts().into_iter().map(conflict));
    }
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

fn apply_env(config: &mut Config, env: &[(String, String)], faults: &mut Vec<Fault>) {
    for s in SETTINGS {
        let present = |name: &&str| env.iter().find(|(k, v)| k == name && !v.is_empty());
        let Some((name, value)) = s.env.iter().find_map(present) else { continue };
        if let Err(what) = (s.set)(config, &Raw::Text(value.clone())) {
            faults.push(Fault { place: name.clone(), what });
        }
    }
}

fn apply_file(config: &mut Config, file: Option<(&str, &str)>, faults: &mut Vec<Fault>) {
    let Some((name, text)) = file else { return };
    let place = |at: usize| {
        let line = text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1;
        format!("{name}:{line}")
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for e in &errors {
        let at = e.span().map_or(0, |s| s.start);
        faults.push(Fault { place: place(at), what: e.message().trim().to_owned() });
    }
    if !errors.is_empty() {
        return;
    }
    let mut found = Vec::new();
    let mut lists = Vec::new();
    flatten("", table.get_ref(), &mut found, &mut lists);
    for (key, entry) in lists {
        let start = entry.span().start;
        if let Err((at, what)) = add_entry(config, key, entry) {
            faults.push(Fault { place: place(at.unwrap_or(start)), what: format!("{key}: {what}") });
        }
    }
    found.sort_by_key(|(at, _, _)| *at);
    for (at, key, raw) in found {
        let outcome = match settings::find(&key) {
            Some(s) => (s.set)(config, &raw).map_err(|what| format!("{key}: {what}")),
            None => Err(unknown(&key)),
        };
        if let Err(what) = outcome {
            faults.push(Fault { place: place(at), what });
        }
    }
}

fn unknown(key: &str) -> String {
    match settings::nearest(key) {
        Some(near) => format!("unknown setting {key}; did you mean {near}?"),
        None => format!("unknown setting {key}"),
    }
}

/// Every leaf of the file with the byte it starts at and its dotted key.
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

/// Lists of tables.
const LISTS: [&str; 2] = ["sip.trunk", "sip.user"];

/// Adds one table of a list; the byte where it is wrong, if that is known, and what is wrong.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn environment_beats_file_beats_board_beats_default() {
        let e = env(&[("HTTP_ADDR", "127.0.0.1:9"), ("LOG_LEVEL", ""), ("BOARD", "generic")]);
        let file = "[http]\nlisten = \"127.0.0.1:7\"\n[log]\nlevel = \"warn\"\n[limits]\nlegs = 3\n";
        let c = load(&Sources { file: Some(("f", file)), env: &e }).unwrap();
        assert_eq!(c.http.listen.port(), 9);
        assert_eq!(c.log.level, log::LevelFilter::Warn);
        assert_eq!((c.limits.legs, c.limits.rooms), (3, 128));
    }

    #[test]
    fn all_faults_come_at_once_with_their_lines() {
        let file = "borad = \"x\"\n[http]\nlisten = 7\nallowed_ips = [\"300.1.1.1\"]\n[nonsense]\na = 1\n[limits]\nlegs = 0\n";
        let e = env(&[("LOG_LEVEL", "loud")]);
        let faults = load(&Sources { file: Some(("f", file)), env: &e }).unwrap_err();
        let got: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(got.len(), 6, "{got:#?}");
        assert_eq!(got[0], "f:1: unknown setting borad; did you mean board?");
        assert!(got[1].starts_with("f:3: http.listen: 7 is not an address with port"), "{}", got[1]);
        assert!(got[2].starts_with("f:4: http.allowed_ips: \"300.1.1.1\" in the list is not"), "{}", got[2]);
        assert_eq!(got[3], "f:5: unknown setting nonsense");
        assert_eq!(got[4], "f:8: limits.legs: 0 is out of range: 1 to 1024 is allowed");
        assert!(got[5].starts_with("LOG_LEVEL: \"loud\" is not one of error"), "{}", got[5]);
    }

    #[test]
    fn name_servers_are_few() {
        let read = |n: usize| {
            let servers = vec!["192.0.2.1"; n].join(",");
            load(&Sources { file: None, env: &env(&[("DNS_SERVERS", &servers)]) })
        };
        assert_eq!(read(8).unwrap().dns.servers.len(), 8);
        let faults = read(9).unwrap_err();
        assert!(faults[0].to_string().contains("has 9 name servers, at most 8"), "{}", faults[0]);
    }

    #[test]
    fn trunks_and_users_are_read_and_their_faults_named() {
        let file = "[[sip.trunk]]\nid = \"a\"\ntype = \"ip_ip\"\npeer_uri = \"sip:pbx.example\"\n\
                    [[sip.trunk]]\nid = \"b\"\ntype = \"ip_ip\"\npeer_uri = \"sip:b.example\"\nsrtp = \"required\"\n\
                    [[sip.user]]\nname = \"anna\"\npassword = \"hunter2\"\n";
        let c = load(&Sources { file: Some(("f", file)), env: &[] }).unwrap();
        assert_eq!(
            (c.sip.trunks.len(), c.sip.trunks[1].fields.srtp),
            (2, Some(super::super::Srtp::Required))
        );
        let shown = settings::print(&c);
        assert!(shown.contains("peer_uri = \"sip:b.example\"") && !shown.contains("hunter2"), "{shown}");
        let faults = |file: &str| {
            let faults = load(&Sources { file: Some(("f", file)), env: &[] }).unwrap_err();
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let got = faults("[[sip.trunk]]\nid = \"a\"\ntyp = \"ip_ip\"\n");
        assert!(got.starts_with("f:3: sip.trunk: unknown field `typ`"), "{got}");
        let got = faults("\n[[sip.trunk]]\nid = \"a\"\ntype = \"ip_ip\"\n");
        assert!(got.starts_with("f:2: sip.trunk: peer_uri: a SIP URI"), "{got}");
        let got = faults("[sip]\ntrunk = \"x\"\nuser = [1]\n");
        assert!(got.contains("unknown setting sip.trunk") && got.contains("sip.user: a table"), "{got}");
        let user = "[[sip.user]]\nname = \"a\"\npassword = \"b\"\n";
        assert!(faults(&format!("{user}{user}")).contains("have the name \"a\""));
    }

    #[test]
    fn broken_toml_names_its_line() {
        let faults = load(&Sources { file: Some(("f", "a = \n\nb = [\n")), env: &[] }).unwrap_err();
        assert!(faults[0].place.starts_with("f:"), "{faults:?}");
    }

    #[test]
    fn an_open_api_must_be_guarded() {
        let open = |extra: &[(&str, &str)]| {
            let mut pairs = vec![("HTTP_ADDR", ":8080")];
            pairs.extend_from_slice(extra);
            load(&Sources { file: None, env: &env(&pairs) })
        };
        let faults = open(&[]).unwrap_err();
        assert!(faults[0].what.contains("http.tokens"), "{faults:?}");
        assert!(open(&[("API_TOKEN", "a,b")]).is_ok());
        assert!(open(&[("ALLOWED_IPS", "10.0.0.0/8")]).is_ok());
        assert!(open(&[("TRUST_LAN", "true")]).is_ok());
    }

    #[test]
    fn an_unknown_board_lists_the_known_ones() {
        let faults = load(&Sources { file: None, env: &env(&[("BOARD", "toaster")]) }).unwrap_err();
        assert!(faults[0].what.contains("known boards: generic"), "{faults:?}");
    }
}
