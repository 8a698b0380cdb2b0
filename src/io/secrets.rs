//! Secrets that the configuration keeps in files of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::base::secret::Secret;
use crate::config::Config;

/// Longest secret, bytes.
const MAX_SECRET: usize = 256;

/// Reads every `password_file` into the password beside it. A relative name is looked for among the service
/// manager's credentials first.
///
/// # Errors
/// The setting, the file and what is wrong with it.
pub fn read(config: &mut Config) -> Result<(), String> {
    for trunk in &mut config.sip.trunks {
        let fields = &mut trunk.fields;
        let place = format!("[[sip.trunk]] {}: password_file", fields.id);
        fill(&place, &fields.password_file, &mut fields.password)?;
    }
    for user in &mut config.sip.users {
        let place = format!("[[sip.user]] {}: password_file", user.name);
        fill(&place, &user.password_file, &mut user.password)?;
    }
    fill("s3.secret_key_file", &config.s3.secret_key_file, &mut config.s3.secret_key)
}

fn fill(place: &str, file: &str, secret: &mut Secret) -> Result<(), String> {
    if file.is_empty() {
        return Ok(());
    }
    let path = path_of(file, std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).as_deref());
    let text = fs::read_to_string(&path).map_err(|e| format!("{place} {}: {e}", path.display()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.len() > MAX_SECRET || text.chars().any(char::is_control) {
        return Err(format!("{place} {}: one line of 1 to {MAX_SECRET} bytes is expected", path.display()));
    }
    *secret = Secret::from(text);
    Ok(())
}

fn path_of(file: &str, credentials: Option<&Path>) -> PathBuf {
    let among = credentials.map(|dir| dir.join(file)).filter(|p| p.exists());
    among.unwrap_or_else(|| PathBuf::from(file))
}

/// True when a configuration file has secrets in it that others on this machine can read.
#[must_use]
pub fn are_exposed(file: &Path, config: &Config) -> bool {
    let trunks =
        config.sip.trunks.iter().any(|t| !t.fields.password.is_empty() && t.fields.password_file.is_empty());
    let users = config.sip.users.iter().any(|u| u.password_file.is_empty());
    let s3 = !config.s3.secret_key.is_empty() && config.s3.secret_key_file.is_empty();
    let secret = trunks || users || s3 || !config.http.tokens.is_empty() || !config.webhook.secret.is_empty();
    secret && fs::metadata(file).is_ok_and(|m| m.permissions().mode() & 0o044 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_come_from_their_files() {
        let dir = std::env::temp_dir().join(format!("branchline-secrets-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("one"), "hunter2\n").unwrap();
        fs::write(dir.join("two"), "a\nb\n").unwrap();
        let mut secret = Secret::default();
        assert_eq!(path_of("one", Some(&dir)), dir.join("one"));
        assert_eq!(path_of("none", Some(&dir)), PathBuf::from("none"));
        fill("x", dir.join("one").to_str().unwrap(), &mut secret).unwrap();
        assert_eq!(secret.reveal(), "hunter2");
        let wrong = fill("x", dir.join("two").to_str().unwrap(), &mut secret).unwrap_err();
        assert!(wrong.contains("one line of 1 to 256"), "{wrong}");
        assert!(fill("x", dir.join("three").to_str().unwrap(), &mut secret).is_err());
        fs::remove_dir_all(dir).unwrap();
    }
}
