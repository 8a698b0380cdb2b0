//! The systemd unit: its exposure level, and that the paths in it exist.
#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
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
use std::process::Command;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");

fn unit() -> String {
    fs::read_to_string(format!("{DIR}/branchline.service")).unwrap()
}

/// Values of a key, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|l| l.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// The exposure level according to `systemd-analyze security`, 0 to 10; `None` if not installed (`make test`
/// installs it).
fn exposure(name: &str, text: &str) -> Option<f64> {
    let dir = std::env::temp_dir().join(format!("branchline-unit-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join("branchline.service");
    fs::write(&file, text).unwrap();
    let out = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&file)
        .env("SYSTEMD_COLORS", "0")
        .output();
    fs::remove_dir_all(dir).unwrap();
    let text = String::from_utf8(out.ok()?.stdout).unwrap();
    let (_, level) = text.rsplit_once("branchline.service: ").unwrap_or_else(|| panic!("{text}"));
    Some(level.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn little_is_left_open_with_sound_cards_and_less_without() {
    let without = fs::read_to_string(format!("{DIR}/without-sound.conf")).unwrap();
    for (name, text, most) in [("with", unit(), 2.0), ("without", format!("{}\n{without}", unit()), 1.5)] {
        let Some(found) = exposure(name, &text) else {
            println!("systemd-analyze is not installed: nothing was measured");
            return;
        };
        println!("exposure {name} sound cards: {found}");
        assert!(found > 0.0 && found <= most, "{name}: {found}");
    }
    assert!(exposure("open", "[Service]\nExecStart=/bin/true\n").unwrap() > 9.0, "it can tell");
}

#[test]
fn the_unit_fits_the_program() {
    let unit = unit();
    assert_eq!(values(&unit, "Type"), ["notify"]);
    assert_eq!(values(&unit, "ExecReload"), ["/bin/kill -HUP $MAINPID"]);
    let check = values(&unit, "ExecStartPre")[0];
    let start = values(&unit, "ExecStart")[0];
    assert_eq!(check.replace(" --check", ""), start, "what is checked is what is started");
    let mut words = start.split(' ');
    assert_eq!(words.next(), Some("/usr/bin/branchline"));
    branchline::cli::arguments::command().try_get_matches_from(start.split(' ')).unwrap();
    // The priority of the media thread, and time for calls to end.
    let limit: u32 = values(&unit, "LimitRTPRIO")[0].parse().unwrap();
    let config = branchline::config::Config::default();
    assert!(limit >= config.rtp.realtime_priority);
    let stop: u32 = values(&unit, "TimeoutStopSec")[0].parse().unwrap();
    assert!(stop > config.sip.drain_s + 20, "the gateway asks for more where drain_s is longer");
    assert!(
        u64::from(values(&unit, "LimitNOFILE")[0].parse::<u32>().unwrap()) >= config.limits.descriptors()
    );
    // `ProcSubset=pid` would hide the boot id, which distinguishes a power cut from a restart.
    assert!(values(&unit, "ProcSubset").is_empty());
    for closed in ["RestrictRealtime", "PrivateDevices"] {
        assert!(values(&unit, closed).is_empty(), "{closed} would refuse SCHED_FIFO or sound cards");
    }
}
