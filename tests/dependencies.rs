//! Forbidden dependencies: another runtime, OpenSSL, licences outside the list.
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

use std::process::Command;

/// Licences the appliance may carry.
const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
    "CC0-1.0",
    // Symphonia (MPL): its files keep their licence, and are unmodified.
    "MPL-2.0",
    // The root certificates of webpki-roots: data, not code.
    "CDLA-Permissive-2.0",
];

/// True if at least one alternative of the SPDX expression needs only licences of the list.
fn acceptable(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], "");
    // `AND` binds tighter than `OR`; in practice parentheses only group `OR`s within an `AND`.
    if expression.contains(" AND ") {
        return expression
            .split(" AND ")
            .all(|part| part.split(" OR ").any(|l| LICENCES.contains(&l.trim())));
    }
    expression.split(" OR ").any(|l| LICENCES.contains(&l.trim()))
}

#[test]
fn the_tree_is_lean_and_licensed() {
    let out = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let meta: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let packages = meta["packages"].as_array().unwrap();
    assert!(packages.len() > 20);
    let nodes = meta["resolve"]["nodes"].as_array().unwrap();
    let resolved: Vec<&str> = nodes.iter().map(|n| n["id"].as_str().unwrap()).collect();
    for p in packages.iter().filter(|p| resolved.contains(&p["id"].as_str().unwrap())) {
        let name = p["name"].as_str().unwrap();
        let banned = ["tokio", "openssl-sys", "openssl", "native-tls", "aws-lc-sys"];
        assert!(!banned.contains(&name), "{name} has entered the tree");
        let licence = p["license"].as_str().unwrap_or_default();
        assert!(acceptable(licence), "{name} is licensed {licence:?}");
    }
}

#[test]
fn licence_expressions_are_read() {
    assert!(acceptable("MIT OR Apache-2.0"));
    assert!(acceptable("MIT/Apache-2.0"));
    assert!(acceptable("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(!acceptable("GPL-3.0"));
    assert!(!acceptable("MIT AND GPL-3.0"));
    assert!(!acceptable(""));
}
