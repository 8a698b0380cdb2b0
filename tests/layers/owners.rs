//! The core: only `gateway/mod.rs` knows the whole, and the fields of a part are private to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{File, Source};

fn of_core(file: &File) -> bool {
    file.module.first().is_some_and(|m| m == "gateway")
}

/// Files of the core other than its own that name `Gateway`, and how often.
pub fn name_the_whole(source: &Source) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for file in source.files.iter().filter(|f| of_core(f) && f.path != "src/gateway/mod.rs") {
        let whole = |names: &&Vec<String>| {
            source.resolve(names).is_some_and(|(_, path)| {
                path.first().is_some_and(|m| m == "gateway") && path.iter().any(|n| n == "Gateway")
            })
        };
        let own = file.items().iter().any(|i| matches!(i, syn::Item::Struct(s) if s.ident == "Gateway"));
        let count = file.named.iter().filter(whole).count() + usize::from(own);
        if count > 0 {
            out.insert(file.path.clone(), count);
        }
    }
    out
}

/// Structs of the core with mutating methods, whose fields are visible outside of their folder, and how many.
/// A file without a folder of its own counts as its own folder. Messages and snapshots have no such methods.
pub fn open_fields(source: &Source) -> BTreeMap<String, usize> {
    let mut changed = BTreeSet::new();
    for file in source.files.iter().filter(|f| of_core(f)) {
        for item in file.items() {
            let syn::Item::Impl(item) = item else { continue };
            let (None, syn::Type::Path(of)) = (&item.trait_, &*item.self_ty) else { continue };
            let changes = item.items.iter().any(|i| match i {
                syn::ImplItem::Fn(f) => {
                    f.sig.receiver().is_some_and(|r| r.reference.is_some() && r.mutability.is_some())
                }
                _ => false,
            });
            if changes {
                let names: Vec<String> = of.path.segments.iter().map(|s| s.ident.to_string()).collect();
                changed.insert(source.type_named(file, &names));
            }
        }
    }
    let mut out = BTreeMap::new();
    for file in source.files.iter().filter(|f| of_core(f)) {
        let folder = file.folder();
        let seen = |vis: &syn::Visibility| match vis {
            syn::Visibility::Inherited => false,
            syn::Visibility::Public(_) => true,
            syn::Visibility::Restricted(r) => {
                let names: Vec<String> = r.path.segments.iter().map(|s| s.ident.to_string()).collect();
                let here = &file.module;
                let scope = match names[0].as_str() {
                    "self" => here.clone(),
                    "super" => here[..here.len().saturating_sub(names.len())].to_vec(),
                    _ => names[1..].to_vec(),
                };
                // Within the folder of a part; the folder of all parts does not count.
                !(scope == *here || (folder.len() > 1 && scope.starts_with(folder)))
            }
        };
        for item in file.items() {
            let syn::Item::Struct(item) = item else { continue };
            let name = format!("{}::{}", file.module.join("::"), item.ident);
            let open = item.fields.iter().filter(|f| seen(&f.vis)).count();
            if open > 0 && changed.contains(&name) {
                out.insert(name, open);
            }
        }
    }
    out
}

#[test]
fn planted_files_that_name_the_whole_are_found() {
    let core = ("src/gateway/mod.rs", "mod a; mod core; pub use core::Gateway;");
    let own = ("src/gateway/core.rs", "pub struct Gateway;");
    for text in [
        "use super::Gateway;",
        "fn f(g: &mut super::core::Gateway) {}",
        "use crate::gateway; fn f(g: &gateway::Gateway) {}",
        "use super::core::Gateway as G;",
        "fn f() { g!(super::Gateway) }",
    ] {
        let found = name_the_whole(&Source::planted(&[core, own, ("src/gateway/a.rs", text)]));
        let files: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(files, ["src/gateway/a.rs", "src/gateway/core.rs"], "{text}");
    }
    let whole = ("src/gateway/mod.rs", "mod a; pub struct Gateway;");
    let fine = (
        "src/gateway/a.rs",
        "/// Not [`Gateway`]. \n struct X; #[cfg(test)] mod tests { use super::super::Gateway; }",
    );
    assert!(
        name_the_whole(&Source::planted(&[whole, fine, ("src/io/a.rs", "use crate::gateway::Gateway;")]))
            .is_empty()
    );
}

#[test]
fn planted_open_fields_are_found() {
    let found = |path, fields: &str| {
        let text = format!("pub struct Part {{ {fields} }} impl Part {{ pub fn change(&mut self) {{}} }}");
        open_fields(&Source::planted(&[(path, &text)])).into_values().next().unwrap_or(0)
    };
    let (loose, inside) = ("src/gateway/part.rs", "src/gateway/parts/part.rs");
    assert_eq!(found(loose, "pub a: u8, pub(super) b: u8, pub(crate) c: u8, d: u8"), 3);
    assert_eq!(found(inside, "pub a: u8, pub(super) b: u8, pub(crate) c: u8, d: u8"), 2);
    assert_eq!(found(inside, "pub(in crate::gateway::parts) a: u8, pub(in crate::gateway) b: u8"), 1);
    assert_eq!(found(inside, "pub(in super::super) a: u8, pub(self) b: u8"), 1);
    let message = "pub struct Message { pub a: u8 } impl Message { pub fn a(&self) -> u8 { self.a } pub fn with(mut self) -> Self { self } }";
    assert!(open_fields(&Source::planted(&[(loose, message)])).is_empty());
    let far = [
        (loose, "pub struct Part { pub a: u8 }"),
        ("src/gateway/other.rs", "use super::part::Part; impl Part { fn change(&mut self) {} }"),
    ];
    assert_eq!(open_fields(&Source::planted(&far)).len(), 1);
}
