//! The configuration as files and the environment give it.

use std::path::{Path, PathBuf};

use crate::config::{self, Config, Sources};
use crate::io::secrets;

/// Where the configuration is, unless an argument says so.
const SYSTEM_FILE: &str = "/etc/branchline/branchline.toml";

/// What the arguments say of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The file; `None`: that of the system, if it is there.
    pub config: Option<PathBuf>,
    /// The board profile, above all other sources.
    pub board: Option<String>,
}

/// A configuration that was read.
#[derive(Debug)]
pub struct Loaded {
    /// Its values, secrets of files included.
    pub config: Config,
    /// Its file, where secrets stand in it that others on this machine can read.
    pub exposed: Option<PathBuf>,
}

impl Files {
    /// Reads it, with all faults at once.
    ///
    /// # Errors
    /// Each fault with its place, a line each.
    pub fn load(&self) -> Result<Loaded, String> {
        let system = Path::new(SYSTEM_FILE);
        let file = self.config.as_deref().or_else(|| system.exists().then_some(system));
        let text = file
            .map(|p| std::fs::read_to_string(p).map_err(|e| format!("{}: {e}", p.display())))
            .transpose()?;
        let mut env: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        if let Some(board) = &self.board {
            env.retain(|(k, _)| k != "BOARD");
            env.push(("BOARD".to_owned(), board.clone()));
        }
        let name = file.map(|p| p.display().to_string());
        let sources = Sources { file: name.as_deref().zip(text.as_deref()), env: &env };
        let mut config = config::load(&sources).map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })?;
        let exposed = file.filter(|f| secrets::are_exposed(f, &config)).map(Path::to_owned);
        secrets::read(&mut config, file)?;
        Ok(Loaded { config, exposed })
    }
}
