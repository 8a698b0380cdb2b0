//! Merges board profile, file, environment and command line into one [`Config`], reporting all errors at
//! once.

use super::board::{self, AUTO, GENERIC};
use super::file::{self, Fault, Kind};
use super::profile;
use super::sections::Config;
use super::settings::SETTINGS;
use super::value::Raw;

/// Configuration sources as text: the caller reads files and the environment.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    /// Name and text of the file, if any.
    pub file: Option<(&'a str, &'a str)>,
    /// Environment variables.
    pub env: &'a [(String, String)],
}

/// Machine-specific inputs.
#[derive(Debug, Default)]
pub struct Machine<'a> {
    /// Model named by the device tree.
    pub model: Option<&'a str>,
    /// Text of the profile if the board is named by a path.
    pub profile: Option<&'a str>,
}

/// The board named by the sources: a name, [`AUTO`], or a path (contains a slash).
#[must_use]
pub fn board_named_by(sources: &Sources<'_>) -> String {
    let mut named = Config::default();
    let mut unreported = Vec::new();
    file::apply(&mut named, sources.file, Kind::Settings, &mut unreported);
    apply_env(&mut named, sources.env, &mut unreported);
    named.board
}

/// Builds the configuration without machine-specific inputs.
///
/// # Errors
/// As [`load_on`].
pub fn load(sources: &Sources<'_>) -> Result<Config, Vec<Fault>> {
    load_on(sources, &Machine::default())
}

/// Builds the configuration. Precedence, highest first: environment, file, board profile, default.
///
/// All errors of all sources, in the order of the sources.
/// Every fault of every source, in the order of the sources.
pub fn load_on(sources: &Sources<'_>, machine: &Machine<'_>) -> Result<Config, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut config = Config::default();
    // The board's settings are overridden by the sources that name it, so find the name first.
    let board = apply_board(&mut config, board_named_by(sources), machine, &mut faults);
    file::apply(&mut config, sources.file, Kind::Settings, &mut faults);
    apply_env(&mut config, sources.env, &mut faults);
    config.board = board;
    if faults.is_empty() {
        let conflict = |what| Fault { place: "configuration".to_owned(), what };
        faults.extend(config.conflicts().into_iter().map(conflict));
    }
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

/// Applies the board profile; returns its name.
fn apply_board(config: &mut Config, named: String, machine: &Machine<'_>, faults: &mut Vec<Fault>) -> String {
    if let Some(text) = machine.profile.filter(|_| named.contains('/')) {
        profile::apply(config, &named, text, faults);
        return named;
    }
    let found = match named.as_str() {
        AUTO => machine.model.and_then(profile::for_model).or_else(|| board::find(GENERIC)),
        name => board::find(name),
    };
    let Some(found) = found else {
        let known: Vec<&str> = board::BOARDS.iter().map(|b| b.name).collect();
        let what = format!(
            "board \"{named}\" is not known; known boards: {}, {AUTO}, or the path of a profile, with a slash in it",
            known.join(", ")
        );
        faults.push(Fault { place: "board".to_owned(), what });
        return named;
    };
    profile::apply(config, &format!("board/{}.toml", found.name), found.text, faults);
    found.name.to_owned()
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
        let shown = super::super::settings::print(&c);
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

    #[test]
    fn a_board_is_named_by_the_machine_or_read_from_a_path() {
        let on = |board: &str, machine: Machine<'_>| {
            load_on(&Sources { file: None, env: &env(&[("BOARD", board)]) }, &machine)
        };
        let pi = Machine { model: Some("Raspberry Pi 4 Model B Rev 1.4"), profile: None };
        let c = on("auto", pi).unwrap();
        assert_eq!((c.board.as_str(), c.limits.legs, c.rtp.media_core), ("rpi4", 128, Some(3)));
        assert_eq!(on("auto", Machine::default()).unwrap().board, "generic");
        let mine = board::find("small").unwrap().text.replace("legs = 32", "legs = 7");
        let c = on("/etc/mine.toml", Machine { model: None, profile: Some(&mine) }).unwrap();
        assert_eq!((c.board.as_str(), c.limits.legs, c.profile_limits.legs), ("/etc/mine.toml", 7, 7));
        let faults = on("/etc/mine.toml", Machine { model: None, profile: Some("[limits]\nlegs = 0\n") });
        assert!(
            faults.unwrap_err()[0]
                .to_string()
                .starts_with("/etc/mine.toml:2: limits.legs: 0 is out of range")
        );
    }
}
