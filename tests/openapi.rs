//! The checked-in `openapi.json` and `asyncapi.json` match the code. `BLESS=1` regenerates them.
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

use branchline::api::{asyncapi, openapi};
use serde_json::Value;

fn is_current(name: &str, document: &Value) {
    let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut made = serde_json::to_string_pretty(document).unwrap();
    made.push('\n');
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "{name} is out of date: run `make openapi` and read the difference");
}

#[test]
fn the_checked_in_description_of_the_api_is_current() {
    is_current("openapi.json", &openapi::document());
}

#[test]
fn the_checked_in_description_of_events_is_current() {
    is_current("asyncapi.json", &asyncapi::document());
}
