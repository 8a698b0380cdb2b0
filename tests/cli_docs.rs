//! The man pages and completions in `docs/` match the command table; `make docs` regenerates them.
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

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use branchline::cli::arguments::command;
use clap_complete::{Shell, generate};

/// Expected files: name and content.
fn wanted() -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut whole = command();
    whole.build();
    let mut page = |name: String, of: clap::Command| {
        let mut text = Vec::new();
        clap_mangen::Man::new(of).date("").render(&mut text).unwrap();
        out.insert(format!("man/{name}.1"), text);
    };
    for of in whole.get_subcommands().filter(|c| c.get_name() != "help") {
        let name = format!("branchline-{}", of.get_name());
        page(name, of.clone().version(env!("CARGO_PKG_VERSION")));
    }
    page("branchline".to_owned(), whole);
    for (shell, file) in
        [(Shell::Bash, "branchline.bash"), (Shell::Zsh, "_branchline"), (Shell::Fish, "branchline.fish")]
    {
        let mut text = Vec::new();
        generate(shell, &mut command(), "branchline", &mut text);
        out.insert(format!("completions/{file}"), text);
    }
    out
}

#[test]
fn pages_and_completions_are_of_the_commands_there_are() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let wanted = wanted();
    if std::env::var_os("BLESS").is_some() {
        for dir in ["man", "completions"] {
            drop(fs::remove_dir_all(docs.join(dir)));
            fs::create_dir_all(docs.join(dir)).unwrap();
        }
        wanted.iter().for_each(|(name, text)| fs::write(docs.join(name), text).unwrap());
    }
    let mut found = BTreeMap::new();
    for dir in ["man", "completions"] {
        for file in fs::read_dir(docs.join(dir)).unwrap().map(Result::unwrap) {
            let name = format!("{dir}/{}", file.file_name().to_str().unwrap());
            found.insert(name, fs::read(file.path()).unwrap());
        }
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (name, text) in &wanted {
        assert!(found[name] == *text, "{name} is of other commands: `make docs` writes it anew");
    }
}
