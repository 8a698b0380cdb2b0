//! The import rule: a module uses lower ranks and itself, never a module of the same or a higher rank.
//!
//! It is checked on the syntax tree, tests included, so that braces, renames, `pub use`, `super::super` and
//! paths in expressions cannot bypass it.
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

mod allowed;
mod circles;
mod guide;
mod model;
mod owners;
mod shape;

use std::collections::BTreeSet;

use model::{File, Source};

/// Modules by rank, lowest first.
const RANKS: &[&[&str]] = &[
    &["base"],
    &["wire", "codec", "dsp"],
    &["rtp", "sdp", "config"],
    &["sip", "media", "delivery"],
    &["gateway"],
    &["io"],
    &["api", "speech", "webhook_client", "upload"],
    &["cli"],
];

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|r| r.contains(&module))
}

/// Modules of the same rank or a higher one that a file uses.
fn violations(file: &File) -> BTreeSet<String> {
    let Some(module) = file.module.first() else { return BTreeSet::new() };
    let own = rank(module)
        .unwrap_or_else(|| panic!("src/{module} has no rank: give it one in tests/layers/main.rs"));
    let used = file.named_with_tests.iter().filter_map(|names| names.first());
    let above = used.filter(|m| *m != module && rank(m).is_some_and(|r| r >= own));
    above.map(|m| format!("{} (rank {own}) uses {m}", file.path)).collect()
}

#[test]
fn imports_only_go_down() {
    let bad: BTreeSet<String> = Source::read().files.iter().flat_map(violations).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn every_module_of_the_list_is_known() {
    let source = Source::read();
    let lib = source.files.iter().find(|f| f.path == "src/lib.rs").unwrap();
    let mut listed = 0;
    for item in &lib.ast.items {
        if let syn::Item::Mod(module) = item {
            listed += 1;
            assert!(rank(&module.ident.to_string()).is_some(), "{} has no rank", module.ident);
        }
    }
    assert!(listed > 0);
}

#[test]
fn planted_upward_imports_are_found() {
    let plants = [
        "use crate::api::routes;",
        "pub use crate::io::system::clock::now;",
        "use crate::{base::ids, gateway::leg as l};",
        "use crate::{\n    base::{ids, rng},\n    io,\n};",
        "fn f() { let x = crate :: api :: f(); }",
        "use super::super::api::head;",
        "use super::super::{base::ids, io::net::tcp};",
        "const Q: char = '\"'; use crate::io::net::tcp; // \"",
        "fn f<'a>(x: &'a str) { crate::media::go(x) }",
        "fn f() { log::info!(\"{}\", crate::api::f()) }",
        "#[cfg(test)] mod tests { use crate::io::net::tcp; }",
    ];
    for plant in plants {
        assert_eq!(violations(&File::parse("src/sip/planted.rs", plant)).len(), 1, "{plant}");
    }
    let fine = [
        "use crate::wire::uri; use crate::base::{ids, rng}; use super::dialog;",
        "// use crate::api::x\n/* crate::io::y */ const S: &str = \"crate::io::z\";",
        "use super::super::wire::uri;",
    ];
    for text in fine {
        assert_eq!(violations(&File::parse("src/sip/fine.rs", text)), BTreeSet::new(), "{text}");
    }
}
