//! Files of one module do not import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Source;

/// For each file, the files of its module that it imports. A `mod.rs` that only declares and re-exports is
/// ignored.
fn links(source: &Source) -> BTreeMap<usize, BTreeSet<usize>> {
    let mut out: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (at, file) in source.files.iter().enumerate() {
        let to = out.entry(at).or_default();
        for names in &file.named {
            let Some((other, _)) = source.resolve(names) else { continue };
            let (there, here) = (&source.files[other], &file.module);
            if other != at
                && !there.only_declares
                && !file.only_declares
                && here.first() == there.module.first()
            {
                to.insert(other);
            }
        }
    }
    out
}

/// Files in a circle, each with the files of its circle that it imports.
pub fn circles(source: &Source) -> BTreeMap<String, String> {
    let links = links(source);
    let reach = |from: usize| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(at) = next.pop() {
            next.extend(links[&at].iter().filter(|to| seen.insert(**to)));
        }
        seen
    };
    let reached: BTreeMap<usize, BTreeSet<usize>> = links.keys().map(|at| (*at, reach(*at))).collect();
    let mut out = BTreeMap::new();
    for (at, to) in &links {
        let back: Vec<&str> = to
            .iter()
            .filter(|to| reached[to].contains(at))
            .map(|to| source.files[*to].path.as_str())
            .collect();
        if !back.is_empty() {
            out.insert(source.files[*at].path.clone(), back.join(" "));
        }
    }
    out
}

#[test]
fn planted_circles_are_found() {
    let found = |files: &[(&str, &str)]| circles(&Source::planted(files)).into_keys().collect::<Vec<_>>();
    let both = ["src/sip/a.rs", "src/sip/b.rs"];
    for (a, b) in [
        ("use super::b::B;", "fn f() { crate::sip::a::f() }"),
        ("use super::{b, c::C};", "fn f() { let x = vec![super::a::X]; }"),
        ("use crate::sip; fn f() -> sip::b::B {}", "use crate::sip::{a::{A as Other}};"),
        ("use super::b::*;", "mod inside { use super::super::a::A; }"),
        // Through the module's own re-export.
        ("use super::B;", "use super::a::A;"),
    ] {
        let module = "mod a; mod b; pub use b::B;";
        assert_eq!(found(&[("src/sip/mod.rs", module), (both[0], a), (both[1], b)]), both, "{a} {b}");
    }
    let three = [
        ("src/sip/a.rs", "use super::b::B;"),
        ("src/sip/b/mod.rs", "mod c; pub use c::B; fn f() {}"),
        ("src/sip/b/c.rs", "use super::super::a::A;"),
    ];
    assert_eq!(found(&three), ["src/sip/a.rs", "src/sip/b/c.rs"]);
    let parent =
        [("src/sip/mod.rs", "mod a; pub struct S; fn f() { a::f() }"), ("src/sip/a.rs", "use super::S;")];
    assert_eq!(found(&parent), ["src/sip/a.rs", "src/sip/mod.rs"]);
    for (a, b) in [
        ("use super::b::B;", "use super::c::C;"),
        ("use super::b::B;", "#[cfg(test)] mod tests { use super::super::a::A; }"),
        ("use super::b::B;", "use crate::rtp::a::A; // use super::a::A"),
    ] {
        assert!(found(&[(both[0], a), (both[1], b)]).is_empty(), "{a} {b}");
    }
}
