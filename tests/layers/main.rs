//! The import rule: a module uses lower ranks and itself, never a sibling or anything above it.
//!
//! It is checked on tokens, not on lines, so that braces, renames, `pub use`, `super::super` and
//! paths in expressions cannot get around it.
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
mod model;
mod owners;
mod shape;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Modules by rank, ground first.
const RANKS: &[&[&str]] = &[
    &["base"],
    &["wire", "codec", "dsp"],
    &["rtp", "sdp", "config"],
    &["sip", "media", "deliver"],
    &["gateway"],
    &["io"],
    &["api", "speech", "hook", "upload"],
    &["cli"],
];

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|r| r.contains(&module))
}

/// Identifiers and punctuation of Rust source, without comments, strings and character literals.
fn tokens(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let b: Vec<char> = text.chars().collect();
    let mut i = 0;
    while i < b.len() {
        let c = b[i];
        let next = b.get(i + 1).copied().unwrap_or(' ');
        if c == '/' && next == '/' {
            while i < b.len() && b[i] != '\n' {
                i += 1;
            }
        } else if c == '/' && next == '*' {
            i += 2;
            while i + 1 < b.len() && !(b[i] == '*' && b[i + 1] == '/') {
                i += 1;
            }
            i += 2;
        } else if c == '"' {
            i += 1;
            while i < b.len() && b[i] != '"' {
                i += if b[i] == '\\' { 2 } else { 1 };
            }
            i += 1;
        } else if c == '\'' {
            // A lifetime is an identifier after the quote; a character literal ends with one.
            if next == '\\' {
                i += 3;
                while i < b.len() && b[i] != '\'' {
                    i += 1;
                }
                i += 1;
            } else if b.get(i + 2) == Some(&'\'') {
                i += 3;
            } else {
                i += 1;
            }
        } else if c.is_alphanumeric() || c == '_' {
            let start = i;
            while i < b.len() && (b[i].is_alphanumeric() || b[i] == '_') {
                i += 1;
            }
            out.push(b[start..i].iter().collect());
        } else {
            if !c.is_whitespace() {
                out.push(c.to_string());
            }
            i += 1;
        }
    }
    out
}

/// Top-level modules of this crate that the tokens name, with `depth` the file's distance from the root.
fn named(tokens: &[String], depth: usize) -> Vec<String> {
    let mut out = Vec::new();
    for (i, t) in tokens.iter().enumerate() {
        let mut at = i;
        if t == "crate" || t == "branchline" {
            at += 1;
        } else if t == "super" && (i < 3 || tokens[i - 3..i] != ["super", ":", ":"]) {
            let mut ups = 1;
            at += 1;
            while tokens.get(at..at + 3).is_some_and(|w| w == [":", ":", "super"]) {
                ups += 1;
                at += 3;
            }
            if ups < depth {
                continue;
            }
        } else {
            continue;
        }
        if tokens.get(at..at + 2).is_none_or(|w| w != [":", ":"]) {
            continue;
        }
        heads(tokens, at + 2, &mut out);
    }
    out
}

/// The first identifiers of a path or of each path of a brace group.
fn heads(tokens: &[String], at: usize, out: &mut Vec<String>) {
    let Some(t) = tokens.get(at) else { return };
    if t != "{" {
        out.push(t.clone());
        return;
    }
    let (mut depth, mut start) = (0, true);
    for t in &tokens[at..] {
        match t.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => start = true,
            _ if depth == 1 && start => {
                out.push(t.clone());
                start = false;
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

fn violations(file: &str, module: &str, depth: usize, text: &str) -> Vec<String> {
    let own = rank(module)
        .unwrap_or_else(|| panic!("src/{module} has no rank: give it one in tests/layers/main.rs"));
    named(&tokens(text), depth)
        .into_iter()
        .filter(|m| m != module && rank(m).is_some_and(|r| r >= own))
        .map(|m| format!("{file} (rank {own}) uses {m}"))
        .collect()
}

fn sources() -> BTreeMap<String, (String, usize, String)> {
    fn walk(dir: &Path, module: &str, depth: usize, out: &mut BTreeMap<String, (String, usize, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                let module = if module.is_empty() { &name } else { module };
                walk(&path, module, depth + 1, out);
            } else if path.extension().is_some_and(|e| e == "rs")
                && !(module.is_empty() && depth == 0 && (name == "main" || name == "lib"))
            {
                let module = if module.is_empty() { name.clone() } else { module.to_owned() };
                let depth = if name == "mod" { depth } else { depth + 1 };
                out.insert(path.display().to_string(), (module, depth, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", 0, &mut out);
    out
}

#[test]
fn imports_only_go_down() {
    let bad: Vec<String> = sources()
        .iter()
        .flat_map(|(file, (module, depth, text))| violations(file, module, *depth, text))
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn every_module_of_the_list_is_known() {
    let lib = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).unwrap();
    let t = tokens(&lib);
    let listed: Vec<&str> =
        t.windows(3).filter(|w| w[0] == "pub" && w[1] == "mod").map(|w| w[2].as_str()).collect();
    assert!(!listed.is_empty());
    for module in listed {
        assert!(rank(module).is_some(), "{module} has no rank");
    }
}

#[test]
fn planted_upward_imports_are_found() {
    let plants = [
        "use crate::api::routes;",
        "pub use crate::io::clock::now;",
        "use crate::{base::ids, gateway::leg as l};",
        "use crate::{\n    base::{ids, rng},\n    io,\n};",
        "fn f() { let x = crate :: api :: f(); }",
        "use super::super::api::head;",
        "use super::super::{base::ids, io::tcp};",
        "const Q: char = '\"'; use crate::io::tcp; // \"",
        "fn f<'a>(x: &'a str) { crate::media::go(x) }",
    ];
    for plant in plants {
        assert_eq!(violations("planted", "sip", 2, plant).len(), 1, "{plant}");
    }
    let fine = [
        "use crate::wire::uri; use crate::base::{ids, rng}; use super::dialog;",
        "// use crate::api::x\n/* crate::io::y */ const S: &str = \"crate::io::z\";",
        "use super::super::wire::uri;",
    ];
    for text in fine {
        assert_eq!(violations("fine", "sip", 2, text), Vec::<String>::new(), "{text}");
    }
}
