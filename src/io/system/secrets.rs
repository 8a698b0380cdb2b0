//! Secrets stored in separate files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::base::secret::Secret;
use crate::config::Config;

/// Maximum length of a secret, bytes.
const MAX_SECRET: usize = 256;
/// Maximum number of tokens in a file.
const MAX_LINES: usize = 64;

/// Reads every `password_file` into the corresponding password, and the tokens of `http.token_file`. Relative
/// names are resolved in the service manager's credentials directory, then relative to the configuration
/// `file`.
///
/// # Errors
/// The setting, the file and the error.
pub fn read(config: &mut Config, file: Option<&Path>) -> Result<(), String> {
    let places = Places {
        credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        beside: file.and_then(Path::parent).map(Path::to_owned),
    };
    for trunk in &mut config.sip.trunks {
        let fields = &mut trunk.fields;
        let place = format!("[[sip.trunk]] {}: password_file", fields.id);
        places.fill(&place, &fields.password_file, &mut fields.password)?;
    }
    for user in &mut config.sip.users {
        let place = format!("[[sip.user]] {}: password_file", user.name);
        places.fill(&place, &user.password_file, &mut user.password)?;
    }
    places.fill("webhook.secret_file", &config.webhook.secret_file, &mut config.webhook.secret)?;
    if !config.http.token_file.is_empty() {
        let tokens = places.lines("http.token_file", &config.http.token_file)?;
        config.http.tokens.extend(tokens.iter().map(|t| Secret::from(t.as_str())));
    }
    places.fill("s3.secret_key_file", &config.s3.secret_key_file, &mut config.s3.secret_key)
}

/// Directories for relative names.
struct Places {
    credentials: Option<PathBuf>,
    beside: Option<PathBuf>,
}

impl Places {
    fn fill(&self, place: &str, file: &str, secret: &mut Secret) -> Result<(), String> {
        if file.is_empty() {
            return Ok(());
        }
        match self.lines(place, file)?.as_slice() {
            [line] => *secret = Secret::from(line.as_str()),
            _ => {
                let path = self.path_of(file);
                return Err(format!(
                    "{place} {}: one line of 1 to {MAX_SECRET} bytes is expected",
                    path.display()
                ));
            }
        }
        Ok(())
    }

    fn lines(&self, place: &str, file: &str) -> Result<Vec<String>, String> {
        let path = self.path_of(file);
        let fail = |what: String| format!("{place} {}: {what}", path.display());
        let text = fs::read_to_string(&path).map_err(|e| fail(e.to_string()))?;
        let lines: Vec<String> = text.trim_end_matches(['\r', '\n']).lines().map(str::to_owned).collect();
        let good =
            |line: &String| (1..=MAX_SECRET).contains(&line.len()) && !line.chars().any(char::is_control);
        if lines.is_empty() || lines.len() > MAX_LINES || !lines.iter().all(good) {
            return Err(fail(format!("lines of 1 to {MAX_SECRET} bytes are expected, at most {MAX_LINES}")));
        }
        Ok(lines)
    }

    fn path_of(&self, file: &str) -> PathBuf {
        let dirs = [&self.credentials, &self.beside];
        let found = dirs.into_iter().flatten().map(|dir| dir.join(file)).find(|p| p.exists());
        found.unwrap_or_else(|| PathBuf::from(file))
    }
}

/// True if a configuration file contains secrets and is readable by other users.
#[must_use]
pub fn are_exposed(file: &Path, config: &Config) -> bool {
    let trunks =
        config.sip.trunks.iter().any(|t| !t.fields.password.is_empty() && t.fields.password_file.is_empty());
    let users = config.sip.users.iter().any(|u| u.password_file.is_empty());
    let s3 = !config.s3.secret_key.is_empty() && config.s3.secret_key_file.is_empty();
    let webhook = !config.webhook.secret.is_empty() && config.webhook.secret_file.is_empty();
    let secret = trunks || users || s3 || !config.http.tokens.is_empty() || webhook;
    secret && fs::metadata(file).is_ok_and(|m| m.permissions().mode() & 0o044 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_come_from_their_files() {
        let dir = std::env::temp_dir().join(format!("branchline-secrets-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("one"), "hunter2\r\n\n").unwrap();
        fs::write(dir.join("two"), "a\nb\n").unwrap();
        let (credentials, beside) = (Some(dir.join("credentials")), Some(dir.clone()));
        let places = Places { credentials, beside };
        let mut secret = Secret::default();
        assert_eq!(places.path_of("one"), dir.join("one"));
        assert_eq!(places.path_of("none"), PathBuf::from("none"));
        places.fill("x", "one", &mut secret).unwrap();
        assert_eq!(secret.reveal(), "hunter2");
        fs::create_dir_all(dir.join("credentials")).unwrap();
        fs::write(dir.join("credentials/one"), "hunter3").unwrap();
        places.fill("x", "one", &mut secret).unwrap();
        assert_eq!(secret.reveal(), "hunter3", "credentials have precedence");
        let wrong = places.fill("x", "two", &mut secret).unwrap_err();
        assert!(wrong.contains("one line of 1 to 256"), "{wrong}");
        assert_eq!(places.lines("x", "two").unwrap(), ["a", "b"]);
        assert!(places.fill("x", "three", &mut secret).is_err());
        fs::remove_dir_all(dir).unwrap();
    }
}
