//! Directory of the scenarios.

use std::path::{Path, PathBuf};

pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
