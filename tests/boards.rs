//! Every board profile loads, has a description and the origin of its figures, and fits its machine.
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

use branchline::config::{Sources, board, load};

#[test]
fn every_profile_is_built_in_and_loads() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/board");
    let mut files: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap().trim_end_matches(".toml").to_owned())
        .collect();
    files.sort();
    let mut built_in: Vec<&str> = board::BOARDS.iter().map(|b| b.name).collect();
    built_in.sort_unstable();
    assert_eq!(files, built_in);
    for name in &built_in {
        let env = vec![("BOARD".to_owned(), (*name).to_owned())];
        let config = load(&Sources { file: None, env: &env }).unwrap_or_else(|f| panic!("{name}: {f:#?}"));
        assert_eq!(config.board, *name);
        assert!(config.limits.rooms <= config.limits.legs, "{name}: more rooms than legs to fill them");
        assert!(config.limits.opus_legs < config.limits.legs, "{name}: no core encodes Opus for all");
        let profile = board::find(name).unwrap().profile().unwrap_or_else(|| panic!("{name}"));
        assert!(profile.about.len() > 20 && profile.sources.len() >= 2, "{name}");
        assert!(profile.memory_mb >= 256 && profile.prompt_cache_mb <= profile.memory_mb / 4, "{name}");
        assert!((1..=config.limits.legs).contains(&profile.speech_sessions), "{name}");
        for sound in &profile.audio {
            assert!(!sound.device.is_empty() && sound.rates.contains(&48_000), "{name}: {sound:?}");
        }
    }
}
