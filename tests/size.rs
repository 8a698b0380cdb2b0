//! A source file has one subject and at most 500 lines.
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
use std::path::Path;

fn walk(dir: &Path, out: &mut Vec<(usize, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//!"), "{} does not say its subject in its first line", path.display());
            out.push((text.lines().count(), path.display().to_string()));
        }
    }
}

#[test]
fn files_are_short_and_begin_with_their_subject() {
    let mut files = Vec::new();
    for dir in ["src", "tests", "benches"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
        if dir.is_dir() {
            walk(&dir, &mut files);
        }
    }
    files.retain(|(lines, _)| *lines > 500);
    assert!(files.is_empty(), "longer than 500 lines: {files:#?}");
}
