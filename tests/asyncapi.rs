//! The checked-in `asyncapi.json` is what the code describes. `BLESS=1` writes it anew.
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

#[test]
fn the_checked_in_description_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/asyncapi.json");
    let mut made = serde_json::to_string_pretty(&branchline::api::asyncapi::document()).unwrap();
    made.push('\n');
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == made, "asyncapi.json is out of date: run `make openapi` and read the difference");
}
