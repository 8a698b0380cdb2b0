//! The recipes of the Yocto layer match the source: crates, version, licence, and files.
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

use branchline::config::board;
use md5::{Digest as _, Md5};

const LAYER: &str = "yocto/meta-branchline";

fn read(name: &str) -> String {
    fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR")))
        .unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn the_list_of_crates_is_that_of_cargo_lock() {
    let lock: toml::Table = toml::from_str(&read("Cargo.lock")).unwrap();
    let list = read(&format!("{LAYER}/recipes-telephony/branchline/branchline-crates.inc"));
    let mut wanted = Vec::new();
    for package in lock["package"].as_array().unwrap() {
        let text = |key: &str| package.get(key).and_then(|v| v.as_str());
        let (Some(_), Some(sum)) = (text("source"), text("checksum")) else { continue };
        let (name, version) = (text("name").unwrap(), text("version").unwrap());
        wanted.push(format!("    crate://crates.io/{name}/{version};name={name}-{version} \\"));
        wanted.push(format!("SRC_URI[{name}-{version}.sha256sum] = \"{sum}\""));
    }
    let known: Vec<&str> =
        list.lines().filter(|l| l.contains("crate://") || l.contains("sha256sum")).collect();
    let missing: Vec<&String> = wanted.iter().filter(|w| !known.contains(&w.as_str())).collect();
    assert!(missing.is_empty(), "run scripts/yocto-crates.py: {missing:#?}");
    assert_eq!(
        known.len(),
        wanted.len(),
        "run scripts/yocto-crates.py: there are crates that Cargo.lock has not"
    );
}

#[test]
fn version_licence_and_files_match_the_source() {
    let name = format!("{LAYER}/recipes-telephony/branchline/branchline_{}.bb", env!("CARGO_PKG_VERSION"));
    let recipe = read(&name);
    let sum = Md5::digest(read("LICENSE"));
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(recipe.contains(&format!("LIC_FILES_CHKSUM = \"file://LICENSE;md5={sum}\"")), "{sum}");
    let taken: Vec<&str> =
        recipe.split("${S}/").skip(1).map(|rest| rest.split_whitespace().next().unwrap()).collect();
    assert!(taken.len() >= 3, "{taken:?}");
    for file in taken {
        let dir = file.strip_suffix("*.1").unwrap_or(file);
        assert!(fs::exists(format!("{}/{dir}", env!("CARGO_MANIFEST_DIR"))).unwrap(), "{file}");
    }
    // The source is four directories above the recipe.
    assert_eq!(name.matches('/').count(), 4);
    let toolchain: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    assert_eq!(toolchain["package"]["rust-version"].as_str(), Some("1.94"), "what wrynose has");
    assert!(
        read(&format!("{LAYER}/conf/layer.conf")).contains("LAYERSERIES_COMPAT_branchline = \"wrynose\"")
    );
}

#[test]
fn the_settings_of_an_image_are_valid_for_every_board() {
    let settings = read(&format!("{LAYER}/recipes-telephony/branchline/branchline-conf/branchline.toml"));
    assert!(settings.contains("board = \"@BOARD@\""));
    for name in board::BOARDS.iter().map(|b| b.name).chain([board::AUTO]) {
        let text = settings.replace("@BOARD@", name);
        let loaded =
            branchline::config::load(&branchline::config::Sources { file: Some(("f", &text)), env: &[] });
        let config = loaded.unwrap_or_else(|faults| panic!("{name}: {faults:#?}"));
        assert!(config.board == name || name == board::AUTO, "{name}: {}", config.board);
    }
    let pi = read("yocto/kas-raspberrypi4-64.yml");
    assert!(pi.contains("BRANCHLINE_BOARD = \"rpi4\"") && board::find("rpi4").is_some());
}
