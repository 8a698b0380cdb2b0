//! Loads the configuration from files and environment.

use std::path::{Path, PathBuf};

use crate::config::board::AUTO;
use crate::config::{self, Config, Machine, Sources, load, profile};
use crate::io::system::machine;
use crate::io::system::secrets;

/// Default path of the configuration file.
const SYSTEM_FILE: &str = "/etc/branchline/branchline.toml";

/// Configuration options of the command line.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The file; `None`: the system's, if it exists.
    pub config: Option<PathBuf>,
    /// The board profile; overrides all other sources.
    pub board: Option<String>,
}

/// A loaded configuration.
#[derive(Debug)]
pub struct Loaded {
    /// Its values, including secrets read from files.
    pub config: Config,
    /// Its file, if it contains secrets and is readable by other users.
    pub exposed: Option<PathBuf>,
    /// Model of this machine if its board was to be detected and no profile matches.
    pub unknown_model: Option<String>,
}

impl Files {
    /// Loads it, collecting all errors.
    ///
    /// # Errors
    /// All errors with their locations, one per line.
    pub fn load(&self) -> Result<Loaded, String> {
        let texts = self.read()?;
        let sources = texts.sources();
        let model = machine::model();
        let board = load::board_named_by(&sources);
        let profile = board.contains('/').then(|| std::fs::read_to_string(&board)).transpose();
        let profile = profile.map_err(|e| format!("board {board}: {e}"))?;
        let machine = Machine { model: model.as_deref(), profile: profile.as_deref() };
        let mut config = config::load_on(&sources, &machine).map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })?;
        let unknown_model = match model {
            _ if board != AUTO => None,
            Some(model) => profile::for_model(&model).is_none().then(|| format!("\"{model}\"")),
            None => Some("without a device tree".to_owned()),
        };
        let file = self.file();
        let exposed = file.filter(|f| secrets::are_exposed(f, &config)).map(Path::to_owned);
        secrets::read(&mut config, file)?;
        Ok(Loaded { config, exposed, unknown_model })
    }

    /// The configured board, if the configuration can be read.
    #[must_use]
    pub fn board_in_force(&self) -> Option<String> {
        self.read().ok().map(|texts| load::board_named_by(&texts.sources()))
    }

    fn file(&self) -> Option<&Path> {
        let system = Path::new(SYSTEM_FILE);
        self.config.as_deref().or_else(|| system.exists().then_some(system))
    }

    fn read(&self) -> Result<Texts, String> {
        let read = |p: &Path| match std::fs::read_to_string(p) {
            Ok(text) => Ok((p.display().to_string(), text)),
            Err(e) => Err(format!("{}: {e}", p.display())),
        };
        let file = self.file().map(read).transpose()?;
        let mut env: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        if let Some(board) = &self.board {
            env.retain(|(k, _)| k != "BOARD");
            env.push(("BOARD".to_owned(), board.clone()));
        }
        Ok(Texts { file, env })
    }
}

/// Name and text of the file, and the environment.
struct Texts {
    file: Option<(String, String)>,
    env: Vec<(String, String)>,
}

impl Texts {
    fn sources(&self) -> Sources<'_> {
        Sources {
            file: self.file.as_ref().map(|(name, text)| (name.as_str(), text.as_str())),
            env: &self.env,
        }
    }
}
