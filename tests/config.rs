//! The shipped configuration file, the code's defaults and `--print-config` are consistent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_lossless,
    clippy::too_many_lines,
    unreachable_pub,
    missing_docs,
    reason = "a test may fail loudly"
)]

use std::fs;

use branchline::config::{Config, Sources, load, settings};

fn shipped() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/branchline.toml")).unwrap()
}

/// The file with all commented settings enabled.
fn uncommented() -> String {
    let live = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    shipped().lines().map(live).collect::<Vec<_>>().join("\n")
}

fn with_file(text: &str) -> Config {
    load(&Sources { file: Some(("branchline.toml", text)), env: &[] }).unwrap_or_else(|f| panic!("{f:#?}"))
}

#[test]
fn the_file_shows_every_setting_with_its_default() {
    let text = uncommented();
    assert_eq!(with_file(&text), Config::default());
    let mut section = String::new();
    let mut shown = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            shown.push(format!("{section}{key}"));
        }
    }
    let known: Vec<_> = settings::SETTINGS.iter().map(|s| s.key).collect();
    assert_eq!(shown, known, "the file lists the settings in the code's order, each once");
}

#[test]
fn every_environment_name_is_in_the_file() {
    let text = shipped();
    for s in settings::SETTINGS {
        for name in s.env.iter().filter(|n| **n != "STATE_DIRECTORY") {
            assert!(text.contains(&format!("[{name}")), "{} ({name}) is not in the file", s.key);
        }
    }
}

#[test]
fn changing_any_setting_changes_print_config() {
    let before = settings::print(&Config::default());
    for s in settings::SETTINGS {
        let shown = (s.show)(&Config::default());
        let (section, key) = s.key.split_once('.').unwrap_or(("", s.key));
        let tries = candidates(&shown);
        let changed = tries.iter().any(|value| {
            let head = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
            // Other settings required by the tested one.
            let guard = match s.key {
                "http.listen" => "trust_lan = true\n",
                "sip.tls.cert" => "tls.key = \"k\"\n",
                "sip.tls.key" => "tls.cert = \"c\"\n",
                "sip.tls.client_ca" => "tls.key = \"k\"\ntls.cert = \"c\"\n",
                "s3.access_key" => "secret_key = \"k\"\n",
                "s3.secret_key" | "s3.secret_key_file" => "access_key = \"k\"\n",
                _ => "",
            };
            let text = format!("{head}{key} = {value}\n{guard}");
            let Ok(config) = load(&Sources { file: Some(("f", &text)), env: &[] }) else { return false };
            settings::print(&config) != before
        });
        assert!(changed, "no other value of {} showed in --print-config (tried {tries:?})", s.key);
    }
}

/// Values different from the default, one of which matches the type of the setting.
fn candidates(shown: &str) -> Vec<String> {
    let mut out: Vec<String> =
        ["true", "false", "7", "60", "8000", "15000", "9000", "\"warn\"", "\"10.1.2.3:99\"", "\"10.1.2.3\""]
            .iter()
            .map(|s| (*s).to_owned())
            .collect();
    out.extend([
        "[\"10.1.2.3\"]".to_owned(),
        "[\"PCMA\"]".to_owned(),
        "\"https://other.example/x\"".to_owned(),
    ]);
    out.push("\"fd00::1\"".to_owned());
    out.extend(["\"dtmf.received\"".to_owned(), "\"small\"".to_owned(), "\"off\"".to_owned()]);
    out.push("[\"https://other.example\"]".to_owned());
    out.extend(["\"https://other.example\"".to_owned(), "\"path\"".to_owned(), "\"info\"".to_owned()]);
    out.push("\"md5_first\"".to_owned());
    out.retain(|c| c != shown);
    out
}
