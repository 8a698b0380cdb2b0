//! The files, modules and items named in ARCHITECTURE.md exist.

use std::collections::BTreeSet;
use std::path::Path;

/// Contents of a file, or of all `.rs` files directly in a folder.
fn text_of(path: &Path) -> String {
    if path.is_file() {
        return std::fs::read_to_string(path).unwrap();
    }
    let files = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let rust = files.filter(|p| p.extension().is_some_and(|e| e == "rs"));
    rust.map(|p| std::fs::read_to_string(p).unwrap()).collect()
}

/// Checks a path such as `gateway::legs::Leg`, whose first name is a module of the crate.
fn wrong_path(src: &Path, name: &str) -> Option<String> {
    let mut at = src.to_path_buf();
    let mut items = Vec::new();
    for part in name.split("::") {
        let (file, folder) = (at.join(format!("{part}.rs")), at.join(part));
        match () {
            () if !items.is_empty() => items.push(part),
            () if folder.is_dir() => at = folder,
            () if file.is_file() => at = file,
            () => items.push(part),
        }
    }
    let text = text_of(&at);
    let missing = items.iter().find(|item| !text.contains(*item))?;
    Some(format!("`{name}`: no {missing} in {}", at.display()))
}

/// Checks a file name such as `gateway/legs/leg.rs` or `media/rtp_endpoint/{playout,timeline}.rs`.
fn wrong_file(root: &Path, name: &str) -> Option<String> {
    let names = match (name.split_once('{'), name.split_once('}')) {
        (Some((before, _)), Some((inside, after))) => {
            let inside = inside.split_once('{').map_or("", |(_, list)| list);
            inside.split(',').map(|one| format!("{before}{one}{after}")).collect()
        }
        _ => vec![name.to_owned()],
    };
    let place = |name: &str| match name.strip_prefix('/') {
        Some(of_root) => root.join(of_root),
        None => root.join("src").join(name),
    };
    let missing = names.into_iter().find(|name| !place(name).exists())?;
    Some(format!("`{name}`: there is no file {missing}"))
}

fn wrong(root: &Path, text: &str) -> BTreeSet<String> {
    let src = root.join("src");
    let quoted = text.split('`').skip(1).step_by(2);
    let words = quoted.filter(|q| q.chars().all(|c| c.is_ascii_alphanumeric() || "_:/{},.-".contains(c)));
    words
        .filter_map(|word| {
            let first = word.split("::").next().unwrap_or_default();
            let is_module = src.join(first).is_dir() || src.join(format!("{first}.rs")).is_file();
            match () {
                () if word.contains("::") && is_module => wrong_path(&src, word),
                () if word.contains('/') && (word.ends_with(".rs") || word.ends_with(".toml")) => {
                    wrong_file(root, word)
                }
                () => None,
            }
        })
        .collect()
}

#[test]
fn what_the_architecture_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let bad = wrong(root, &text);
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn missing_names_are_detected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let planted = "`rtp::lock::SourceLock` `rtp::lock::Nobody` `rtp::nowhere` `media/engine.rs` `media/{engine,gone}.rs` `media/gone.rs`";
    assert_eq!(wrong(root, planted).len(), 4, "{:#?}", wrong(root, planted));
}
