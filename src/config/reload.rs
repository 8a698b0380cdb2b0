//! Which settings a reload applies while calls are active, and which need a restart.

use super::sections::Config;
use super::settings::{SETTINGS, Setting};

/// Settings that a reload applies, besides the lists of trunks and users.
const RELOADABLE: [&str; 10] = [
    "http.tokens",
    "http.token_file",
    "http.allowed_ips",
    "http.cors_origins",
    "http.hosts",
    "sip.tls.cert",
    "sip.tls.key",
    "sip.tls.ca",
    "sip.tls.client_ca",
    "log.level",
];

/// Result of a reload.
#[derive(Debug, Clone, PartialEq)]
pub struct Reloaded {
    /// The configuration to continue with.
    pub config: Config,
    /// Changed settings that take effect after a restart only.
    pub left: Vec<&'static str>,
}

impl Reloaded {
    /// The running configuration with everything reloadable taken from `new`: trunks, users, and the settings
    /// listed above.
    ///
    /// # Errors
    /// Conflicts between applied and remaining settings, one message per violated rule.
    pub fn of(running: &Config, new: &Config) -> Result<Self, Vec<String>> {
        let mut config = running.clone();
        config.sip.trunks.clone_from(&new.sip.trunks);
        config.sip.users.clone_from(&new.sip.users);
        // The TLS socket is opened at startup only, if there is a certificate, and stays open after that.
        let same_socket = running.sip.tls.cert.is_empty() == new.sip.tls.cert.is_empty();
        let takes =
            |s: &Setting| RELOADABLE.contains(&s.key) && (same_socket || !s.key.starts_with("sip.tls."));
        for setting in SETTINGS.iter().filter(|s| takes(s)) {
            (setting.copy)(&mut config, new);
        }
        let conflicts = config.conflicts();
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        let left = SETTINGS.iter().filter(|s| !(s.same)(&config, new)).map(|s| s.key).collect();
        Ok(Self { config, left })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    fn read(text: &str) -> Config {
        load(&Sources { file: Some(("f", text)), env: &[] }).unwrap()
    }

    #[test]
    fn what_can_change_does_and_the_rest_is_named() {
        let old = read("[http]\ntokens = [\"a\"]\nlisten = \"10.0.0.1:80\"\n[webhook]\nsecret = \"x\"\n");
        let new = read(
            "[http]\ntokens = [\"b\"]\nlisten = \"10.0.0.2:80\"\n[webhook]\nsecret = \"y\"\n[log]\nlevel = \"debug\"\n\
             [[sip.user]]\nname = \"anna\"\npassword = \"p\"\n",
        );
        let reloaded = Reloaded::of(&old, &new).unwrap();
        assert_eq!(reloaded.left, ["http.listen", "webhook.secret"], "secrets are compared too");
        let config = reloaded.config;
        assert_eq!((&config.http.tokens, config.log.level), (&new.http.tokens, log::LevelFilter::Debug));
        assert_eq!((config.http.listen, config.sip.users.len()), (old.http.listen, 1));
        assert_eq!(config.webhook.secret, old.webhook.secret);
        assert!(RELOADABLE.iter().all(|key| crate::config::settings::find(key).is_some()));
    }

    #[test]
    fn a_reload_never_opens_the_api() {
        let old = read("[http]\ntokens = [\"a\"]\nlisten = \"10.0.0.1:80\"\n");
        // Valid by itself, but the socket stays open.
        let faults = Reloaded::of(&old, &read("")).unwrap_err();
        assert!(faults[0].contains("nothing guards the API"), "{faults:?}");
    }

    #[test]
    fn certificates_are_renewed_but_tls_is_neither_begun_nor_ended() {
        let plain = read("");
        let tls = |name: &str| read(&format!("[sip.tls]\ncert = \"{name}.pem\"\nkey = \"{name}.key\"\n"));
        let renewed = Reloaded::of(&tls("old"), &tls("new")).unwrap();
        assert_eq!((renewed.config.sip.tls.cert.as_str(), renewed.left.len()), ("new.pem", 0));
        assert_eq!(Reloaded::of(&plain, &tls("new")).unwrap().left, ["sip.tls.cert", "sip.tls.key"]);
        assert_eq!(Reloaded::of(&tls("old"), &plain).unwrap().config, tls("old"));
    }
}
