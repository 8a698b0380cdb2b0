//! Remaining violations of the rules: `allowed.txt`, which may only shrink.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::model::Source;
use crate::{circles, owners, shape};

/// Lines of `RULE THING MEASURE`, sorted.
const ALLOWED: &str = include_str!("allowed.txt");

fn found(source: &Source) -> BTreeMap<(&'static str, String), String> {
    let mut out = BTreeMap::new();
    let mut add = |rule: &'static str, things: Vec<(String, String)>| {
        out.extend(things.into_iter().map(|(thing, measure)| ((rule, thing), measure)));
    };
    fn lines<V: Display>(map: BTreeMap<String, V>) -> Vec<(String, String)> {
        map.into_iter().map(|(k, v)| (k, v.to_string())).collect()
    }
    let (fields, bools) = shape::large(source);
    add("circle", lines(circles::circles(source)));
    add("files-of-type", lines(shape::spread(source)));
    add("fields", lines(fields));
    add("bools", lines(bools));
    add("names-gateway", lines(owners::name_the_whole(source)));
    add("open-fields", lines(owners::open_fields(source)));
    out
}

fn listed() -> BTreeMap<(&'static str, String), String> {
    let lines = ALLOWED.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    let parse = |line: &'static str| {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("{line}: RULE THING MEASURE"));
        ((word(), word().to_owned()), word().to_owned())
    };
    lines.map(parse).collect()
}

#[test]
fn what_breaks_the_rules_only_shrinks() {
    let (found, listed) = (found(&Source::read()), listed());
    let line = |((rule, thing), measure): (&(&str, String), &String)| format!("{rule} {thing} {measure}");
    if std::env::var_os("BLESS").is_some() {
        let comments = ALLOWED.lines().filter(|l| l.starts_with('#')).map(str::to_owned);
        let all: Vec<String> = comments.chain(found.iter().map(line)).collect();
        std::fs::write(
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/layers/allowed.txt"),
            all.join("\n") + "\n",
        )
        .unwrap();
        return;
    }
    let new: Vec<String> = found.iter().filter(|(k, v)| listed.get(*k) != Some(*v)).map(line).collect();
    let gone: Vec<String> = listed.iter().filter(|(k, v)| found.get(*k) != Some(*v)).map(line).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "the source and tests/layers/allowed.txt differ; the list may only shrink.\nfound, not listed: {new:#?}\nlisted, not \
         found: {gone:#?}"
    );
}
