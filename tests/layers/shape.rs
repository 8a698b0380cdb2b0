//! A type has its methods in at most three files, at most 20 fields, and at most four of them are `bool`.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Source;

/// Maximum files with methods of one type.
const MOST_FILES: usize = 3;
const MOST_FIELDS: usize = 20;
const MOST_BOOLS: usize = 4;

/// Types with methods in too many files, and their number.
pub fn spread(source: &Source) -> BTreeMap<String, usize> {
    let mut files: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for file in &source.files {
        for item in file.items() {
            let syn::Item::Impl(item) = item else { continue };
            let (None, syn::Type::Path(of)) = (&item.trait_, &*item.self_ty) else { continue };
            let names: Vec<String> = of.path.segments.iter().map(|s| s.ident.to_string()).collect();
            files.entry(source.type_named(file, &names)).or_default().insert(&file.path);
        }
    }
    files.into_iter().map(|(name, f)| (name, f.len())).filter(|(_, n)| *n > MOST_FILES).collect()
}

/// Structs with too many fields, and those with too many flags.
pub fn large(source: &Source) -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
    let (mut fields, mut bools) = (BTreeMap::new(), BTreeMap::new());
    for file in &source.files {
        for item in file.items() {
            let syn::Item::Struct(item) = item else { continue };
            let name = format!("{}::{}", file.module.join("::"), item.ident);
            let flags =
                item.fields.iter().filter(|f| matches!(&f.ty, syn::Type::Path(p) if p.path.is_ident("bool")));
            if item.fields.len() > MOST_FIELDS {
                fields.insert(name.clone(), item.fields.len());
            }
            let flags = flags.count();
            if flags > MOST_BOOLS {
                bools.insert(name, flags);
            }
        }
    }
    (fields, bools)
}

#[test]
fn planted_types_are_found() {
    let own = "pub struct S; impl S {} impl Clone for S {}";
    let other = "use super::a::S; impl S { fn f() {} }";
    let renamed = "use crate::sip::a::S as T; impl T {}";
    let generic = "use super::{a::S}; impl<'a> S<'a> where 'a: 'static { fn f() {} }";
    let files = [
        ("src/sip/a.rs", own),
        ("src/sip/b.rs", other),
        ("src/sip/c.rs", renamed),
        ("src/sip/d.rs", generic),
        ("src/sip/e.rs", "struct S; impl S {}"),
    ];
    assert_eq!(spread(&Source::planted(&files)), BTreeMap::from([("sip::a::S".to_owned(), 4)]));
    assert!(spread(&Source::planted(&files[..3])).is_empty());

    let fields: String = (0..21).map(|n| format!("f{n}: Vec<(u8, u8)>, ")).collect();
    let files = [
        ("src/sip/a.rs", format!("struct Wide {{ {fields} }} struct Fits {{ a: bool, b: u8 }}")),
        (
            "src/sip/b.rs",
            "struct Flags { a: bool, b: bool, pub c: bool, d: bool, #[serde(default)] e: bool }".to_owned(),
        ),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (*p, t.as_str())).collect();
    let (fields, bools) = large(&Source::planted(&files));
    assert_eq!(fields, BTreeMap::from([("sip::a::Wide".to_owned(), 21)]));
    assert_eq!(bools, BTreeMap::from([("sip::b::Flags".to_owned(), 5)]));
}
